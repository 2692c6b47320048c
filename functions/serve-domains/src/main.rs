//! The function `serve-domains`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&serve_domains::PHASE)
}
