//! The function `provision-deployment`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&provision_deployment::PHASE)
}
