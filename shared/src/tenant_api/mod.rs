//! tenant_api
