//! The function `deploy-ingress-controller`.

fn main() -> std::process::ExitCode {
    shared::runtime::serve(&deploy_ingress_controller::PHASE)
}
