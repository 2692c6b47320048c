//! The function `provisioning-infrastructure`.

fn main() -> std::process::ExitCode {
    tenants::serve(&provisioning_infrastructure::PHASE)
}
