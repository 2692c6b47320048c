//! What is compiled into which build.

use std::process::Command;

use serde_json::Value;

#[test]
fn no_crate_has_a_feature_by_which_a_program_could_do_something_else_in_another_build() {
    let done = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
        .output()
        .expect("cargo");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let workspace: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let crates = workspace["packages"].as_array().expect("crates");
    assert!(crates.iter().any(|one| one["name"] == "engine"));
    for one in crates {
        assert_eq!(one["features"], serde_json::json!({}), "{}", one["name"]);
    }
}
