//! The program of the Job that looks at a tenant's database from within the tenant's namespace.

fn main() -> std::process::ExitCode {
    shared::tenant_api::check_from_env()
}
