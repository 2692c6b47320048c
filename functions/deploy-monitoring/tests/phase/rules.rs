//! Unit tests of the rules by `promtool`: for each alert series that fire it, series just below, where it has a duration
//! series that last too short, and another tenant's.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::World;
use crate::world::checked;

/// How often promtool's made-up world measures: 40 times in 20 minutes.
const INTERVAL: &str = "30s";

/// A series with its values, in promtool's notation.
type Series = (String, String);

struct Case {
    alert: &'static str,
    severity: &'static str,
    what: &'static str,
    series: Vec<Series>,
    fires: bool,
}

/// Fails unless the rules do what they should.
pub fn hold(world: &World, rules: &str) {
    let own = Subject { namespace: world.namespace.clone(), slug: world.tenant.slug.to_string() };
    let other = Subject { namespace: "matih-other".into(), slug: "other".into() };
    let cases = cases(&own, &other);
    assert_eq!(cases.len(), 6 * 3 + 5, "each alert has its cases");
    let tests: Vec<Value> = cases.iter().map(|case| test(&own, case)).collect();
    let file = json!({ "rule_files": ["rules.yml"], "evaluation_interval": INTERVAL, "tests": tests });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yml");
    std::fs::write(&path, rules).unwrap();
    let file =
        serde_json::to_string_pretty(&file).unwrap().replace("\"rules.yml\"", &json!(path).to_string());
    let said = checked(&["promtool", "test", "rules"], "tests.yml", &file);
    assert!(said.contains("SUCCESS"), "{said}");
}

/// Whether the alert was ever firing within the twenty minutes, with its severity, routed to the tenant.
fn test(own: &Subject, case: &Case) -> Value {
    let Case { alert, severity, .. } = case;
    let firing = format!(
        "ALERTS{{alertname=\"{alert}\", alertstate=\"firing\", severity=\"{severity}\", namespace=\"{}\"}}",
        own.namespace
    );
    json!({
        "name": format!("{alert}: {}", case.what),
        "interval": INTERVAL,
        "input_series": case.series.iter().map(|(series, values)| json!({ "series": series, "values": values })).collect::<Vec<_>>(),
        "promql_expr_test": [{
            "expr": format!("count(max_over_time({firing}[20m])) or vector(0)"),
            "eval_time": "20m",
            "exp_samples": [{ "labels": "{}", "value": i32::from(case.fires) }],
        }],
    })
}

struct Subject {
    namespace: String,
    slug: String,
}

/// A counter that grows by so much at each measurement, in stretches of (measurements, growth).
fn grows(stretches: &[(u32, f64)]) -> String {
    let mut value = 0.0;
    let mut text = String::from("0");
    for (times, by) in stretches {
        for _ in 0..*times {
            value += by;
            write!(text, " {value:.6}").unwrap();
        }
    }
    text
}

/// A value that stays, in stretches of (measurements, value).
fn stays(stretches: &[(u32, f64)]) -> String {
    let values = stretches.iter().flat_map(|(times, value)| vec![format!("{value:.6}"); *times as usize]);
    values.collect::<Vec<_>>().join(" ")
}

/// Four minutes of it, between times without.
fn briefly(calm: f64, high: f64) -> [(u32, f64); 3] {
    [(10, calm), (8, high), (22, calm)]
}

impl Subject {
    fn container(&self, metric: &str, values: String) -> Series {
        let namespace = &self.namespace;
        let metric =
            metric.replace('}', &format!(", namespace=\"{namespace}\", pod=\"bi-0\", container=\"bi\"}}"));
        (metric, values)
    }

    /// A container with a limit of 150m CPU or 512 MiB that uses these shares of it.
    fn cpu(&self, shares: &[(u32, f64)]) -> Vec<Series> {
        let used: Vec<(u32, f64)> =
            shares.iter().map(|(times, share)| (*times, share * 0.150 * 30.0)).collect();
        vec![
            self.container("container_cpu_usage_seconds_total{cpu=\"total\"}", grows(&used)),
            self.container("kube_pod_container_resource_limits{resource=\"cpu\"}", stays(&[(41, 0.150)])),
            self.container("kube_pod_container_resource_limits{resource=\"memory\"}", stays(&[(41, 1.0)])),
        ]
    }

    fn memory(&self, shares: &[(u32, f64)]) -> Vec<Series> {
        let limit = 512.0 * 1024.0 * 1024.0;
        let used: Vec<(u32, f64)> = shares.iter().map(|(times, share)| (*times, share * limit)).collect();
        vec![
            self.container("container_memory_working_set_bytes{id=\"/a\"}", stays(&used)),
            self.container("kube_pod_container_resource_limits{resource=\"memory\"}", stays(&[(41, limit)])),
            self.container("kube_pod_container_resource_limits{resource=\"cpu\"}", stays(&[(41, 1.0)])),
        ]
    }

    fn restarts(&self, values: String) -> Vec<Series> {
        vec![self.container("kube_pod_container_status_restarts_total{uid=\"u\"}", values)]
    }

    fn ingress(&self, metric: &str, label: &str, values: String) -> Series {
        let class = format!("controller_class=\"k8s.io/ingress-nginx-{}\"", self.slug);
        (format!("nginx_ingress_controller_{metric}{{{class}, ingress=\"tenant-ingress\", {label}}}"), values)
    }

    /// A hundred requests at each measurement, of which so many fail.
    fn errors(&self, failing: &[(u32, f64)]) -> Vec<Series> {
        let fine: Vec<(u32, f64)> =
            failing.iter().map(|(times, failing)| (*times, 100.0 - failing)).collect();
        vec![
            self.ingress("requests", "status=\"200\"", grows(&fine)),
            self.ingress("requests", "status=\"503\"", grows(failing)),
        ]
    }

    /// A hundred requests at each measurement: 90 within 1 s, so many within 2.5 s, all within 5 s.
    fn latency(&self, within: &[(u32, f64)]) -> Vec<Series> {
        let bucket = |le: &str, values: String| {
            self.ingress("request_duration_seconds_bucket", &format!("le=\"{le}\""), values)
        };
        vec![
            bucket("1", grows(&[(40, 90.0)])),
            bucket("2.5", grows(within)),
            bucket("5", grows(&[(40, 100.0)])),
            bucket("+Inf", grows(&[(40, 100.0)])),
        ]
    }

    fn disk(&self, share: f64) -> Vec<Series> {
        let volume = |what: &str, value: f64| {
            let labels = format!("namespace=\"{}\", persistentvolumeclaim=\"data\"", self.namespace);
            (format!("kubelet_volume_stats_{what}_bytes{{{labels}}}"), stays(&[(41, value)]))
        };
        vec![volume("used", share * 10e9), volume("capacity", 10e9)]
    }
}

/// So many restarts, each after as many measurements.
fn counted(number: u32, apart: u32) -> String {
    (0..=40).map(|at| number.min(at / apart).to_string()).collect::<Vec<_>>().join(" ")
}

fn cases(own: &Subject, other: &Subject) -> Vec<Case> {
    let mut all = Vec::new();
    let mut of =
        |alert: &'static str, severity: &'static str, cases: Vec<(&'static str, bool, Vec<Series>)>| {
            all.extend(cases.into_iter().map(|(what, fires, series)| Case {
                alert,
                severity,
                what,
                series,
                fires,
            }));
        };
    of(
        "HighCPU",
        "warning",
        vec![
            ("81 %", true, own.cpu(&[(40, 0.81)])),
            ("79 %", false, own.cpu(&[(40, 0.79)])),
            ("95 % for four minutes", false, own.cpu(&briefly(0.4, 0.95))),
            ("another tenant's", false, other.cpu(&[(40, 1.0)])),
        ],
    );
    of(
        "HighMemory",
        "warning",
        vec![
            ("86 %", true, own.memory(&[(41, 0.86)])),
            ("84 %", false, own.memory(&[(41, 0.84)])),
            ("99 % for four minutes", false, own.memory(&briefly(0.4, 0.99))),
            ("another tenant's", false, other.memory(&[(41, 1.0)])),
        ],
    );
    of(
        "PodRestart",
        "critical",
        vec![
            ("four in a quarter of an hour", true, own.restarts(counted(4, 5))),
            // What is first seen with a few behind it tempts to extrapolate.
            ("three after others", false, own.restarts("_ _ _ _ 7 8 9 10 10x30".into())),
            // No quarter of an hour holds more than three of them.
            ("four, each five minutes after the last", false, own.restarts(counted(4, 10))),
            ("another tenant's", false, other.restarts(counted(20, 1))),
        ],
    );
    of(
        "ErrorRate",
        "critical",
        vec![
            ("6 %", true, own.errors(&[(40, 6.0)])),
            ("4 %", false, own.errors(&[(40, 4.0)])),
            ("9 % for four minutes", false, own.errors(&briefly(0.0, 9.0))),
            ("another tenant's", false, other.errors(&[(40, 50.0)])),
        ],
    );
    of(
        "Latency",
        "warning",
        vec![
            // 1 s + 1.5 s * 5/6 = 2.25 s, and 1 s + 1.5 s * 5/8 = 1.94 s.
            ("2.25 s", true, own.latency(&[(40, 96.0)])),
            ("1.94 s", false, own.latency(&[(40, 98.0)])),
            ("2.25 s for four minutes", false, own.latency(&briefly(100.0, 96.0))),
            ("another tenant's", false, other.latency(&[(40, 91.0)])),
        ],
    );
    of(
        "DiskUsage",
        "warning",
        vec![
            ("86 %", true, own.disk(0.86)),
            ("84 %", false, own.disk(0.84)),
            ("another tenant's", false, other.disk(1.0)),
        ],
    );
    all
}
