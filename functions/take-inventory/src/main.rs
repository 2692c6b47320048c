//! The function `take-inventory`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&take_inventory::PHASE)
}
