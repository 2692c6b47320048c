//! The dispatcher with failpoints compiled in, for tests that must stop or kill a whole process.

fn main() -> std::process::ExitCode {
    dispatcher::main()
}
