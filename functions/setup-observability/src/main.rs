//! The function `setup-observability`.

fn main() -> std::process::ExitCode {
    tenants::serve(&setup_observability::PHASE)
}
