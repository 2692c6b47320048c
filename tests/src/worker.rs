//! A dispatcher with all phases in a process of its own, which a test can stop, starve and kill.

use std::path::PathBuf;
use std::process::Stdio;

use model::platform::Platform;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cluster::{signal, state};
use crate::environment::required;
use crate::failpoints::Failpoints;
use crate::world::World;

/// The process. Killed when dropped.
#[derive(Debug)]
pub struct Worker {
    /// Its failpoints, which nobody else reads.
    pub failpoints: Failpoints,
    child: Child,
    _folder: TempDir,
}

impl Worker {
    /// Starts `binary` (the dispatcher with failpoints) in this world. It calls the API server at `server` where
    /// that is given, and in the name of `user`, by which the audit log then knows it.
    pub fn start(
        binary: &str,
        world: &World,
        platform: &Platform,
        server: Option<String>,
        user: &str,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failpoints = Failpoints::new();
        let config = folder.path().join("platform.toml");
        std::fs::write(&config, toml::to_string(platform).expect("TOML")).expect("platform file");
        let kubeconfig = kubeconfig(&folder, server, user);
        let child = Command::new(binary)
            .env("DATABASE_URL", &world.database_url)
            .env("AMQP_URL", &world.amqp_url)
            .env("INVOKER", "embedded")
            .env("TENANTRY_CONFIG", config)
            .env("TENANTRY_FAILPOINTS", failpoints.path())
            .env("KUBECONFIG", kubeconfig)
            .env_remove("DATABASE_DIRECT_URL")
            .env_remove("HEALTH_LISTEN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a dispatcher");
        Self { failpoints, child, _folder: folder }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("still there")).expect("a process id")
    }

    /// Whether it is stopped (SIGSTOP).
    pub fn is_stopped(&self) -> bool {
        state(self.pid()) == Some('T')
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        assert!(signal(self.pid(), which), "the worker is gone");
    }

    /// Kills it, and waits for its end.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }
}

fn kubeconfig(folder: &TempDir, server: Option<String>, user: &str) -> PathBuf {
    let text = std::fs::read_to_string(required("KUBECONFIG")).expect("KUBECONFIG is readable");
    // The local stack writes it as JSON.
    let mut config: Value = serde_json::from_str(&text).expect("KUBECONFIG as JSON");
    if let Some(server) = server {
        config["clusters"][0]["cluster"]["server"] = server.into();
    }
    let login = &mut config["users"][0]["user"];
    login["as"] = user.into();
    login["as-groups"] = serde_json::json!(["system:masters"]);
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).expect("kubeconfig");
    path
}
