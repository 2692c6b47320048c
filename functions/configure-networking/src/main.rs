//! The function `configure-networking`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&configure_networking::PHASE)
}
