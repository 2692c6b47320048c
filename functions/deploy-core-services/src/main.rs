//! The function deploy-core-services.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&deploy_core_services::PHASE)
}
