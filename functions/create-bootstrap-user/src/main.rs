//! The function `create-bootstrap-user`.

fn main() -> std::process::ExitCode {
    tenants::serve(&create_bootstrap_user::PHASE)
}
