//! The function `provision-deployment`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&provision_deployment::PHASE)
}
