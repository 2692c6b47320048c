//! The instance's background jobs: its user at the region's job broker, and the login in a Secret of the namespace.

use std::collections::BTreeMap;

use cluster::{Cluster, Owned, Target};
use engine::phase::{Error, Result, Step};
use job_broker::{JobBroker, Site, UserMade};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::TenantId;
use model::platform::JobBroker as Settings;
use model::secret;
use rand::TryRngCore as _;
use rand::distr::{Alphanumeric, SampleString as _};
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::objects::{JOBS_POLICY, JOBS_SECRET, named, selector};
use crate::{Plan, ProvisionDeployment};

/// The key of the password in the Secret.
const PASSWORD: &str = "AMQP_PASSWORD";

/// Characters of a password: 40 alphanumerics hold 238 bits, and need no quoting anywhere.
const PASSWORD_LENGTH: usize = 40;

/// Where the instance's jobs are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Jobs {
    /// The broker, as its administrator reaches it.
    #[serde(flatten)]
    pub site: Site,
    /// The broker, as the instance reaches it.
    pub host: String,
    /// Its port for AMQP.
    pub port: u16,
    /// AMQP over TLS.
    pub tls: bool,
    /// Its addresses, where the network has to let the instance through.
    pub cidrs: Vec<String>,
}

impl Jobs {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            site: Site { management: settings.management.clone(), vhost: settings.vhost.clone() },
            host: settings.host.clone(),
            port: settings.port,
            tls: settings.tls,
            cidrs: settings.cidrs.clone(),
        }
    }

    /// Those of the step's region as it is now.
    pub(crate) fn now(step: &Step) -> Option<Self> {
        step.region().and_then(|region| region.jobs.as_ref()).map(Self::of)
    }

    /// By the reference that the region has now, unless its broker is another one by now.
    async fn broker(&self, cluster: &Cluster, step: &Step) -> Result<JobBroker> {
        let same = Self::now(step).is_some_and(|now| (&now.host, now.port) == (&self.host, self.port));
        let site = if same { self.site.as_now(step) } else { self.site.clone() };
        JobBroker::connect(&cluster.resolve(&site.management).await?, &site.vhost)
    }

    /// The Secret first: a password that is in no Secret would be lost with the worker that made it up. One of the tenant's
    /// that is there keeps its password, which is given to the broker, as a hash; where the broker is, is brought up to date.
    pub(crate) async fn ensure(
        &self,
        plan: &Plan,
        owned: &Owned,
        cluster: &Cluster,
        step: &Step,
    ) -> Result<UserMade> {
        let tenant = step.owner().tenant_id;
        let fresh = Alphanumeric.sample_string(&mut OsRng.unwrap_err(), PASSWORD_LENGTH);
        owned.ensure_kept(&login(plan, self, tenant, &secret::Secret::new(fresh))).await?;
        let found = cluster.read_secret(plan.namespace.as_str(), JOBS_SECRET).await?.unwrap_or_default();
        let password = found.get(PASSWORD).ok_or_else(|| {
            let name = format!("Secret {}/{JOBS_SECRET}", plan.namespace);
            Error::retryable("secret_missing", format!("{name} is not there, or has no {PASSWORD}"))
                .next("Delete the Secret if it is there; retry makes a new one.")
        })?;
        let wanted = login(plan, self, tenant, password);
        if !holds(&found, &wanted) {
            owned.ensure(&wanted).await?;
        }
        self.broker(cluster, step).await?.ensure_user(step.owner(), password).await
    }

    pub(crate) async fn remove(&self, cluster: &Cluster, step: &Step) -> Result<usize> {
        self.broker(cluster, step).await?.remove_user(step.owner()).await
    }
}

impl ProvisionDeployment {
    /// Takes the user at the job broker away that this run made, with its login and its way there, when a change that brought
    /// them is undone by a plan of a time when the region had no broker.
    pub(crate) async fn take_jobs_back(&self, plan: &Plan, owned: &Owned, step: &Step) -> Result<()> {
        let Some(jobs) = Jobs::now(step) else { return Ok(()) };
        let gone = jobs.remove(&self.cluster, step);
        step.operation("remove job broker user", gone).await?;
        let within = Some(plan.namespace.as_str());
        for (what, target) in [
            (JOBS_POLICY, Target::of::<NetworkPolicy>(within, JOBS_POLICY)),
            ("job broker login", Target::of::<Secret>(within, JOBS_SECRET)),
        ] {
            step.wait_for(&format!("delete {what}"), owned.ensure_deleted(&target)).await?;
        }
        Ok(())
    }
}

fn login(plan: &Plan, jobs: &Jobs, tenant: TenantId, password: &secret::Secret) -> Secret {
    let user = job_broker::user_of(tenant);
    let (host, port, vhost) = (&jobs.host, jobs.port, &jobs.site.vhost);
    let scheme = if jobs.tls { "amqps" } else { "amqp" };
    // A vhost's name stands in an address with its slashes written otherwise.
    let path = vhost.replace('%', "%25").replace('/', "%2F");
    let url = format!("{scheme}://{user}:{}@{host}:{port}/{path}", password.expose());
    let data = [
        ("AMQP_URL", url),
        ("AMQP_HOST", host.clone()),
        ("AMQP_PORT", port.to_string()),
        ("AMQP_VHOST", vhost.clone()),
        ("AMQP_USER", user),
        (PASSWORD, password.expose().to_owned()),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
    Secret {
        metadata: named(plan, JOBS_SECRET),
        type_: Some("Opaque".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

/// Whether a Secret that was read has all that is wanted of it.
fn holds(found: &BTreeMap<String, secret::Secret>, wanted: &Secret) -> bool {
    wanted
        .data
        .iter()
        .flatten()
        .all(|(key, value)| found.get(key).is_some_and(|found| found.expose().as_bytes() == value.0))
}

/// None where the broker is in the control plane's namespace, which CONFIGURE_NETWORKING lets through: without addresses.
pub(crate) fn policy(plan: &Plan, jobs: &Jobs) -> Option<NetworkPolicy> {
    // An empty list of peers would mean everywhere.
    if jobs.cidrs.is_empty() {
        return None;
    }
    let to = jobs.cidrs.iter().map(|cidr| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.clone(), except: None }),
        ..NetworkPolicyPeer::default()
    });
    let port = NetworkPolicyPort {
        protocol: Some("TCP".into()),
        port: Some(IntOrString::Int(i32::from(jobs.port))),
        end_port: None,
    };
    Some(NetworkPolicy {
        metadata: named(plan, JOBS_POLICY),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(selector()), ..LabelSelector::default() }),
            policy_types: Some(vec!["Egress".into()]),
            egress: Some(vec![NetworkPolicyEgressRule { to: Some(to.collect()), ports: Some(vec![port]) }]),
            ..NetworkPolicySpec::default()
        }),
    })
}
