//! The function deploy-data-services.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&deploy_data_services::PHASE)
}
