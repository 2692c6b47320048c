//! Taking the names back. A resolver may hold a delegation or an address for as long as its TTL, and the address is
//! somebody else's once the load balancer is released. So the delegation goes first, and its TTL is waited out; then the
//! addresses, and theirs; then the zone. The waits are parked runs: they cost no attempts, and hold no compute.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dns::{Deletion, Name, Owned, RecordZone};
use engine::phase::{Error, Progress, Result, Step};
use serde::{Deserialize, Serialize};

use crate::Plan;

/// Something that was served and shall be forgotten, as later attempts know it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    /// For how long a resolver may hold it, in seconds.
    ttl: u32,
    /// Since when nobody serves it, as far as is known.
    gone_since: Option<DateTime<Utc>>,
}

pub(crate) async fn undo(dns: &Owned, plan: &Plan, step: &Step) -> Result<()> {
    withdraw(dns, plan, step, "delegation", &plan.above(), &[(plan.zone.clone(), "NS")]).await?;
    let addresses: Vec<(Name, &str)> = plan.hosts().map(|host| (host, "A")).collect();
    withdraw(dns, plan, step, "addresses", &plan.within(), &addresses).await?;
    delete_zone(dns, plan, step).await
}

/// Removes what the step may remove, and waits until no resolver may hold it. Where neither the records nor what is known
/// of them is left, a zone that is still to be deleted tells that they may have been there a moment ago: another run's undo
/// was given up, or somebody has removed them by hand. Without such a zone there is nothing to wait for: it goes last.
async fn withdraw(
    dns: &Owned,
    plan: &Plan,
    step: &Step,
    what: &str,
    place: &RecordZone,
    sets: &[(Name, &str)],
) -> Result<()> {
    let kept = format!("{what} served");
    let known = step.recall::<Served>(&kept).await?;
    let look = async {
        let found = dns.longest_ttl(place, sets).await?;
        let unknown = found.is_none() && known.is_none();
        Ok((found, unknown && dns.may_delete_zone(&plan.zone).await?))
    };
    let (found, may_have_been) = step.operation(&format!("look for {what}"), look).await?;
    if let Some(ttl) = found {
        // Kept before the first removal: a worker that dies in between is followed by one that finds nothing, and must
        // wait all the same. Found again, it has been served until now, whatever was known before.
        let ttl = ttl.max(plan.ttl);
        step.keep(&kept, &Served { ttl, gone_since: None }).await?;
        step.operation(&format!("remove {what}"), dns.ensure_records_deleted(place, sets)).await?;
    } else if may_have_been {
        step.keep(&kept, &Served { ttl: plan.ttl, gone_since: Some(step.now()) }).await?;
    }
    let Some(served) = step.recall::<Served>(&kept).await? else { return Ok(()) };
    let gone_since = if let Some(since) = served.gone_since {
        since
    } else {
        let now = step.now();
        step.keep(&kept, &Served { gone_since: Some(now), ..served }).await?;
        now
    };
    let wait = Duration::from_secs(served.ttl.into()) + plan.propagation.duration();
    let rest = wait.saturating_sub((step.now() - gone_since).to_std().unwrap_or_default());
    step.wait_for(&format!("forget {what}"), async {
        if rest.is_zero() {
            return Ok(Progress::Done(()));
        }
        let on =
            format!("{}: resolvers may remember the {what} for another {} s", plan.zone, rest.as_secs() + 1);
        Ok(Progress::wait_out(rest, on))
    })
    .await
}

async fn delete_zone(dns: &Owned, plan: &Plan, step: &Step) -> Result<()> {
    const KEPT: &str = "zone deletion";
    let ticket: Option<Option<String>> = step.recall(KEPT).await?;
    let ticket = ticket.flatten();
    let deleted =
        step.operation("delete zone", dns.ensure_zone_deleted(&plan.zone, ticket.as_deref())).await?;
    let Deletion::Begun { ticket, after } = deleted else { return Ok(()) };
    step.keep(KEPT, &Some(ticket)).await?;
    Err(Error::parked(Duration::from_secs(after), format!("DNS zone {} is being deleted", plan.zone)))
}
