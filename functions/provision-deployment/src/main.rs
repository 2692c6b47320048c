//! The function `provision-deployment`.

fn main() -> std::process::ExitCode {
    tenants::serve(&provision_deployment::PHASE)
}
