//! The process `tenant-api`.

fn main() -> std::process::ExitCode {
    tenant_api::main()
}
