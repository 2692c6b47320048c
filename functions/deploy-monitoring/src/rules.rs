//! The alert rules: provisioning reference, phase 9, "Default Alert Rules", in its order.

use serde_json::{Value, json};

use crate::Plan;

/// Over how long a rate is taken: short, so that "for 5 min" is about the five minutes, and long enough for four
/// measurements of the default interval.
const RATE: &str = "2m";

/// One rule: its condition holds for as long as `lasts` before it fires; at once when that is none.
struct Rule {
    alert: &'static str,
    expression: String,
    lasts: Option<&'static str>,
    severity: &'static str,
    summary: &'static str,
}

/// The group of rules, as a rule file and a `PrometheusRule` have it.
pub(crate) fn groups(plan: &Plan) -> Value {
    let rules: Vec<Value> = rules(plan).iter().map(|rule| rendered(plan, rule)).collect();
    json!([{ "name": "tenant", "rules": rules }])
}

fn rendered(plan: &Plan, rule: &Rule) -> Value {
    let mut value = json!({
        "alert": rule.alert,
        "expr": rule.expression,
        "labels": {
            "severity": rule.severity,
            // Routing goes by the namespace, which sums have lost.
            "namespace": plan.namespace,
            "tenant": plan.slug,
        },
        "annotations": { "summary": rule.summary },
    });
    if let Some(lasts) = rule.lasts {
        value["for"] = lasts.into();
    }
    value
}

fn rules(plan: &Plan) -> [Rule; 6] {
    let expressions = Expressions::of(plan);
    [
        Rule {
            alert: "HighCPU",
            expression: format!("{} > 0.80", expressions.cpu()),
            lasts: Some("5m"),
            severity: "warning",
            summary: "{{ $labels.pod }}/{{ $labels.container }} uses {{ $value | humanizePercentage }} of its CPU limit.",
        },
        Rule {
            alert: "HighMemory",
            expression: format!("{} > 0.85", expressions.memory()),
            lasts: Some("5m"),
            severity: "warning",
            summary: "{{ $labels.pod }}/{{ $labels.container }} uses {{ $value | humanizePercentage }} of its memory limit.",
        },
        Rule {
            alert: "PodRestart",
            expression: format!("{} > 3", expressions.restarts()),
            lasts: None,
            severity: "critical",
            summary: "{{ $labels.pod }}/{{ $labels.container }} restarted {{ $value }} times in 15 minutes.",
        },
        Rule {
            alert: "ErrorRate",
            expression: format!("{} > 0.05", expressions.errors()),
            lasts: Some("5m"),
            severity: "critical",
            summary: "{{ $value | humanizePercentage }} of all requests fail with a 5xx status.",
        },
        Rule {
            alert: "Latency",
            expression: format!("{} > 2", expressions.latency()),
            lasts: Some("5m"),
            severity: "warning",
            summary: "The slowest 5% of all requests take {{ $value | humanizeDuration }} or longer.",
        },
        Rule {
            alert: "DiskUsage",
            expression: format!("{} > 0.85", expressions.disk()),
            lasts: None,
            severity: "warning",
            summary: "Volume {{ $labels.persistentvolumeclaim }} is {{ $value | humanizePercentage }} full.",
        },
    ]
}

/// What is measured, in PromQL: the rules compare it, the dashboards draw it.
pub(crate) struct Expressions {
    namespace: String,
    ingress: String,
}

impl Expressions {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            namespace: format!("namespace=\"{}\"", plan.namespace),
            ingress: format!("controller_class=\"{}\"", plan.controller),
        }
    }

    /// Share of the container's limit.
    fn of_limit(&self, used: &str, resource: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "{used} / on (namespace, pod, container) max by (namespace, pod, container) \
             (kube_pod_container_resource_limits{{{namespace}, resource=\"{resource}\"}})"
        )
    }

    /// CPU by container, as a share of its limit. A container without a limit has none to be near to.
    pub(crate) fn cpu(&self) -> String {
        let namespace = &self.namespace;
        let used = format!(
            "sum by (namespace, pod, container) \
             (rate(container_cpu_usage_seconds_total{{{namespace}, container!=\"\", container!=\"POD\"}}[{RATE}]))"
        );
        self.of_limit(&used, "cpu")
    }

    /// Memory by container, as a share of its limit.
    pub(crate) fn memory(&self) -> String {
        let namespace = &self.namespace;
        let used = format!(
            "max by (namespace, pod, container) \
             (container_memory_working_set_bytes{{{namespace}, container!=\"\", container!=\"POD\"}})"
        );
        self.of_limit(&used, "memory")
    }

    /// Restarts by container in 15 minutes. `increase` would extrapolate three restarts to more than three.
    pub(crate) fn restarts(&self) -> String {
        let count = format!("kube_pod_container_status_restarts_total{{{}}}[15m]", self.namespace);
        format!("max_over_time({count}) - min_over_time({count})")
    }

    /// Requests per second that arrive at the tenant's ingress controller.
    pub(crate) fn requests(&self) -> String {
        format!("sum(rate(nginx_ingress_controller_requests{{{}}}[{RATE}]))", self.ingress)
    }

    /// Those with a 5xx status, as a share of all.
    pub(crate) fn errors(&self) -> String {
        let failed = format!(
            "sum(rate(nginx_ingress_controller_requests{{{}, status=~\"5..\"}}[{RATE}]))",
            self.ingress
        );
        format!("{failed} / {}", self.requests())
    }

    /// The 95th percentile of their duration, in seconds.
    pub(crate) fn latency(&self) -> String {
        format!(
            "histogram_quantile(0.95, sum by (le) \
             (rate(nginx_ingress_controller_request_duration_seconds_bucket{{{}}}[{RATE}])))",
            self.ingress
        )
    }

    /// Volumes by claim, as a share of their size.
    pub(crate) fn disk(&self) -> String {
        let namespace = &self.namespace;
        format!(
            "max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_used_bytes{{{namespace}}} \
             / kubelet_volume_stats_capacity_bytes{{{namespace}}})"
        )
    }

    /// What the platform's Prometheus is asked for.
    pub(crate) fn federated(&self) -> String {
        let names = [
            "container_cpu_usage_seconds_total",
            "container_memory_working_set_bytes",
            "kube_pod_container_resource_limits",
            "kube_pod_container_status_restarts_total",
            "kubelet_volume_stats_used_bytes",
            "kubelet_volume_stats_capacity_bytes",
        ];
        format!("{{__name__=~\"{}\", {}}}", names.join("|"), self.namespace)
    }
}
