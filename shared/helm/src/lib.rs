//! Helm 4's command line: releases that belong to a tenant.
//!
//! A release carries its owner as labels, which helm keeps on its storage Secrets; its objects are owned through it.
//! Decisions are taken from those Secrets, effects are helm's own. Nothing is ever adopted: where something else
//! stands, helm refuses, and so do we.

mod calls;
mod history;
mod process;
mod refusal;
pub mod services;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster::Cluster;
use engine::phase::{Error, Owner, Progress, Result, Step};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use model::{Namespace, RunId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use history::{History, Keys, Next, Revision};
use refusal::Refusal;

/// Names the helm binary when it is not `helm` on the PATH.
pub const HELM_VARIABLE: &str = "TENANTRY_HELM";

/// Longest wait for the API server's answer about helm's storage.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often the state is looked at in one call. The longest way is: go back, go back failed, remove, install.
const ROUNDS: usize = 6;

/// A release as it should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Where.
    pub namespace: Namespace,
    /// The release's name, and that of its main object.
    pub name: String,
    /// The chart's name in the repository.
    pub chart: String,
    /// The chart's exact version.
    pub version: String,
    /// `https://…` or `oci://…`.
    pub repository_url: String,
    /// The chart's values. Plans store them: a secret is given as a `secretKeyRef`, never as a value.
    pub values: Value,
    /// Before the `/` in the labels that carry ownership.
    pub label_prefix: String,
}

/// What [`Helm::ensure_release`] found or made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensured {
    /// The run that first installed it.
    pub created_by: Option<RunId>,
    /// Helm's revision.
    pub revision: u32,
}

/// A release that is there, in whatever state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Helm's word for its state.
    pub status: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Helm release {}/{} ({})", self.namespace, self.name, self.status)
    }
}

/// The helm binary, with a private home of its own, and the cluster that it works on.
pub struct Helm {
    binary: PathBuf,
    home: TempDir,
    cluster: Client,
    /// Of a region's cluster, in `home`; none: the environment's.
    kubeconfig: Option<PathBuf>,
}

impl fmt::Debug for Helm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helm").field("binary", &self.binary).finish_non_exhaustive()
    }
}

impl Helm {
    /// Finds helm ([`HELM_VARIABLE`], else `helm` on the PATH). Helm finds a region's cluster by a file of its own, and
    /// another as [`Cluster::connect`] does: by `KUBECONFIG`, else the pod's own account.
    pub fn connect(cluster: &Cluster) -> Result<Self> {
        let wanted = std::env::var_os(HELM_VARIABLE).unwrap_or_else(|| "helm".into());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = if Path::new(&wanted).components().count() > 1 {
            vec![PathBuf::new()]
        } else {
            std::env::split_paths(&path).collect()
        };
        let binary = folders
            .into_iter()
            .map(|folder| folder.join(&wanted))
            .find(|candidate| {
                candidate.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
            })
            .ok_or_else(|| {
                Error::fatal("helm_missing", format!("no executable '{}' on the PATH", wanted.display()))
                    .next(format!("Install Helm 4, or set {HELM_VARIABLE} to its path."))
            })?;
        let home = tempfile::Builder::new()
            .prefix("tenantry-helm-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| homeless(&error))?;
        let kubeconfig = cluster.kubeconfig().map(|text| write_kubeconfig(home.path(), text)).transpose();
        let kubeconfig = kubeconfig.map_err(|error| homeless(&error))?;
        Ok(Self { binary, home, cluster: cluster.client(), kubeconfig })
    }

    /// Brings the release to what is wanted, whatever state an earlier helm left it in. A second call changes nothing.
    /// Does not wait until the release's pods are ready.
    ///
    /// Fails with `foreign_object` (left as it is), `chart_not_found`, `chart_invalid`, `quota_exceeded`,
    /// `helm_forbidden`, `helm_failed`, or as unavailable (`cluster`, `chart-repository`).
    pub async fn ensure_release(&self, release: &Release, owner: &Owner, step: &Step) -> Result<Ensured> {
        let mut created_by = None;
        for _ in 0..ROUNDS {
            let history = self.history(&release.namespace, &release.name, &release.label_prefix).await?;
            created_by = created_by.or(history.created_by());
            let refused = match history.next(owner) {
                Next::Leave => return Err(Error::foreign(named(&release.namespace, &release.name))),
                Next::Install => {
                    let run = created_by.unwrap_or(owner.run_id);
                    match self.install(release, owner, run, step).await {
                        Ok(()) => return Ok(Ensured { created_by: Some(run), revision: 1 }),
                        Err(refusal) => refusal,
                    }
                }
                Next::Compare { revision } => match self.is_as_wanted(release, revision, step).await {
                    Ok(true) => return Ok(Ensured { created_by, revision }),
                    Ok(false) => match self.upgrade(release, owner, created_by, step).await {
                        Ok(()) => return Ok(Ensured { created_by, revision: revision + 1 }),
                        Err(refusal) => refusal,
                    },
                    Err(refusal) => refusal,
                },
                Next::Upgrade => match self.upgrade(release, owner, created_by, step).await {
                    Ok(()) => continue,
                    Err(refusal) => refusal,
                },
                Next::GoBack { revision } => match self.go_back(release, revision, step).await {
                    Ok(()) => continue,
                    Err(refusal) => refusal,
                },
                Next::Remove => match self.uninstall(&release.namespace, &release.name, step).await {
                    Ok(()) => continue,
                    Err(refusal) => refusal,
                },
            };
            match refused {
                // Somebody was faster; look again at what is there now.
                Refusal::NameTaken | Refusal::NotFound => {}
                Refusal::Error(error) => return Err(error),
            }
        }
        Err(unsettled(&release.namespace, &release.name))
    }

    /// Asks the chart repository whether it has the release's chart in its version. Changes nothing.
    ///
    /// Fails with `chart_not_found`, `helm_failed`, or as unavailable (`chart-repository`).
    pub async fn find_chart(&self, release: &Release, step: &Step) -> Result<()> {
        match self.show(release, step).await {
            Ok(()) => Ok(()),
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::NameTaken | Refusal::NotFound) => Err(unsettled(&release.namespace, &release.name)),
        }
    }

    /// Removes the release with its history, if it is ours and the step may. What is not there, not ours, or another
    /// run's is left, and that is a success. Works when the namespace is gone or going.
    pub async fn ensure_uninstalled(
        &self,
        namespace: &Namespace,
        name: &str,
        label_prefix: &str,
        owner: &Owner,
        step: &Step,
    ) -> Result<Progress<()>> {
        for _ in 0..ROUNDS {
            let history = self.history(namespace, name, label_prefix).await?;
            if history.is_empty() || !history.is_owned_by(owner) || !owner.may_delete(history.created_by()) {
                return Ok(Progress::Done(()));
            }
            match self.uninstall(namespace, name, step).await {
                // The look at the start of the next round says whether it is gone.
                Ok(()) | Err(Refusal::NotFound | Refusal::NameTaken) => {}
                Err(Refusal::Error(error)) => {
                    // A namespace that is going takes the storage away under helm's hands.
                    if self.history(namespace, name, label_prefix).await?.is_empty() {
                        return Ok(Progress::Done(()));
                    }
                    return Err(error);
                }
            }
        }
        Err(unsettled(namespace, name))
    }

    /// Every release of the tenant, in all namespaces and any state.
    pub async fn inventory(&self, tenant_id: TenantId, label_prefix: &str) -> Result<Vec<Found>> {
        let keys = Keys::new(label_prefix);
        let selector = format!("owner=helm,{}={tenant_id}", keys.tenant);
        let mut found: BTreeMap<(String, String), Vec<Revision>> = BTreeMap::new();
        for secret in self.storage(&Api::all(self.cluster.clone()), &selector).await? {
            let name = secret.labels().get("name").cloned().unwrap_or_else(|| secret.name_any());
            let place = (secret.namespace().unwrap_or_default(), name);
            found.entry(place).or_default().push(revision(&secret, &keys));
        }
        let found = found.into_iter().map(|((namespace, name), revisions)| Found {
            namespace,
            name,
            status: History::new(revisions).latest().map(|latest| latest.status.clone()).unwrap_or_default(),
        });
        Ok(found.collect())
    }

    /// The release's storage Secrets. Only their metadata is read: `helm list` would fetch every release of the whole
    /// cluster with its contents and sieve them itself.
    async fn history(&self, namespace: &Namespace, name: &str, label_prefix: &str) -> Result<History> {
        let keys = Keys::new(label_prefix);
        let api = Api::namespaced(self.cluster.clone(), namespace.as_str());
        let secrets = self.storage(&api, &format!("owner=helm,name={name}")).await?;
        Ok(History::new(secrets.iter().map(|secret| revision(secret, &keys)).collect()))
    }

    async fn storage(&self, api: &Api<Secret>, selector: &str) -> Result<Vec<PartialObjectMeta<Secret>>> {
        let parameters = ListParams::default().labels(selector);
        match tokio::time::timeout(ANSWER_WITHIN, api.list_metadata(&parameters)).await {
            Ok(Ok(list)) => Ok(list.items),
            Ok(Err(error)) => Err(unread(&error)),
            Err(_) => Err(unreachable(&format!("no answer within {ANSWER_WITHIN:?}"))),
        }
    }
}

fn homeless(error: &std::io::Error) -> Error {
    Error::retryable("helm_home", format!("no folder for helm's cache: {error}"))
        .next("Make the temporary folder (TMPDIR) writable.")
}

/// Goes with its folder.
fn write_kubeconfig(folder: &Path, text: &model::secret::Secret) -> std::io::Result<PathBuf> {
    let path = folder.join("kubeconfig");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.expose().as_bytes())?;
    Ok(path)
}

fn revision(secret: &PartialObjectMeta<Secret>, keys: &Keys) -> Revision {
    Revision::read(|label| secret.labels().get(label).map(String::as_str), keys)
}

fn named(namespace: &Namespace, name: &str) -> String {
    format!("Helm release {namespace}/{name}")
}

fn unsettled(namespace: &Namespace, name: &str) -> Error {
    Error::retryable("helm_unsettled", format!("{} changes whenever it is looked at", named(namespace, name)))
        .next("Find out who else works on this release (helm history), then retry.")
}

/// Why helm's storage could not be read.
fn unread(error: &kube::Error) -> Error {
    match error {
        // An expired credential is the same for every tenant, and nothing to roll back for.
        kube::Error::Api(status) if status.code < 500 && !matches!(status.code, 401 | 408 | 429) => {
            Error::retryable("cluster_refused", format!("list helm's storage: {error}"))
                .next("Check the rights of the function's credentials on Secrets.")
        }
        _ => unreachable(&error.to_string()),
    }
}

fn unreachable(why: &str) -> Error {
    Error::unavailable("cluster", "cluster_unavailable", format!("list helm's storage: {why}"))
        .next("Bring the Kubernetes API server back; the run then continues on its own.")
}
