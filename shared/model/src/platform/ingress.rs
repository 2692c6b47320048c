//! The tenant's ingress controller: which chart, its values, and the names of what it makes. The defaults are the
//! provisioning reference's (phase 6); another controller's chart is a change of this section and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Platform, Seconds};
use crate::Tenant;

/// What every template may name.
const OF_THE_TENANT: [&str; 7] =
    ["slug", "tenant_id", "namespace", "domain", "label_prefix", "region", "tier"];

/// What the later templates may name besides: the earlier ones, filled in.
const OF_THE_CONTROLLER: [&str; 3] = ["release", "class", "controller"];

/// The ingress controller. Texts with names in braces are templates; `{{` and `}}` stand for a brace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingress {
    /// Chart repository; that of the tenant's services when empty.
    pub repository_url: String,
    /// The chart's name in it.
    pub chart: String,
    /// The chart's exact version.
    pub version: String,
    /// The release's name. Unique in the cluster, because cluster-scoped objects are named after it.
    pub release: String,
    /// The IngressClass's name.
    pub class: String,
    /// The IngressClass's controller.
    pub controller: String,
    /// The Service whose load balancer gets the tenant's address.
    pub service: String,
    /// The account that the controller runs as.
    pub service_account: String,
    /// Labels that select the controller's pods.
    pub pods: BTreeMap<String, String>,
    /// The pods' TCP ports that the public reaches.
    pub ports: Vec<u16>,
    /// The pods' TCP port that answers the load balancer's health probe besides.
    pub health_port: u16,
    /// Addresses of the public.
    pub public_cidrs: Vec<String>,
    /// Addresses of the load balancer's health probe.
    pub probe_cidrs: Vec<String>,
    /// Seconds that the load balancer may take to get an address.
    pub address_within: Seconds,
    /// The chart's values: keys and texts are templates.
    pub values: Value,
}

/// A tenant's controller: every template filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    /// See [`Ingress::release`].
    pub release: String,
    /// See [`Ingress::class`].
    pub class: String,
    /// See [`Ingress::controller`].
    pub controller: String,
    /// See [`Ingress::service`].
    pub service: String,
    /// See [`Ingress::service_account`].
    pub service_account: String,
    /// See [`Ingress::pods`].
    pub pods: BTreeMap<String, String>,
    /// See [`Ingress::values`].
    pub values: Value,
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            repository_url: String::new(),
            chart: "ingress-nginx".into(),
            // The last of the public chart; its keys are those of the values below.
            version: "4.15.1".into(),
            release: "ingress-nginx-{slug}".into(),
            class: "nginx-{slug}".into(),
            controller: "k8s.io/ingress-nginx-{slug}".into(),
            service: "{release}-controller".into(),
            service_account: "{release}".into(),
            pods: [
                ("app.kubernetes.io/name", "ingress-nginx"),
                ("app.kubernetes.io/instance", "{release}"),
                ("app.kubernetes.io/component", "controller"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            ports: vec![80, 443],
            health_port: 10254,
            public_cidrs: vec!["0.0.0.0/0".into(), "::/0".into()],
            // Where Azure's load balancers probe from.
            probe_cidrs: vec!["168.63.129.16/32".into()],
            // The reference's 60 looks, 10 s apart.
            address_within: Seconds(600.0),
            values: values(),
        }
    }
}

/// The reference's values, and what keeps tenants apart: names of their own, the tenant's namespace as the only one
/// watched, and access to Secrets by a Role in it (`rbac.scope`).
fn values() -> Value {
    json!({
        "fullnameOverride": "{release}",
        "commonLabels": { "{label_prefix}/tenant-id": "{tenant_id}" },
        "rbac": { "create": true, "scope": true },
        "controller": {
            "ingressClassResource": { "name": "{class}", "controllerValue": "{controller}" },
            "ingressClass": "{class}",
            "replicaCount": 2,
            "scope": { "enabled": true, "namespace": "{namespace}" },
            "service": {
                "type": "LoadBalancer",
                "annotations": {
                    "service.beta.kubernetes.io/azure-load-balancer-health-probe-request-path": "/healthz",
                },
            },
            "admissionWebhooks": { "enabled": false },
            // Errors and latency are alerted on by these.
            "metrics": { "enabled": true },
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" },
                "limits": { "cpu": "500m", "memory": "256Mi" },
            },
        },
    })
}

impl Ingress {
    /// Fills every template in for a tenant. Pure. Fails with the key and what is wrong with it, as the check at start
    /// does.
    pub fn of(&self, tenant: &Tenant, platform: &Platform) -> Result<Controller, (String, String)> {
        let mut names = TemplateValues(BTreeMap::from([
            ("slug", tenant.slug.to_string()),
            ("tenant_id", tenant.id.to_string()),
            ("namespace", platform.namespace(&tenant.slug).to_string()),
            ("domain", format!("{}.{}", tenant.slug, platform.domain)),
            ("label_prefix", platform.label_prefix.clone()),
            ("region", tenant.region.clone()),
            ("tier", tenant.tier.to_string()),
        ]));
        self.fill(&mut names)
    }

    /// Checks what types cannot: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for (key, empty) in [("chart", self.chart.is_empty()), ("version", self.version.is_empty())] {
            if empty {
                return Err((key.into(), "is empty".into()));
            }
        }
        if self.pods.is_empty() {
            return Err(("pods".into(), "is empty, which would select every pod of the tenant".into()));
        }
        if self.ports.is_empty() || self.public_cidrs.is_empty() {
            return Err(("ports".into(), "ports and public_cidrs must not be empty".into()));
        }
        let within = self.address_within.0;
        if !(within.is_finite() && within > 0.0) {
            let why = format!("is {within} and must be a positive number of seconds");
            return Err(("address_within".into(), why));
        }
        if !self.values.is_object() {
            return Err(("values".into(), "is not a table".into()));
        }
        self.fill(&mut TemplateValues(OF_THE_TENANT.map(|name| (name, name.to_owned())).into())).map(drop)
    }

    fn fill(&self, names: &mut TemplateValues) -> Result<Controller, (String, String)> {
        for (name, template) in
            OF_THE_CONTROLLER.into_iter().zip([&self.release, &self.class, &self.controller])
        {
            let filled = names.fill(template).map_err(|why| (name.to_owned(), why))?;
            names.0.insert(name, filled);
        }
        let text = |key: &str, template: &str| names.fill(template).map_err(|why| (key.to_owned(), why));
        let pods = self.pods.iter().map(|(key, value)| {
            let place = format!("pods.{key}");
            Ok((text(&place, key)?, text(&place, value)?))
        });
        Ok(Controller {
            release: names.0["release"].clone(),
            class: names.0["class"].clone(),
            controller: names.0["controller"].clone(),
            service: text("service", &self.service)?,
            service_account: text("service_account", &self.service_account)?,
            pods: pods.collect::<Result<_, (String, String)>>()?,
            values: names.fill_value("values", &self.values)?,
        })
    }
}

/// What templates may name.
struct TemplateValues(BTreeMap<&'static str, String>);

impl TemplateValues {
    fn fill(&self, template: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                filled.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                filled.push('}');
                rest = after;
            } else if let Some((name, after)) = from[1..].split_once('}').filter(|_| from.starts_with('{')) {
                let value = self.0.get(name).ok_or_else(|| {
                    let known: Vec<&str> = self.0.keys().copied().collect();
                    format!("'{template}' names {{{name}}}, which is none of {}", known.join(", "))
                })?;
                filled.push_str(value);
                rest = after;
            } else {
                return Err(format!("'{template}' has a single brace; write it twice to mean itself"));
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn fill_value(&self, place: &str, template: &Value) -> Result<Value, (String, String)> {
        Ok(match template {
            Value::String(text) => Value::String(self.fill(text).map_err(|why| (place.to_owned(), why))?),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(nth, item)| self.fill_value(&format!("{place}[{nth}]"), item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, item)| {
                    let place = format!("{place}.{key}");
                    let key = self.fill(key).map_err(|why| (place.clone(), why))?;
                    Ok((key, self.fill_value(&place, item)?))
                });
                Value::Object(fields.collect::<Result<_, (String, String)>>()?)
            }
            other => other.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeploymentType, Tier};

    fn tenant() -> Tenant {
        Tenant {
            id: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
            slug: "acme".parse().unwrap(),
            name: "Acme".into(),
            tier: Tier::Professional,
            region: "eastus".into(),
            admin_email: "admin@acme.example".into(),
            deployment_type: DeploymentType::ContainerPerTenant,
            has_dedicated_database: true,
            cost_center: None,
            alerting: crate::Alerting::default(),
            suspended: false,
            container: crate::Container::default(),
            domains: Vec::new(),
            created_by: "admin@matih.ai".into(),
            created_at: "2026-02-12T10:00:00Z".parse().unwrap(),
        }
    }

    /// Provisioning reference, phase 6, "Helm Values", key by key.
    #[test]
    fn the_values_are_the_references_with_names_of_the_tenants_own() {
        let platform = Platform::default();
        let filled = platform.ingress.of(&tenant(), &platform).unwrap();
        let controller = &filled.values["controller"];
        for (key, value) in [
            (
                "ingressClassResource",
                json!({ "name": "nginx-acme", "controllerValue": "k8s.io/ingress-nginx-acme" }),
            ),
            ("ingressClass", json!("nginx-acme")),
            ("replicaCount", json!(2)),
            (
                "service",
                json!({ "type": "LoadBalancer", "annotations": {
                    "service.beta.kubernetes.io/azure-load-balancer-health-probe-request-path": "/healthz",
                } }),
            ),
            ("admissionWebhooks", json!({ "enabled": false })),
            (
                "resources",
                json!({
                    "requests": { "cpu": "100m", "memory": "128Mi" },
                    "limits": { "cpu": "500m", "memory": "256Mi" },
                }),
            ),
            ("scope", json!({ "enabled": true, "namespace": "matih-acme" })),
        ] {
            assert_eq!(controller[key], value, "{key}");
        }
        assert_eq!(filled.values["fullnameOverride"], "ingress-nginx-acme");
        assert_eq!(filled.values["rbac"]["scope"], true);
        assert_eq!(
            filled.values["commonLabels"],
            json!({ "matih.ai/tenant-id": "550e8400-e29b-41d4-a716-446655440000" })
        );
        assert_eq!(
            (filled.release.as_str(), filled.service.as_str(), filled.class.as_str()),
            ("ingress-nginx-acme", "ingress-nginx-acme-controller", "nginx-acme")
        );
        assert_eq!(filled.pods["app.kubernetes.io/instance"], "ingress-nginx-acme");
    }

    #[test]
    fn the_longest_slug_still_gives_names_that_kubernetes_takes() {
        let longest = Tenant { slug: "a23456789012345678901234567890".parse().unwrap(), ..tenant() };
        let platform = Platform::default();
        let filled = platform.ingress.of(&longest, &platform).unwrap();
        assert!(filled.release.len() <= 53, "helm's limit: {}", filled.release);
        assert!(format!("{}-metrics", filled.service).len() <= 63, "a DNS label: {}", filled.service);
    }

    #[test]
    fn an_unknown_name_is_named_with_its_key() {
        let mut ingress = Ingress::default();
        assert_eq!(ingress.check(), Ok(()));
        ingress.values["controller"]["config"] = json!({ "log": ["{{ \"a\": $b }}", "{slugg}"] });
        let (key, why) = ingress.check().unwrap_err();
        assert_eq!(key, "values.controller.config.log[1]");
        assert!(why.contains("{slugg}") && why.contains("slug, tenant_id, tier"), "{why}");

        for (template, wrong) in [("{slug", true), ("slug}", true), ("{{slug}}", false), ("{}", true)] {
            let ingress = Ingress { service: template.into(), ..Ingress::default() };
            assert_eq!(ingress.check().is_err(), wrong, "{template}");
        }
        // Its own name is not known to a template that comes before it.
        let early = Ingress { release: "a-{class}".into(), ..Ingress::default() };
        assert_eq!(early.check().unwrap_err().0, "release");
    }

    #[test]
    fn another_controllers_chart_is_a_change_of_configuration() {
        let text = r#"
            [ingress]
            repository_url = "https://charts.example"
            chart = "traefik"
            version = "37.1.0"
            release = "traefik-{slug}"
            class = "traefik-{slug}"
            controller = "traefik.io/ingress-controller"
            service = "{release}"
            ports = [8000, 8443]
            health_port = 8080

            [ingress.pods]
            "app.kubernetes.io/instance" = "{release}-{namespace}"

            [ingress.values]
            fullnameOverride = "{release}"
            rbac = { namespaced = true }
            ingressClass = { name = "{class}" }
            deployment = { replicas = 2 }
            providers = { kubernetesIngress = { namespaces = ["{namespace}"], ingressClass = "{class}" } }
            logs = { format = "{{ $status }}" }
        "#;
        let platform: Platform = toml::from_str(text).unwrap();
        assert_eq!(platform.ingress.check(), Ok(()));
        let filled = platform.ingress.of(&tenant(), &platform).unwrap();
        assert_eq!(
            filled.values,
            json!({
                "fullnameOverride": "traefik-acme",
                "rbac": { "namespaced": true },
                "ingressClass": { "name": "traefik-acme" },
                "deployment": { "replicas": 2 },
                "providers": { "kubernetesIngress": { "namespaces": ["matih-acme"], "ingressClass": "traefik-acme" } },
                "logs": { "format": "{ $status }" },
            })
        );
        assert_eq!(
            filled.pods,
            [("app.kubernetes.io/instance".into(), "traefik-acme-matih-acme".into())].into()
        );
    }
}
