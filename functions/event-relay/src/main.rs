//! The relay's process, or its Lambda.

fn main() -> std::process::ExitCode {
    event_relay::main()
}
