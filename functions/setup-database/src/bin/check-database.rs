//! The program of the Job that looks at a tenant's database from within the tenant's namespace.

fn main() -> std::process::ExitCode {
    tenant_api_client::check_from_env()
}
