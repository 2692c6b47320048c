# An enterprise tenant's own Postgres: an Azure Database for PostgreSQL flexible server without a public address, in a subnet
# that is delegated to such servers and a private DNS zone that the tenants' cluster is linked to.

terraform {
  required_version = ">= 1.11"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.2"
    }
  }

  backend "pg" {}
}

provider "azurerm" {
  features {}

  # Who may register them is not who makes a server.
  resource_provider_registrations = "none"
}

locals {
  name = "psql-${var.tenant_id}"
  # By this tag it is told whose it is, also when it has to be imported.
  tags = merge(var.tags, { tenantry-tenant = var.tenant_id })
}

data "azurerm_subnet" "databases" {
  name                 = var.subnet
  virtual_network_name = var.virtual_network
  resource_group_name  = var.network_resource_group
}

data "azurerm_private_dns_zone" "databases" {
  name                = var.private_dns_zone
  resource_group_name = var.network_resource_group
}

resource "azurerm_postgresql_flexible_server" "tenant" {
  name                = local.name
  resource_group_name = var.resource_group
  location            = var.location
  tags                = local.tags

  version                      = var.postgres_version
  sku_name                     = var.sku
  storage_mb                   = var.storage_mb
  auto_grow_enabled            = true
  backup_retention_days        = var.backup_retention_days
  geo_redundant_backup_enabled = var.geo_redundant_backup

  public_network_access_enabled = false
  delegated_subnet_id           = data.azurerm_subnet.databases.id
  private_dns_zone_id           = data.azurerm_private_dns_zone.databases.id

  administrator_login = var.admin_user
  # Write-only: it is sent, and is in no plan and in no state. A higher version sends it again.
  administrator_password_wo         = var.admin_password
  administrator_password_wo_version = var.admin_password_version

  authentication {
    password_auth_enabled         = true
    active_directory_auth_enabled = false
  }

  dynamic "high_availability" {
    for_each = var.high_availability ? [1] : []

    content {
      mode = "ZoneRedundant"
    }
  }

  lifecycle {
    # Azure chooses and moves them.
    ignore_changes = [zone, high_availability[0].standby_availability_zone]
  }
}
