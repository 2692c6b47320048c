//! The function `setup-observability`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&setup_observability::PHASE)
}
