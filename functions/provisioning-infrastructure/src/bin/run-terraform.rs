//! What the phase hands over to a Job or to supervisord: it runs tofu, which takes longer than a function may.

fn main() -> std::process::ExitCode {
    terraform::run()
}
