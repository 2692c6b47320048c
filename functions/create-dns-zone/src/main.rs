//! The function `create-dns-zone`.

fn main() -> std::process::ExitCode {
    tenants::serve(&create_dns_zone::PHASE)
}
