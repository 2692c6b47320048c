//! What watches over a tenant, and whom it tells.

use serde::{Deserialize, Serialize};

use super::Seconds;
use crate::secret::SecretRef;
use crate::{Namespace, Slug};

/// Settings of the tenants' Prometheus, Alertmanager and Grafana.
///
/// The cluster must have the Prometheus operator. Nothing of a tenant's sees more than its own namespace; what only the
/// cluster knows of its pods and volumes (cAdvisor, kubelet, kube-state-metrics) is asked of the platform's own
/// Prometheus, for that namespace alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Monitoring {
    /// Version of the tenants' Prometheus.
    pub prometheus_version: String,
    /// Version of the tenants' Alertmanager.
    pub alertmanager_version: String,
    /// How long a tenant's Prometheus keeps what it has measured: a Prometheus duration.
    pub retention: String,
    /// How often it measures, a Prometheus duration: at most half a minute, or the rates of the alert rules have too
    /// few points.
    pub scrape_interval: String,
    /// The platform's Prometheus.
    pub cluster_metrics: ClusterMetrics,
    /// Grafana's chart.
    pub grafana: Chart,
    /// How alerts are mailed.
    pub mail: Mail,
    /// The platform's own Slack channel, for tenants without one. None: their alerts are mailed only.
    pub slack_webhook: Option<SecretRef>,
    /// Which secrets a tenant may name as its Slack webhook: references in which `{slug}` and `{namespace}` stand for
    /// the tenant's own, and `*` for any characters but `/` and `#`. What no entry allows is refused, for the one who
    /// names a reference is not the one whose environment, files and Secrets it is read from. As slugs may hold `-`, end
    /// `{slug}` with something else: `k8s:tenant-webhooks/{slug}.slack#url`.
    pub tenant_references: Vec<String>,
    /// Seconds that a webhook's Secret in the tenant's own namespace may take to be there, which is made by the same run;
    /// and then the pods to become ready.
    pub ready_within: Seconds,
}

/// Where the tenants' Prometheus find what only the cluster knows of their namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterMetrics {
    /// A Service that answers `/federate` as Prometheus does. Behind it should be a proxy that holds each caller to its
    /// own namespace.
    pub service: String,
    /// The Service's namespace.
    pub namespace: String,
    /// Its TCP port, which the pods behind it listen on too.
    pub port: u16,
}

/// A chart that is not one of the tenant's services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chart {
    /// Its repository; the one of the tenant's services when empty.
    pub repository_url: String,
    /// Its name.
    pub name: String,
    /// Its exact version.
    pub version: String,
}

/// The mail server that the tenants' Alertmanager hands its messages to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// Its host, as pods reach it.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Its addresses, for the network policy. None: it is in the control plane's namespace.
    pub cidrs: Vec<String>,
    /// The sender.
    pub from: String,
    /// Whom to log in as. None: it asks for no login.
    pub username: Option<String>,
    /// The password of the login.
    pub password: Option<SecretRef>,
    /// Refuse to send without TLS.
    pub require_tls: bool,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            // What the operator of version 0.85 is tested with.
            prometheus_version: "v3.5.0".into(),
            alertmanager_version: "v0.28.1".into(),
            retention: "15d".into(),
            scrape_interval: "30s".into(),
            cluster_metrics: ClusterMetrics::default(),
            grafana: Chart { repository_url: String::new(), name: "grafana".into(), version: "0.1.0".into() },
            mail: Mail::default(),
            slack_webhook: None,
            tenant_references: vec!["k8s:{namespace}/*#*".into()],
            ready_within: Seconds(600.0),
        }
    }
}

impl Default for ClusterMetrics {
    fn default() -> Self {
        Self { service: "prometheus".into(), namespace: "monitoring".into(), port: 9090 }
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            host: "smtp.matih-system.svc".into(),
            port: 25,
            cidrs: Vec::new(),
            from: "alerts@matih.ai".into(),
            username: None,
            password: None,
            require_tls: false,
        }
    }
}

impl Monitoring {
    /// Whether a tenant may name this secret as its own.
    pub fn allows(&self, reference: &SecretRef, slug: &Slug, namespace: &Namespace) -> bool {
        let text = reference.to_string();
        self.tenant_references.iter().any(|allowed| {
            let allowed = allowed.replace("{slug}", slug.as_str()).replace("{namespace}", namespace.as_str());
            matches(&allowed, &text)
        })
    }
}

/// `*` in the pattern stands for any characters but those that separate: a path does not climb out of its folder.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let reach = rest.find(['/', '#']).unwrap_or(rest.len());
    (0..=reach).filter(|end| rest.is_char_boundary(*end)).any(|end| matches(after, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str], reference: &str) -> bool {
        let slug = "acme".parse().unwrap();
        let settings = Monitoring {
            tenant_references: patterns.iter().map(ToString::to_string).collect(),
            ..Monitoring::default()
        };
        settings.allows(&reference.parse().unwrap(), &slug, &Namespace::of("matih-", &slug))
    }

    #[test]
    fn by_default_a_tenant_may_name_its_own_secrets_and_nothing_of_the_platforms() {
        let default = Monitoring::default().tenant_references;
        let default: Vec<&str> = default.iter().map(String::as_str).collect();
        assert!(allowed(&default, "k8s:matih-acme/slack#url"));
        for reference in [
            "env:ADMIN_TOKEN",
            "env:DATABASE_URL",
            "file:/etc/shadow",
            "file:/proc/self/environ",
            "k8s:matih-other/tenant-database-credentials#DATABASE_URL",
            "k8s:matih-system/internal#secret",
            "k8s:matih-acme-2/slack#url",
            "k8s:matih-acme/../matih-other/slack#url",
        ] {
            assert!(!allowed(&default, reference), "{reference}");
        }
        assert!(!allowed(&[], "k8s:matih-acme/slack#url"));
    }

    #[test]
    fn an_entry_allows_what_it_says_and_climbs_out_of_no_folder() {
        let own = ["file:/run/webhooks/{slug}.*", "env:SLACK_WEBHOOK", "k8s:webhooks/{slug}.slack#url"];
        for reference in ["file:/run/webhooks/acme.slack", "env:SLACK_WEBHOOK", "k8s:webhooks/acme.slack#url"]
        {
            assert!(allowed(&own, reference), "{reference}");
        }
        for reference in [
            "file:/run/webhooks/other.slack",
            "file:/run/webhooks/acme./../other.slack",
            "file:/run/webhooks/acme.x/../../../etc/shadow",
            "env:SLACK_WEBHOOK_2",
            "k8s:webhooks/acme.slack#other",
        ] {
            assert!(!allowed(&own, reference), "{reference}");
        }
    }
}
