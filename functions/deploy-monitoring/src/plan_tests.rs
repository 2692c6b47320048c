use super::*;
use crate::plan::plan;
use cluster::Reach;
use engine::phase::Kind;
use kube::ResourceExt;
use model::Alerting;
use serde_json::json;

fn tenant(tier: Tier, alerting: Alerting) -> Tenant {
    Tenant { tier, alerting, ..testing::acme() }
}

fn platform() -> Platform {
    let mut platform = Platform::default();
    platform.charts.repository_url = "http://charts.example".into();
    platform
}

fn planned(tier: Tier) -> Plan {
    plan(&tenant(tier, Alerting::default()), &platform()).unwrap()
}

/// Provisioning reference, phase 9, "Default Alert Rules".
#[test]
fn the_rules_are_the_references_six() {
    let groups = rules::groups(&planned(Tier::Free));
    let rules = groups[0]["rules"].as_array().unwrap();
    let found: Vec<[&str; 4]> = rules
        .iter()
        .map(|rule| {
            let expression = rule["expr"].as_str().unwrap();
            let condition = &expression[expression.rfind(" > ").unwrap() + 1..];
            let lasts = rule["for"].as_str().unwrap_or("at once");
            [rule["alert"].as_str().unwrap(), condition, lasts, rule["labels"]["severity"].as_str().unwrap()]
        })
        .collect();
    assert_eq!(
        found,
        [
            ["HighCPU", "> 0.80", "5m", "warning"],
            ["HighMemory", "> 0.85", "5m", "warning"],
            ["PodRestart", "> 3", "at once", "critical"],
            ["ErrorRate", "> 0.05", "5m", "critical"],
            ["Latency", "> 2", "5m", "warning"],
            ["DiskUsage", "> 0.85", "at once", "warning"],
        ]
    );
}

#[test]
fn every_series_that_is_asked_for_is_the_tenants() {
    let plan = planned(Tier::Free);
    for rule in rules::groups(&plan)[0]["rules"].as_array().unwrap() {
        let expression = rule["expr"].as_str().unwrap();
        for selector in expression.split('{').skip(1) {
            let own = selector.starts_with("namespace=\"matih-acme\"")
                || selector.starts_with("controller_class=\"k8s.io/ingress-nginx-acme\"");
            assert!(own, "{expression}");
        }
    }
    let asked = prometheus::cluster(&plan).spec;
    assert!(asked["params"]["match[]"][0].as_str().unwrap().ends_with(", namespace=\"matih-acme\"}"));
}

#[test]
fn nothing_is_seen_beyond_the_namespace() {
    let plan = planned(Tier::Free);
    let spec = prometheus::prometheus(&plan).spec;
    for kind in ["serviceMonitor", "podMonitor", "scrapeConfig", "rule"] {
        assert_eq!(
            spec[format!("{kind}NamespaceSelector")],
            json!({ "matchLabels": { "kubernetes.io/metadata.name": "matih-acme" } }),
            "{kind}"
        );
    }
    assert_eq!(spec["ignoreNamespaceSelectors"], json!(true));
    let (_, role, _) = prometheus::access(&plan).unwrap();
    assert_eq!(role.metadata.namespace.as_deref(), Some("matih-acme"));
    for rule in role.rules.unwrap() {
        assert!(!rule.resources.unwrap().iter().any(|resource| resource == "secrets" || resource == "*"));
        assert_eq!(rule.verbs, ["get", "list", "watch"]);
    }
}

#[test]
fn requests_are_counted_at_the_controller_that_the_platform_has() {
    let seen = |plan: &Plan| {
        let pods = prometheus::ingress(plan).spec["selector"]["matchLabels"].clone();
        (pods, rules::Expressions::of(plan).requests())
    };
    let (pods, requests) = seen(&planned(Tier::Free));
    assert_eq!(pods["app.kubernetes.io/instance"], "ingress-nginx-acme");
    assert!(requests.contains("{controller_class=\"k8s.io/ingress-nginx-acme\"}"), "{requests}");

    let mut platform = platform();
    platform.ingress.controller = "example.com/front-{slug}".into();
    platform.ingress.pods = [("app".to_owned(), "front-{slug}".to_owned())].into();
    let (pods, requests) = seen(&plan(&tenant(Tier::Free, Alerting::default()), &platform).unwrap());
    assert_eq!(pods, json!({ "app": "front-acme" }));
    assert!(requests.contains("{controller_class=\"example.com/front-acme\"}"), "{requests}");
    platform.ingress.controller = "{slugg}".into();
    let wrong = plan(&tenant(Tier::Free, Alerting::default()), &platform).unwrap_err();
    assert!(wrong.code == "platform_incomplete" && wrong.message.contains("ingress.controller"), "{wrong}");
}

/// Free must hold everything: each pod is no larger than the share that is left for it.
#[test]
fn the_pods_share_the_free_tiers_quota_as_they_must() {
    let plan = planned(Tier::Free);
    let sum = |containers: &[&Value]| -> [u32; 4] {
        [("requests", "cpu"), ("limits", "cpu"), ("requests", "memory"), ("limits", "memory")].map(
            |(kind, what)| {
                let quantity = |container: &&Value| {
                    let text = container[kind][what].as_str().unwrap();
                    text.trim_end_matches("Mi").trim_end_matches('m').parse::<u32>().unwrap()
                };
                containers.iter().map(quantity).sum()
            },
        )
    };
    let prometheus = prometheus::prometheus(&plan).spec;
    let alertmanager = alerting::alertmanager(&plan).spec;
    let grafana = grafana::release(&plan).values;
    let sidecar = &grafana["sidecar"]["resources"];
    let reloader = |spec: &'_ Value| spec["containers"][0]["resources"].clone();
    assert_eq!(sum(&[&prometheus["resources"], &reloader(&prometheus)]), [100, 150, 192, 512]);
    assert_eq!(sum(&[&grafana["resources"], sidecar, sidecar]), [100, 150, 192, 512]);
    assert_eq!(sum(&[&alertmanager["resources"], &reloader(&alertmanager)]), [50, 100, 96, 256]);
}

#[test]
fn alerts_go_to_the_tenants_address_or_to_its_administrator() {
    let to = |alerting: Alerting| {
        let plan = plan(&tenant(Tier::Free, alerting), &platform()).unwrap();
        alerting::routing(&plan).spec["receivers"][0].clone()
    };
    let plain = to(Alerting::default());
    assert_eq!(plain["emailConfigs"][0]["to"], "admin@acme.example");
    assert_eq!(plain.get("slackConfigs"), None);
    let own = to(Alerting {
        email: Some("ops@acme.example".into()),
        slack_webhook_ref: Some("k8s:matih-acme/slack#url".parse().unwrap()),
    });
    assert_eq!(own["emailConfigs"][0]["to"], "ops@acme.example");
    assert_eq!(
        own["slackConfigs"][0]["apiURL"],
        json!({ "name": "alert-channels", "key": "slack-webhook-url" })
    );
}

#[test]
fn a_tenants_webhook_goes_before_the_platforms_and_must_be_allowed() {
    let mut platform = platform();
    platform.monitoring.slack_webhook = Some("env:PLATFORM_SLACK".parse().unwrap());
    let planned = |reference: Option<&str>| {
        let slack_webhook_ref = reference.map(|reference| reference.parse().unwrap());
        plan(&tenant(Tier::Free, Alerting { email: None, slack_webhook_ref }), &platform)
    };
    let of = |reference| planned(reference).unwrap().slack_webhook.unwrap().to_string();
    assert_eq!(of(None), "env:PLATFORM_SLACK");
    assert_eq!(of(Some("k8s:matih-acme/slack#url")), "k8s:matih-acme/slack#url");
    let refused = planned(Some("env:DATABASE_URL")).unwrap_err();
    assert_eq!((refused.kind, refused.code), (Kind::Fatal, "secret_reference_forbidden"));
}

#[test]
fn a_webhook_that_is_none_is_refused_unseen() {
    use model::secret::Secret as Value;
    let plan = planned(Tier::Free);
    let refused = alerting::secret(&plan, &[("slack-webhook-url", Value::new("hunter2"))]).unwrap_err();
    assert_eq!((refused.code, refused.message.contains("hunter2")), ("secret_unusable", false));
}

#[test]
fn each_policy_opens_what_its_pod_needs_and_no_empty_list_opens_everything() {
    let mut platform = platform();
    let reach = |cidr: &str, port| Reach { cidr: cidr.into(), port };
    let api_server = [reach("10.96.0.1/32", 443), reach("20.1.2.3/32", 6443), reach("20.1.2.4/32", 6443)];
    let of = |platform: &Platform, wanted: &str| {
        let plan = plan(&tenant(Tier::Free, Alerting::default()), platform).unwrap();
        let all = policies::all(&plan, &api_server).unwrap();
        let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, policies::NAMES);
        let policy = all.into_iter().find(|policy| policy.name_any() == wanted).unwrap();
        serde_json::to_value(policy.spec.unwrap().egress.unwrap()).unwrap()
    };
    let only_mail = of(&platform, "allow-alertmanager");
    assert_eq!(only_mail.as_array().unwrap().len(), 1, "nobody to reach, no path");
    platform.monitoring.slack_webhook = Some("env:PLATFORM_SLACK".parse().unwrap());
    let tcp = |port: u16| json!({ "protocol": "TCP", "port": port });
    let block = |cidr: &str| json!({ "ipBlock": { "cidr": cidr } });
    let service = json!({ "to": [block("10.96.0.1/32")], "ports": [tcp(443)] });
    let behind = json!({ "to": [block("20.1.2.3/32"), block("20.1.2.4/32")], "ports": [tcp(6443)] });
    let named = |name: &str| json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } }]);
    assert_eq!(of(&platform, "allow-grafana"), json!([service, behind]));
    assert_eq!(
        of(&platform, "allow-prometheus"),
        json!([
            { "to": [{ "podSelector": {} }] },
            { "to": named("monitoring"), "ports": [tcp(9090)] },
            service,
            behind,
        ])
    );
    let alertmanager = of(&platform, "allow-alertmanager");
    assert_eq!(alertmanager[0], json!({ "to": named("matih-system"), "ports": [tcp(25)] }));
    assert_eq!(alertmanager[1]["to"][0]["ipBlock"]["cidr"], "0.0.0.0/0");
    assert_eq!(alertmanager[1]["ports"], json!([tcp(443)]));
}

#[test]
fn every_dashboard_that_is_asked_for_is_there() {
    let maps = dashboards::config_maps(&planned(Tier::Free)).unwrap();
    let titles: Vec<String> = maps
        .iter()
        .filter(|map| map.labels().contains_key("grafana_dashboard"))
        .flat_map(|map| map.data.iter().flatten())
        .flat_map(|(_, text)| {
            let dashboard: Value = serde_json::from_str(text).unwrap();
            let panels = dashboard["panels"].as_array().unwrap().clone();
            panels.into_iter().map(|panel| panel["title"].as_str().unwrap().to_owned())
        })
        .collect();
    for wanted in ["CPU", "Memory", "Requests", "Errors", "Latency", "Disk"] {
        assert!(titles.iter().any(|title| title.starts_with(wanted)), "{wanted}: {titles:?}");
    }
}
