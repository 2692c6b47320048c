//! The function `create-tenant-ingress`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&create_tenant_ingress::PHASE)
}
