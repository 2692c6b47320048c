//! The function `create-namespace`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&create_namespace::PHASE)
}
