//! The function deploy-core-services.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&deploy_core_services::PHASE)
}
