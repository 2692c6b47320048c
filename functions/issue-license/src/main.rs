//! The function `issue-license`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&issue_license::PHASE)
}
