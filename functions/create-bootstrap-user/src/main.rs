//! The function `create-bootstrap-user`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&create_bootstrap_user::PHASE)
}
