//! One helm as a child process that cannot outlive the one who asked for it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;

use child_process::Group;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// What a finished helm left.
#[derive(Debug)]
pub(super) struct Output {
    pub ok: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// What helm needs of our environment: where it and its credential plugins find the cluster, and how to get out.
/// Nothing else is handed on, since a function's environment holds the control plane's secrets.
const ENVIRONMENT: [&str; 10] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "KUBECONFIG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "LANG",
    // What bounds a Go program's memory.
    "GOGC",
    "GOMEMLIMIT",
];
const ENVIRONMENT_PREFIXES: [&str; 4] = ["KUBERNETES_SERVICE_", "SSL_CERT_", "AWS_", "AZURE_"];

fn handed_on(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| {
        ENVIRONMENT.contains(&name.to_ascii_uppercase().as_str())
            || ENVIRONMENT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Runs helm to its end. `home` holds everything it writes beside the cluster; `kubeconfig` says which cluster, if it is not
/// the environment's; `input` goes to its standard input.
/// Dropping the future kills helm with all it started, and returns only when helm is reaped.
pub(super) async fn run(
    binary: &Path,
    home: &Path,
    kubeconfig: Option<&Path>,
    arguments: &[String],
    input: Option<&[u8]>,
) -> io::Result<Output> {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| handed_on(name)))
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(path) = kubeconfig {
        command.env("KUBECONFIG", path);
    } else if std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty()) {
        // As the cluster module has it: the pod's own account, and never `~/.kube/config`.
        command.env("KUBECONFIG", "/dev/null");
    }

    let mut group = Group::spawn(&mut command)?;
    let helm = group.child();
    let mut stdin = helm.stdin.take();
    let (mut out, mut err) = (helm.stdout.take(), helm.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let write = async {
        if let (Some(pipe), Some(input)) = (&mut stdin, input) {
            // A helm that ends before it has read everything says why on its standard error.
            drop(pipe.write_all(input).await);
        }
        drop(stdin);
    };
    let read_out = async {
        match &mut out {
            Some(pipe) => pipe.read_to_end(&mut stdout).await,
            None => Ok(0),
        }
    };
    let read_err = async {
        match &mut err {
            Some(pipe) => pipe.read_to_end(&mut stderr).await,
            None => Ok(0),
        }
    };
    let ((), read_out, read_err) = tokio::join!(write, read_out, read_err);
    read_out?;
    read_err?;
    let status = helm.wait().await?;
    Ok(Output { ok: status.success(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}
