//! The function `create-namespace`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&create_namespace::PHASE)
}
