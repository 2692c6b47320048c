//! The function `take-inventory`.

fn main() -> std::process::ExitCode {
    tenants::serve(&take_inventory::PHASE)
}
