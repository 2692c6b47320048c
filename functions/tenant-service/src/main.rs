//! `tenant-service`: the control plane's HTTP API.

fn main() -> std::process::ExitCode {
    tenant_service::main()
}
