//! The function `deploy-ingress-controller`.

fn main() -> std::process::ExitCode {
    tenants::serve(&deploy_ingress_controller::PHASE)
}
