//! The function `create-namespace`.

fn main() -> std::process::ExitCode {
    tenants::serve(&create_namespace::PHASE)
}
