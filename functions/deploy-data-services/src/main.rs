//! The function deploy-data-services.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&deploy_data_services::PHASE)
}
