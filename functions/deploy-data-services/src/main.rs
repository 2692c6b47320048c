//! The function deploy-data-services.

fn main() -> std::process::ExitCode {
    tenants::serve(&deploy_data_services::PHASE)
}
