//! The cluster as its operator sees it.

use std::process::Command;

use serde_json::Value;

/// What kubectl prints. It must succeed.
pub fn kubectl(arguments: &[&str]) -> String {
    let done = Command::new("kubectl").args(arguments).output().expect("kubectl on the PATH");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "kubectl {arguments:?}: {said}");
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// An object as it is (`["secret", "a", "-n", "b"]`); none when it is not there.
pub fn object(what: &[&str]) -> Option<Value> {
    let found = kubectl(&[&["get", "--ignore-not-found", "-o=json"], what].concat());
    (!found.trim().is_empty()).then(|| serde_json::from_str(&found).unwrap())
}

/// A namespace that is deleted when this is dropped, also after a panic; its end is not waited for.
#[derive(Clone, Debug)]
pub struct Namespace(pub String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let arguments = ["delete", "namespace", &self.0, "--wait=false", "--ignore-not-found"];
        drop(Command::new("kubectl").args(arguments).output());
    }
}
