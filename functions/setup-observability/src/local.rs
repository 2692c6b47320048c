//! Trying the pipeline out where containers do not run: a real collector, started by this function from the
//! configuration that the API server has, between a log file as a node would have it and what stands in for Loki and
//! Tempo. Nothing of it outlives the attempt.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use child_process::Group;
use cluster::Cluster;
use engine::phase::{Error, Progress, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::config::{COLLECTOR, KEY, LOGS};
use crate::marks::{Marks, stamped};
use crate::stand_in::StandIn;
use crate::{Plan, remote};

/// Names the collector's binary when it is not `otelcol` on the PATH.
const VARIABLE: &str = "TENANTRY_OTELCOL";
/// Longest wait for the collector to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for what was sent.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);

pub(crate) async fn try_out(cluster: &Cluster, plan: &Plan) -> Result<Progress<Value>> {
    let (loki, tempo) = (StandIn::start().await?, StandIn::start().await?);
    let marks = Marks::fresh()?;
    let folder = Folder::new()?;
    folder.write("collector.yaml", &read_back(cluster, plan, COLLECTOR).await?)?;
    folder.write("node.yaml", &read_back(cluster, plan, LOGS).await?)?;
    folder.log_line(plan, &marks)?;
    let collector = Running::start(&folder, &loki, &tempo).await?;
    remote::send(&collector.url, "traces", &marks.traces()).await?;

    let line = loki.find(ARRIVES_WITHIN, |sent| marks.log_in(&sent.content).cloned()).await;
    let Some((line, attributes)) = line else { return Ok(missing("log line", "Loki")) };
    stamped(plan, "log line", &attributes)?;
    let span = tempo.find(ARRIVES_WITHIN, |sent| marks.span_in(&sent.content).cloned()).await;
    let Some((span, attributes)) = span else { return Ok(missing("span", "Tempo")) };
    stamped(plan, "span", &attributes)?;
    let tenant = plan.tenant_id.to_string();
    for (what, arrived) in [("log line", &line), ("span", &span)] {
        if arrived.tenant != tenant {
            return Err(Error::retryable(
                "not_stamped",
                format!("the {what} arrived as tenant '{}', not {tenant}", arrived.tenant),
            )
            .next(
                "Check the collector's configuration in its ConfigMap: it may have been changed by hand.",
            ));
        }
    }
    Ok(Progress::Done(json!({
        "simulated": "a collector of this function's own, with receivers in memory for Loki and Tempo",
        "logLine": { "mark": marks.word, "arrivedAt": line.path, "tenant": line.tenant },
        "span": { "traceId": marks.trace_id, "arrivedAt": span.path, "tenant": span.tenant },
    })))
}

fn missing<T>(what: &str, system: &str) -> Progress<T> {
    let on = format!("the marked {what} has not arrived at what stands in for {system}");
    Progress::wait(Duration::from_secs(1), on)
}

/// A configuration as the API server has it now.
async fn read_back(cluster: &Cluster, plan: &Plan, name: &str) -> Result<String> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client(), plan.namespace.as_str());
    let what = format!("ConfigMap {}/{name}", plan.namespace);
    let found = tokio::time::timeout(Duration::from_secs(30), api.get(name)).await;
    let found = found.map_err(|_| unreachable(&what, "no answer within 30 s"))?;
    let found = found.map_err(|error| unreachable(&what, &error.to_string()))?;
    found.data.and_then(|mut data| data.remove(KEY)).ok_or_else(|| {
        Error::retryable("object_missing", format!("{what} has no key {KEY}"))
            .next("It was changed by hand; retry writes it again.")
    })
}

fn unreachable(what: &str, why: &str) -> Error {
    Error::unavailable("cluster", "cluster_unavailable", format!("read {what}: {why}"))
        .next("Bring the Kubernetes API server back; the run then continues on its own.")
}

/// A folder that only we can read, gone when dropped.
struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        tempfile::Builder::new().prefix("tenantry-collector-").tempdir().map(Self).map_err(unwritable)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        std::fs::write(self.path().join(name), content).map_err(unwritable)
    }

    /// A line as the kubelet writes what a container says.
    fn log_line(&self, plan: &Plan, marks: &Marks) -> Result<()> {
        let pod = format!("{}_try-out_{}", plan.namespace, plan.tenant_id);
        let container = self.path().join("pods").join(pod).join("main");
        std::fs::create_dir_all(&container).map_err(unwritable)?;
        let mut file =
            OpenOptions::new().create(true).append(true).open(container.join("0.log")).map_err(unwritable)?;
        writeln!(file, "2026-01-01T00:00:00.000000000Z stdout F {}", marks.line()).map_err(unwritable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn unwritable(error: std::io::Error) -> Error {
    Error::retryable("no_folder", format!("no folder for the collector: {error}"))
        .next("Make the temporary folder (TMPDIR) writable.")
}

/// A collector that listens. Dropping it kills and reaps it.
struct Running {
    url: String,
    _process: Group,
}

impl Running {
    async fn start(folder: &Folder, loki: &StandIn, tempo: &StandIn) -> Result<Self> {
        let ports = free_ports().map_err(|error| failed(&error.to_string()))?;
        let [http, grpc, health] = ports.map(|port| format!("127.0.0.1:{port}"));
        let url = format!("http://{http}");
        let log = folder.path().join("collector.log");
        let output = std::fs::File::create(&log).map_err(unwritable)?;
        let mut command = Command::new(binary()?);
        command
            .arg(format!("--config={}", folder.path().join("collector.yaml").display()))
            .arg(format!("--config={}", folder.path().join("node.yaml").display()))
            .env_clear()
            .env("OTLP_HTTP_ENDPOINT", &http)
            .env("OTLP_GRPC_ENDPOINT", grpc)
            .env("HEALTH_ENDPOINT", health)
            .env("TENANT_COLLECTOR_ENDPOINT", &url)
            .env("LOKI_ENDPOINT", format!("{}/otlp", loki.url))
            .env("TEMPO_ENDPOINT", &tempo.url)
            .env("OTLP_ENCODING", "json")
            .env("OTLP_COMPRESSION", "none")
            .env("BATCH_TIMEOUT", "50ms")
            .env("POD_LOGS", folder.path().join("pods"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let mut process = Group::spawn(&mut command).map_err(|error| failed(&error.to_string()))?;
        let began = Instant::now();
        while tokio::net::TcpStream::connect(&http).await.is_err() {
            if !matches!(process.child().try_wait(), Ok(None)) || began.elapsed() > LISTENS_WITHIN {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(failed(said.trim().lines().last().unwrap_or("it does not listen")));
            }
            // A process's first listening is nothing that can be watched.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { url, _process: process })
    }
}

fn failed(why: &str) -> Error {
    Error::retryable("collector_failed", format!("the collector did not start: {why}"))
        .next("Run the collector's configuration (its ConfigMap) through `otelcol validate`.")
}

/// Three ports that nobody has at this moment. Should somebody take one before the collector does, the attempt fails and
/// the next one has others.
fn free_ports() -> std::io::Result<[u16; 3]> {
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn binary() -> Result<PathBuf> {
    let wanted = std::env::var_os(VARIABLE).unwrap_or_else(|| "otelcol".into());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = if Path::new(&wanted).components().count() > 1 {
        vec![PathBuf::new()]
    } else {
        std::env::split_paths(&path).collect()
    };
    let found = folders.into_iter().map(|folder| folder.join(&wanted)).find(|candidate| candidate.is_file());
    found.ok_or_else(|| {
        Error::fatal("collector_missing", format!("no '{}' on the PATH", wanted.display()))
            .next(format!("Install the OpenTelemetry collector, or set {VARIABLE} to its path."))
    })
}
