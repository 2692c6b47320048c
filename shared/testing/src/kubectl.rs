//! The cluster as its operator sees it.

use std::io::Write as _;
use std::process::{Command, Stdio};

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

/// Creates an object that is not the product's own; as the API server has it then. Panics where it is there already.
pub fn create(object: &Value) -> Value {
    let mut child = Command::new("kubectl")
        .args(["create", "--filename=-", "--output=json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl on the PATH");
    child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{object}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The name of a namespace that is deleted when this is dropped, also after a panic, and may be gone by then; its end is not
/// waited for.
#[derive(Debug)]
pub struct Namespace(pub String);

impl std::ops::Deref for Namespace {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let arguments = ["delete", "namespace", &self.0, "--wait=false", "--ignore-not-found"];
        drop(Command::new("kubectl").args(arguments).output());
    }
}
