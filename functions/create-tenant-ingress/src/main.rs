//! The function `create-tenant-ingress`.

fn main() -> std::process::ExitCode {
    tenants::serve(&create_tenant_ingress::PHASE)
}
