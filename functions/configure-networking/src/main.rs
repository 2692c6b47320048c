//! The function `configure-networking`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&configure_networking::PHASE)
}
