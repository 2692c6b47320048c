//! The function `take-inventory`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&take_inventory::PHASE)
}
