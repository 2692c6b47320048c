//! The function `serve-domains`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&serve_domains::PHASE)
}
