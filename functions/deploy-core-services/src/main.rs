//! The function deploy-core-services.

fn main() -> std::process::ExitCode {
    tenants::serve(&deploy_core_services::PHASE)
}
