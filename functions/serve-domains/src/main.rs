//! The function `serve-domains`.

fn main() -> std::process::ExitCode {
    tenants::serve(&serve_domains::PHASE)
}
