//! The function `create-dns-zone`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&create_dns_zone::PHASE)
}
