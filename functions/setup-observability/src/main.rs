//! The function `setup-observability`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&setup_observability::PHASE)
}
