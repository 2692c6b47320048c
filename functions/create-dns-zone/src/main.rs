//! The function `create-dns-zone`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&create_dns_zone::PHASE)
}
