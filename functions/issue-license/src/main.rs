//! The function `issue-license`.

fn main() -> std::process::ExitCode {
    tenants::serve(&issue_license::PHASE)
}
