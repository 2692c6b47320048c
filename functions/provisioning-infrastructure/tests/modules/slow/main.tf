# A module whose second step takes as long as a test wants, and whose first cannot be made twice.

terraform {
  backend "pg" {}
}

variable "tenant_id" { type = string }
variable "admin_user" { type = string }
variable "folder" { type = string }
variable "admin_password" {
  type      = string
  ephemeral = true
  sensitive = true
}

resource "terraform_data" "first" {
  input = { folder = var.folder }

  lifecycle {
    precondition {
      condition     = !fileexists("${var.folder}/refuse")
      error_message = "The test refuses any plan."
    }
  }

  provisioner "local-exec" {
    command     = "exec sh '${abspath(path.module)}/step.sh' first"
    environment = { FOLDER = self.input.folder }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "rm \"$FOLDER/first\""
    environment = { FOLDER = self.input.folder }
  }
}

resource "terraform_data" "second" {
  input = terraform_data.first.output

  provisioner "local-exec" {
    command     = "exec sh '${abspath(path.module)}/step.sh' second"
    environment = { FOLDER = self.input.folder, PASSWORD = var.admin_password }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FOLDER/second\""
    environment = { FOLDER = self.input.folder }
  }
}

output "host" { value = "127.0.0.1" }
output "port" { value = 1 }
output "admin_user" { value = var.admin_user }
