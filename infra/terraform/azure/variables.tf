# The first three are always given; the others come from [infrastructure.variables] and [infrastructure.region_variables].

variable "tenant_id" {
  description = "The tenant's uuid."
  type        = string
}

variable "admin_user" {
  description = "The server's administrator, who may create databases and roles."
  type        = string
}

variable "admin_password" {
  description = "Their password. Ephemeral: it is in no plan and in no state."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "admin_password_version" {
  description = "Another with another password, which is sent again then."
  type        = number
  default     = 1
}

variable "location" {
  description = "Azure's region: the tenant's data is there and nowhere else."
  type        = string
}

variable "resource_group" {
  description = "Where the server is made."
  type        = string
}

variable "network_resource_group" {
  description = "Where the virtual network and the private DNS zone are."
  type        = string
}

variable "virtual_network" {
  description = "The network of the tenants' cluster."
  type        = string
}

variable "subnet" {
  description = "A subnet of it that is delegated to Microsoft.DBforPostgreSQL/flexibleServers."
  type        = string
}

variable "private_dns_zone" {
  description = "The private DNS zone of the servers' names, linked to the network; it ends in .postgres.database.azure.com."
  type        = string
}

variable "postgres_version" {
  type    = string
  default = "16"
}

variable "sku" {
  type    = string
  default = "GP_Standard_D2ds_v5"
}

variable "storage_mb" {
  type    = number
  default = 131072
}

variable "backup_retention_days" {
  type    = number
  default = 14
}

variable "geo_redundant_backup" {
  description = "Backups in Azure's paired region: outside the region of the tenant's residency, so not by default."
  type        = bool
  default     = false
}

variable "high_availability" {
  type    = bool
  default = true
}

variable "tags" {
  description = "More tags, such as a cost centre."
  type        = map(string)
  default     = {}
}
