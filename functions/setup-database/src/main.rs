//! The function `setup-database`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&setup_database::PHASE)
}
