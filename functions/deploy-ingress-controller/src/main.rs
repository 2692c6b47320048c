//! The function `deploy-ingress-controller`.

fn main() -> std::process::ExitCode {
    engine::runtime::serve(&deploy_ingress_controller::PHASE)
}
