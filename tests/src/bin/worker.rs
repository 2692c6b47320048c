//! The dispatcher with failpoints, for tests that must stop or kill a whole process.

fn main() -> std::process::ExitCode {
    dispatcher::main_with_hook(tests::FailpointFile::from_env())
}
