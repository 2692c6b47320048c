//! The load balancer's address.

use std::time::Duration;

use cluster::Address;
use engine::phase::{Error, Progress, Result, Step};

use crate::{DeployIngressController, Plan};

/// What the wait for the address is divided into, for those who watch it (provisioning reference, phase 6: "1/60").
const LOOKS: u32 = 60;

impl DeployIngressController {
    /// Parks until the load balancer has an IP address, or fails when that takes too long.
    pub(crate) async fn address(&self, plan: &Plan, step: &Step) -> Result<String> {
        let (namespace, service) = (plan.namespace.as_str(), plan.service.as_str());
        let within = plan.address_within.duration();
        // Half of each interval is watched, in which the address is noticed at once.
        let half = (within / (2 * LOOKS)).clamp(Duration::from_millis(500), Duration::from_secs(5));
        step.wait_for("address", async {
            let found = self.cluster.load_balancer(namespace, service, half).await?;
            let lacks = match found {
                Address::Ip(ip) => return Ok(Progress::Done(ip)),
                Address::Host(host) => {
                    return Err(Error::fatal(
                        "address_is_a_name",
                        format!("Service {namespace}/{service} has the host name {host} and no IP address"),
                    )
                    .next("The tenant's DNS records need an IP address: use a load balancer that has one."));
                }
                Address::Pending => format!("Service {namespace}/{service} has no external IP"),
                Address::Absent => format!("Service {namespace}/{service} is not there"),
            };
            if step.waited() >= within {
                let within = plan.address_within.0;
                return Err(Error::retryable("no_external_ip", format!("{lacks} after {within} s")).next(
                    "Look at the Service's events and at the cloud's quota of public addresses; it is tried again, \
                     or raise ingress.address_within.",
                ));
            }
            let look = look(step.waited(), within);
            Ok(Progress::wait(half, format!("{lacks}, attempt {look}/{LOOKS}")))
        })
        .await
    }
}

/// Which of the looks it is, for the display: what counts is the time.
pub(crate) fn look(waited: Duration, within: Duration) -> u32 {
    let each = within.as_secs_f64() / f64::from(LOOKS);
    let past = (1..LOOKS).filter(|look| waited.as_secs_f64() >= (f64::from(*look) - 0.5) * each).count();
    u32::try_from(past).unwrap_or(LOOKS) + 1
}
