//! The dispatcher's process.

fn main() -> std::process::ExitCode {
    dispatcher::main()
}
