//! The function `setup-database`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&setup_database::PHASE)
}
