//! The address of a Service's load balancer.

use std::time::Duration;

use engine::phase::Result;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::runtime::watcher::watch_object;

use super::{Cluster, errors};

/// What a Service shows of its load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address.
    Ip(String),
    /// A host name and no IP address.
    Host(String),
    /// Nothing yet.
    Pending,
    /// There is no such Service.
    Absent,
}

impl Cluster {
    /// Looks at the Service until its load balancer has an address, at most for `time`, and says what it shows then.
    pub async fn load_balancer(&self, namespace: &str, name: &str, time: Duration) -> Result<Address> {
        let doing = format!("watch Service {namespace}/{name}");
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let mut seen = watch_object(api, name).boxed();
        let mut shown = None;
        let watched = async {
            while let Some(service) = seen.next().await {
                let address = address(service.map_err(|error| errors::watch(&doing, &error))?.as_ref());
                let found = matches!(address, Address::Ip(_) | Address::Host(_));
                shown = Some(address);
                if found {
                    break;
                }
            }
            Ok(())
        };
        if let Ok(ended) = tokio::time::timeout(time, watched).await {
            ended?;
        }
        shown.ok_or_else(|| errors::unavailable(&doing, "no answer"))
    }
}

fn address(service: Option<&Service>) -> Address {
    let Some(service) = service else { return Address::Absent };
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let all = ingress.into_iter().flatten();
    let ip = all.clone().find_map(|one| one.ip.clone().filter(|ip| !ip.is_empty()));
    let host = all.clone().find_map(|one| one.hostname.clone().filter(|host| !host.is_empty()));
    match (ip, host) {
        (Some(ip), _) => Address::Ip(ip),
        (None, Some(host)) => Address::Host(host),
        (None, None) => Address::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_is_an_ip_if_there_is_one() {
        for (ingress, wanted) in [
            (json!(null), Address::Pending),
            (json!([]), Address::Pending),
            (json!([{ "ip": "" }]), Address::Pending),
            (json!([{ "hostname": "a.example" }]), Address::Host("a.example".into())),
            (
                json!([{ "hostname": "a.example" }, { "ip": "20.85.123.45" }]),
                Address::Ip("20.85.123.45".into()),
            ),
        ] {
            let service = json!({ "metadata": {}, "status": { "loadBalancer": { "ingress": ingress } } });
            let service: Service = serde_json::from_value(service).unwrap();
            assert_eq!(address(Some(&service)), wanted, "{ingress}");
        }
        assert_eq!(address(None), Address::Absent);
    }
}
