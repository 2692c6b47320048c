//! The function `setup-database`.

fn main() -> std::process::ExitCode {
    tenants::serve(&setup_database::PHASE)
}
