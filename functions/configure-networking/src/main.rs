//! The function `configure-networking`.

fn main() -> std::process::ExitCode {
    tenants::serve(&configure_networking::PHASE)
}
