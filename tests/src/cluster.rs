//! The cluster as its operator sees it: by kubectl, and by the processes that work on it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::runtime::Handle;

use crate::environment::required;

/// What kubectl prints. It must succeed.
pub async fn kubectl(arguments: &[&str]) -> String {
    kubectl_with(arguments, "").await
}

/// As [`kubectl`], with something on its standard input (`-f -`).
pub async fn kubectl_with(arguments: &[&str], input: &str) -> String {
    let mut kubectl = Command::new("kubectl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl on the PATH");
    let mut stdin = kubectl.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("kubectl reads");
    drop(stdin);
    let ended = kubectl.wait_with_output().await.expect("kubectl ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "kubectl {arguments:?}: {said}");
    String::from_utf8(ended.stdout).expect("UTF-8")
}

/// The helms at work in a namespace, with their arguments.
pub fn helms_of(namespace: &str) -> Vec<(i32, Vec<String>)> {
    let wanted = format!("--namespace={namespace}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if words.contains(&wanted) {
            found.push((pid, words));
        }
    }
    found
}

/// Catches a helm of this namespace in the middle of an install, with its release `pending-install` in the cluster, and
/// leaves it stopped (SIGSTOP). Returns its process id and the release. A helm may slip through; the next one is tried.
pub async fn stop_helm_midway(namespace: &str) -> (i32, String) {
    let namespace = namespace.to_owned();
    let runtime = Handle::current();
    // On a thread of its own: a helm takes some milliseconds for what it is to be caught at.
    let caught = tokio::task::spawn_blocking(move || runtime.block_on(catch(&namespace)));
    caught.await.expect("a helm is caught")
}

async fn catch(namespace: &str) -> (i32, String) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(3) {
        let installing = |(_, words): &(i32, Vec<String>)| words.get(1).is_some_and(|word| word == "install");
        let Some((pid, words)) = helms_of(namespace).into_iter().find(installing) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let release = words[2].clone();
        let selector = format!("owner%3Dhelm%2Cname%3D{release}%2Cstatus%3Dpending-install");
        // Asked as it is: looking up first what kinds the cluster has would take kubectl longer than helm has left.
        let pending = format!("/api/v1/namespaces/{namespace}/secrets?labelSelector={selector}");
        // A few milliseconds at a time, until the cluster shows it half done; or else the next one.
        while signal(pid, Signal::SIGSTOP) && state(pid).is_some_and(|state| state != 'Z') {
            let found: Value =
                serde_json::from_str(&kubectl(&["get", "--raw", &pending]).await).expect("a list as JSON");
            if found["items"].as_array().is_some_and(|items| !items.is_empty()) && state(pid) == Some('T') {
                return (pid, release);
            }
            signal(pid, Signal::SIGCONT);
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }
    panic!("no helm was caught in {namespace}");
}

/// A process's state as the kernel has it: `T` stopped, `Z` ended and not reaped; none when it is gone.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim().chars().next()
}

/// Where the API server listens, as `host:port`.
pub fn api_server() -> String {
    let text = std::fs::read_to_string(required("KUBECONFIG")).expect("KUBECONFIG is readable");
    // The local stack writes it as JSON.
    let config: Value = serde_json::from_str(&text).expect("KUBECONFIG as JSON");
    let server = config["clusters"][0]["cluster"]["server"].as_str().expect("a server");
    server.trim_start_matches("https://").to_owned()
}

/// The calls of a user as the API server's audit log has them, oldest first. Users are told apart by what the worker's
/// kubeconfig calls them.
pub fn calls_of(user: &str) -> Vec<Value> {
    let log = format!("{}/logs/audit.log", required("TENANTRY_ENV_OF"));
    let text = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{log}: {error}"));
    let lines = text.lines().filter(|line| line.contains(user));
    let calls = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    calls.filter(|call| call["impersonatedUser"]["username"] == user).collect()
}

/// Sends a signal. False when the process is gone.
pub fn signal(pid: i32, signal: Signal) -> bool {
    nix::sys::signal::kill(Pid::from_raw(pid), signal).is_ok()
}
