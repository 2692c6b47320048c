# The local stack's module: a real Postgres instance of the tenant's own, under the stack's supervisord. It needs no
# provider, so that `tofu init` downloads nothing.

terraform {
  required_version = ">= 1.11"
  backend "pg" {}
}

variable "tenant_id" {
  description = "The tenant's uuid."
  type        = string
}

variable "admin_user" {
  description = "The instance's administrator, who may create databases and roles."
  type        = string
}

variable "admin_password" {
  description = "Their password. Ephemeral: it is in no plan and in no state."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "admin_password_version" {
  description = "Another with another password."
  type        = string
  default     = "1"
}

variable "local" {
  description = "The stack's folder."
  type        = string
}

variable "first_port" {
  description = "The first of a hundred ports that instances may have."
  type        = string
}

# The data folder and the port. Both steps find what an earlier try has made and go on from there.
resource "terraform_data" "data" {
  input = { folder = "${var.local}/instances/${var.tenant_id}" }

  provisioner "local-exec" {
    command = "exec python3 '${path.module}/instance.py' make \"$FOLDER\""
    environment = {
      FOLDER         = self.input.folder
      FIRST_PORT     = var.first_port
      ADMIN_USER     = var.admin_user
      ADMIN_PASSWORD = var.admin_password
    }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "exec python3 '${path.module}/instance.py' remove \"$FOLDER\""
    environment = {
      FOLDER = self.input.folder
    }
  }
}

# The running server.
resource "terraform_data" "postgres" {
  input = terraform_data.data.output

  provisioner "local-exec" {
    command = "exec python3 '${path.module}/instance.py' start \"$FOLDER\""
    environment = {
      FOLDER         = self.input.folder
      ADMIN_USER     = var.admin_user
      ADMIN_PASSWORD = var.admin_password
    }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "exec python3 '${path.module}/instance.py' stop \"$FOLDER\""
    environment = {
      FOLDER = self.input.folder
    }
  }
}

# A password that is another than the one that the instance was made with.
resource "terraform_data" "password" {
  input            = terraform_data.postgres.output
  triggers_replace = [var.admin_password_version]

  provisioner "local-exec" {
    command = "exec python3 '${path.module}/instance.py' password \"$FOLDER\""
    environment = {
      FOLDER         = self.input.folder
      ADMIN_USER     = var.admin_user
      ADMIN_PASSWORD = var.admin_password
    }
  }
}

output "host" {
  value = "127.0.0.1"
}

output "port" {
  # Chosen by the first step, from what was free then.
  value = try(tonumber(trimspace(file("${terraform_data.postgres.output.folder}/port"))), 0)
}

output "admin_user" {
  value = var.admin_user
}

output "cidrs" {
  description = "Where the tenant's pods have to get out to."
  value       = ["127.0.0.1/32"]
}
