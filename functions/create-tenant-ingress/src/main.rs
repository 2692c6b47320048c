//! The function `create-tenant-ingress`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&create_tenant_ingress::PHASE)
}
