//! The helm commands, each with its flags. None waits for pods (`--wait`), and none takes over what it did not make
//! (`--take-ownership`).

use std::time::Duration;

use engine::phase::{Error, Interrupt, Owner, Step};
use model::{Namespace, RunId};
use serde_json::Value;

use super::history::Keys;
use super::process::{self, Output};
use super::refusal::{self, Refusal};
use super::{Helm, Release};

/// How long helm waits for a single object.
const OBJECT_TIMEOUT: &str = "2m";
/// How long one helm call may take before it is killed; an operation may call three, and has ten minutes.
const CALL_TIMEOUT: Duration = Duration::from_mins(3);

impl Helm {
    pub(super) async fn install(
        &self,
        release: &Release,
        owner: &Owner,
        run: RunId,
        step: &Step,
    ) -> std::result::Result<(), Refusal> {
        let arguments = deploy_arguments("install", release, owner, Some(run));
        self.change(&release.namespace, &release.name, arguments, &release.values, step).await
    }

    pub(super) async fn upgrade(
        &self,
        release: &Release,
        owner: &Owner,
        run: Option<RunId>,
        step: &Step,
    ) -> std::result::Result<(), Refusal> {
        let mut arguments = deploy_arguments("upgrade", release, owner, run);
        // It is ours by its label; a field that somebody else's hand has set since is set back.
        arguments.extend(["--server-side=true", "--force-conflicts", "--reset-values"].map(str::to_owned));
        self.change(&release.namespace, &release.name, arguments, &release.values, step).await
    }

    async fn change(
        &self,
        namespace: &Namespace,
        name: &str,
        arguments: Vec<String>,
        values: &Value,
        step: &Step,
    ) -> std::result::Result<(), Refusal> {
        // JSON is YAML.
        let values = values.to_string();
        self.call(namespace, name, arguments, Some(values.as_bytes()), step).await.map(drop)
    }

    pub(super) async fn go_back(
        &self,
        release: &Release,
        revision: u32,
        step: &Step,
    ) -> std::result::Result<(), Refusal> {
        let arguments = vec![
            "rollback".into(),
            release.name.clone(),
            revision.to_string(),
            "--no-hooks".into(),
            "--server-side=true".into(),
            "--force-conflicts".into(),
            format!("--timeout={OBJECT_TIMEOUT}"),
        ];
        self.call(&release.namespace, &release.name, arguments, None, step).await.map(drop)
    }

    pub(super) async fn uninstall(
        &self,
        namespace: &Namespace,
        name: &str,
        step: &Step,
    ) -> std::result::Result<(), Refusal> {
        // A hook is a Job, which cannot be created in a namespace that is going, and would make the tenant's end depend
        // on an image that can still be pulled.
        let arguments =
            vec!["uninstall".into(), name.into(), "--no-hooks".into(), format!("--timeout={OBJECT_TIMEOUT}")];
        self.call(namespace, name, arguments, None, step).await.map(drop)
    }

    /// Asks the repository for the chart.
    pub(super) async fn show(&self, release: &Release, step: &Step) -> std::result::Result<(), Refusal> {
        let mut arguments = vec!["show".into(), "chart".into()];
        arguments.extend(chart_arguments(release));
        self.call(&release.namespace, &release.chart, arguments, None, step).await.map(drop)
    }

    /// Whether the revision has the wanted chart, version and values.
    pub(super) async fn is_as_wanted(
        &self,
        release: &Release,
        revision: u32,
        step: &Step,
    ) -> std::result::Result<bool, Refusal> {
        let get = |what: &str| {
            let arguments = ["get", what, &release.name, "--output=json", &format!("--revision={revision}")]
                .map(str::to_owned)
                .to_vec();
            self.call(&release.namespace, &release.name, arguments, None, step)
        };
        let (metadata, values) = tokio::try_join!(get("metadata"), get("values"))?;
        let metadata = json(&metadata)?;
        let values = match json(&values)? {
            Value::Null => Value::Object(serde_json::Map::default()),
            values => values,
        };
        Ok(metadata["chart"] == release.chart.as_str()
            && metadata["version"] == release.version.as_str()
            && values == release.values)
    }

    async fn call(
        &self,
        namespace: &Namespace,
        name: &str,
        mut arguments: Vec<String>,
        input: Option<&[u8]>,
        step: &Step,
    ) -> std::result::Result<Vec<u8>, Refusal> {
        let what = format!("{} {name} in {namespace}", arguments[0]);
        arguments.push(format!("--namespace={namespace}"));
        tracing::debug!(helm = %what, "helm");
        let helm =
            process::run(&self.binary, self.home.path(), self.kubeconfig.as_deref(), &arguments, input);
        let ended = tokio::select! {
            biased;
            () = step.cancelled().cancelled_owned() => {
                return Err(Error::interrupted(Interrupt::Fenced).into());
            }
            ended = tokio::time::timeout(CALL_TIMEOUT, helm) => ended,
        };
        match ended {
            Ok(Ok(Output { ok: true, stdout, .. })) => Ok(stdout),
            Ok(Ok(Output { stderr, .. })) => Err(refusal::read(&what, &stderr)),
            Ok(Err(error)) => Err(Error::retryable("helm_failed", format!("helm: {what}: {error}"))
                .next(format!("Check that {} can be run.", self.binary.display()))
                .into()),
            Err(_) => {
                Err(Error::retryable("helm_timeout", format!("helm: {what}: killed after {CALL_TIMEOUT:?}"))
                    .next("Look at what the release's objects wait for, then retry.")
                    .into())
            }
        }
    }
}

/// Which chart.
fn chart_arguments(release: &Release) -> Vec<String> {
    let mut arguments = if release.repository_url.starts_with("oci://") {
        vec![format!("{}/{}", release.repository_url.trim_end_matches('/'), release.chart)]
    } else {
        vec![release.chart.clone(), format!("--repo={}", release.repository_url)]
    };
    arguments.push(format!("--version={}", release.version));
    arguments
}

/// What install and upgrade have in common. Labels are passed every time: helm keeps old ones, and these must be right.
fn deploy_arguments(verb: &str, release: &Release, owner: &Owner, run: Option<RunId>) -> Vec<String> {
    let mut arguments = vec![verb.to_owned(), release.name.clone()];
    arguments.extend(chart_arguments(release));
    let keys = Keys::new(&release.label_prefix);
    let mut labels = format!("{}={}", keys.tenant, owner.tenant_id);
    if let Some(run) = run {
        labels = format!("{labels},{}={run}", keys.run);
    }
    arguments.extend([
        format!("--labels={labels}"),
        "--values=-".into(),
        // The API server refuses what its schema does not know (server-side apply). To know it beforehand, each helm would
        // fetch the schemas of all kinds: more than half of its own work, and some of the API server's.
        "--disable-openapi-validation".into(),
        format!("--timeout={OBJECT_TIMEOUT}"),
    ]);
    arguments
}

fn json(output: &[u8]) -> std::result::Result<Value, Refusal> {
    serde_json::from_slice(output).map_err(|error| {
        Error::retryable("helm_failed", format!("helm's answer is not JSON: {error}"))
            .next("Check that this is Helm 4.")
            .into()
    })
}
