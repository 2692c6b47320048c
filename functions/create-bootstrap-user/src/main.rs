//! The function `create-bootstrap-user`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&create_bootstrap_user::PHASE)
}
