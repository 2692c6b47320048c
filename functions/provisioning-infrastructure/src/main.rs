//! The function `provisioning-infrastructure`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&provisioning_infrastructure::PHASE)
}
