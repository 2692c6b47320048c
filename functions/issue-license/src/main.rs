//! The function `issue-license`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&issue_license::PHASE)
}
