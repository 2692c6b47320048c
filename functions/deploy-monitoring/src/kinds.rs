//! The Prometheus operator's kinds (its API reference, version 0.85).

use cluster::{Custom, Kind};

macro_rules! kinds {
    ($($name:ident, $marker:ident, $version:literal, $plural:literal;)+) => {$(
        #[derive(Clone, Debug)]
        pub struct $marker;
        impl Kind for $marker {
            const GROUP: &'static str = "monitoring.coreos.com";
            const VERSION: &'static str = $version;
            const KIND: &'static str = stringify!($name);
            const PLURAL: &'static str = $plural;
        }
        pub type $name = Custom<$marker>;
    )+};
}

kinds! {
    Prometheus, PrometheusKind, "v1", "prometheuses";
    Alertmanager, AlertmanagerKind, "v1", "alertmanagers";
    ServiceMonitor, ServiceMonitorKind, "v1", "servicemonitors";
    PodMonitor, PodMonitorKind, "v1", "podmonitors";
    PrometheusRule, PrometheusRuleKind, "v1", "prometheusrules";
    ScrapeConfig, ScrapeConfigKind, "v1alpha1", "scrapeconfigs";
    AlertmanagerConfig, AlertmanagerConfigKind, "v1alpha1", "alertmanagerconfigs";
}
