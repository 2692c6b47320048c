//! Where pods find the API server, for the network policies of those that may speak to it.

use engine::phase::{Error, Result};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::client::{call, find};

/// One address block and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reach {
    /// Such as `10.96.0.1/32`.
    pub cidr: String,
    /// TCP.
    pub port: i32,
}

/// The Service by which Kubernetes shows pods the API server.
const SERVICE: (&str, &str) = ("default", "kubernetes");

impl Cluster {
    /// The API server's addresses as pods reach it: the Service `kubernetes` and what stands behind it, because network
    /// plugins differ in which of the two a policy sees. `cidrs`, where given, take the place of those addresses; the
    /// ports are asked of the cluster all the same.
    pub async fn api_server(&self, cidrs: &[String]) -> Result<Vec<Reach>> {
        let (namespace, name) = SERVICE;
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let service = find("read Service default/kubernetes", services.get(name)).await?.unwrap_or_default();
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), namespace);
        let of = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
        let slices = call("list EndpointSlices of default/kubernetes", slices.list(&of)).await?;
        let found = reached(&service, &slices.items);
        if found.is_empty() {
            return Err(Error::retryable("api_server_unknown", "Service default/kubernetes has no address")
                .next("Set api_server_cidrs in the platform file, then retry."));
        }
        Ok(if cidrs.is_empty() { found } else { at(cidrs, &found) })
    }
}

fn reached(service: &Service, slices: &[EndpointSlice]) -> Vec<Reach> {
    let mut found = Vec::new();
    if let Some(spec) = &service.spec {
        let ips = spec.cluster_ips.iter().flatten().filter(|ip| *ip != "None");
        for ip in ips {
            let ports = spec.ports.iter().flatten().map(|port| port.port);
            found.extend(ports.map(|port| Reach { cidr: block(ip), port }));
        }
    }
    for slice in slices {
        let ports: Vec<i32> = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
        for address in slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses) {
            found.extend(ports.iter().map(|port| Reach { cidr: block(address), port: *port }));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn at(cidrs: &[String], found: &[Reach]) -> Vec<Reach> {
    let each = cidrs
        .iter()
        .flat_map(|cidr| found.iter().map(|reach| Reach { cidr: cidr.clone(), port: reach.port }));
    let mut all: Vec<Reach> = each.collect();
    all.sort();
    all.dedup();
    all
}

fn block(ip: &str) -> String {
    format!("{ip}/{}", if ip.contains(':') { 128 } else { 32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn service_and_endpoints_are_both_named_and_given_blocks_take_their_place() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {},
            "spec": { "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{ "port": 443 }] },
        }))
        .unwrap();
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {}, "addressType": "IPv4",
            "endpoints": [{ "addresses": ["20.1.2.3"] }, { "addresses": ["20.1.2.4"] }],
            "ports": [{ "port": 6443 }],
        }))
        .unwrap();
        let reach = |cidr: &str, port| Reach { cidr: cidr.into(), port };
        let found = reached(&service, &[slice]);
        assert_eq!(
            found,
            [
                reach("10.96.0.1/32", 443),
                reach("20.1.2.3/32", 6443),
                reach("20.1.2.4/32", 6443),
                reach("fd00::1/128", 443)
            ]
        );
        assert_eq!(
            at(&["10.9.0.0/16".into()], &found),
            [reach("10.9.0.0/16", 443), reach("10.9.0.0/16", 6443)]
        );
        assert_eq!(reached(&Service::default(), &[]), []);
    }
}
