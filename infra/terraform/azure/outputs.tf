# The same of every module.

output "host" {
  value = azurerm_postgresql_flexible_server.tenant.fqdn
}

output "port" {
  value = 5432
}

output "admin_user" {
  value = azurerm_postgresql_flexible_server.tenant.administrator_login
}

output "cidrs" {
  description = "Where the tenant's pods have to get out to: a private server's address is any of its subnet's."
  value       = data.azurerm_subnet.databases.address_prefixes
}
