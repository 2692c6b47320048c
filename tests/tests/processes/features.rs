//! What is compiled into which build.

use std::process::Command;

fn features_of_the_engine(selection: &[&str]) -> String {
    let done = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "features,no-dev",
            "--invert",
            "engine",
            "--depth",
            "1",
        ])
        .args(selection)
        .output()
        .expect("cargo");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn failpoints_are_in_what_tests_run_and_not_in_what_make_run_starts() {
    assert!(features_of_the_engine(&["--workspace"]).contains("failpoints"));
    assert!(!features_of_the_engine(&[]).contains("failpoints"));
}
