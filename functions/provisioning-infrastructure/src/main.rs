//! The function `provisioning-infrastructure`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&provisioning_infrastructure::PHASE)
}
