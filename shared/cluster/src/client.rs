//! The connection, and one bound on every call.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use engine::phase::{Error, Owner, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config};
use model::platform::{Platform, RegionCluster};
use model::secret::{Secret, SecretSource as _};

use super::{Owned, Secrets, errors};

/// Longest wait for a TCP and TLS connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for the answer to one call. The API server itself gives up on a request after 60 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A connection to the API server; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: Client,
    /// Of a region's cluster: how a program of somebody else's gets there. None: as the environment says.
    kubeconfig: Option<Arc<Secret>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// Connects to the cluster that `KUBECONFIG` names, or to the one this process runs in. Sends nothing: a server that
    /// is down is noticed by the first call.
    ///
    /// `~/.kube/config` is not read: a forgotten variable must not provision tenants in whatever cluster a developer
    /// looked at last.
    pub async fn connect() -> Result<Self> {
        let given = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty());
        let config = if let Some(path) = given {
            Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| {
                Error::fatal("cluster_config", format!("KUBECONFIG={}: {error}", path.display()))
                    .next("Set KUBECONFIG to a readable kubeconfig file with a current context.")
            })?
        } else {
            Config::incluster().map_err(|error| {
                Error::fatal(
                    "cluster_config",
                    format!("KUBECONFIG is not set and this process does not run in a pod: {error}"),
                )
                .next("Set KUBECONFIG to a kubeconfig file, or run in a pod with a service account.")
            })?
        };
        Self::with(config)
    }

    /// Connects as a configuration at hand says. Sends nothing.
    pub fn with(mut config: Config) -> Result<Self> {
        config.connect_timeout = Some(CONNECT_WITHIN);
        // Trying again is the engine's, where attempts are counted and an operator can see them.
        config.default_retry = false;
        // The API server's audit log tells its callers apart by this.
        if let (Ok(name), Ok(value)) = ("user-agent".parse(), "tenantry".parse()) {
            config.headers.push((name, value));
        }
        let client = Client::try_from(config).map_err(|error| {
            Error::fatal("cluster_config", format!("the cluster's configuration cannot be used: {error}"))
                .next("Check the certificates and the user in the kubeconfig file.")
        })?;
        Ok(Self { client, kubeconfig: None })
    }

    /// Connects to the cluster of the region that `platform` is seen in ([`Platform::seen_in`]), or as [`Cluster::connect`]
    /// where that has none of its own. Unavailable when its kubeconfig cannot be read or used: that is no tenant's fault.
    pub async fn of(platform: &Platform) -> Result<Self> {
        let Some(RegionCluster { kubeconfig: reference, .. }) = &platform.cluster else {
            return Self::connect().await;
        };
        let unusable = |why: &str| {
            errors::unusable(format!("its kubeconfig ({reference}) {why}"))
                .next("Put a kubeconfig with a current context where the reference says; the run then continues on its own.")
        };
        let text =
            Secrets.read(reference).await.map_err(|error| unusable(&format!("cannot be read: {error}")))?;
        // The errors of reading it may quote what it holds.
        let read = Kubeconfig::from_yaml(text.expose()).map_err(|_| unusable("is none"))?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
        let config = config.map_err(|_| unusable("has no current context that can be used"))?;
        Ok(Self { kubeconfig: Some(Arc::new(text)), ..Self::with(config)? })
    }

    /// The kubeconfig of a region's cluster; none: the environment's.
    pub fn kubeconfig(&self) -> Option<&Secret> {
        self.kubeconfig.as_deref()
    }

    /// The client itself, for what this module has no word for. Errors are then the caller's to translate.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The cluster in the hands of an owner: what is made is labelled as theirs, and only theirs is deleted.
    /// `label_prefix` comes from the plan, so that an undo finds what was made under an older platform file.
    pub fn owned_by(&self, owner: &Owner, label_prefix: &str) -> Owned {
        Owned::new(self.clone(), owner.clone(), label_prefix)
    }
}

/// Waits for one call, at most [`ANSWER_WITHIN`]. The server's own refusal is the inner error, for callers that know
/// what it means; anything else is already translated.
pub(super) fn answered<T>(
    doing: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> impl Future<Output = Result<std::result::Result<T, Box<Status>>>> {
    // The client's futures are several KB each; phases hold many, and nest them.
    let call = Box::pin(call);
    async move {
        match tokio::time::timeout(ANSWER_WITHIN, call).await {
            Ok(Ok(value)) => Ok(Ok(value)),
            Ok(Err(kube::Error::Api(status))) => Ok(Err(status)),
            Ok(Err(error)) => Err(errors::translate(doing, &error)),
            Err(_) => Err(errors::unavailable(doing, "no answer within 30 s")),
        }
    }
}

/// Waits for the answer to one call, at most 30 s. Every refusal is an error, which says what was being done.
pub fn call<T>(doing: &str, call: impl Future<Output = kube::Result<T>>) -> impl Future<Output = Result<T>> {
    let answered = answered(doing, call);
    async move { answered.await?.map_err(|status| errors::refused(doing, &status)) }
}

/// As [`call`], where "not found" is an answer.
pub fn find<T>(
    doing: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> impl Future<Output = Result<Option<T>>> {
    let answered = answered(doing, call);
    async move {
        match answered.await? {
            Ok(value) => Ok(Some(value)),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(errors::refused(doing, &status)),
        }
    }
}
