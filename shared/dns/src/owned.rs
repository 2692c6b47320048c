//! Zones and record sets in the hands of one owner.

use engine::phase::{Error, Owner, Result};
use model::RunId;
use serde::{Deserialize, Serialize};

use super::{Deletion, Dns, DnsProvider, Mark, Name, RecordSet, Written, Zone};

/// How often something that changes under our hands is looked at again.
const LOOKS: usize = 3;

/// The DNS in the hands of one owner; cheap to clone. Made by [`Dns::owned_by`].
#[derive(Clone, Debug)]
pub struct Owned {
    dns: Dns,
    owner: Owner,
}

/// Where a record set is.
#[derive(Clone, Debug)]
pub enum RecordZone {
    /// In the tenant's own zone.
    Own(Name),
    /// In the zone that delegates to it.
    Parent(Name),
}

/// A record set as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The whole name.
    pub name: Name,
    /// `A` or `NS`.
    pub kind: &'static str,
    /// In seconds.
    pub ttl: u32,
    /// Addresses, or names.
    pub values: Vec<String>,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Its name.
    pub name: Name,
    /// The run that made it as it is.
    pub created_by: Option<RunId>,
    /// Whether that was this call.
    pub created: bool,
}

impl Owned {
    pub(super) fn new(dns: Dns, owner: Owner) -> Self {
        Self { dns, owner }
    }

    fn at<'a>(&self, place: &'a RecordZone) -> (&dyn DnsProvider, &'a Name) {
        match place {
            RecordZone::Own(zone) => (self.dns.child.as_ref(), zone),
            RecordZone::Parent(zone) => (self.dns.parent.as_ref(), zone),
        }
    }

    fn is_ours(&self, mark: Option<&Mark>) -> bool {
        mark.is_some_and(|mark| mark.tenant_id == self.owner.tenant_id)
    }

    fn may_delete(&self, mark: Option<&Mark>) -> bool {
        self.is_ours(mark) && self.owner.may_delete(mark.and_then(|mark| mark.run_id))
    }

    /// Makes sure that the tenant's zone is there: creates it, or finds the tenant's own. One of somebody else's is
    /// fatal and left as it is.
    pub async fn ensure_zone(&self, zone: &Name, ttl: u32) -> Result<Made> {
        let server = self.dns.child.as_ref();
        for _ in 0..LOOKS {
            // First contact is a create: nobody's zone is taken for ours between a look and a write.
            let mark = Mark::of(&self.owner);
            let created = server.create_zone(zone, ttl, &mark).await? == Written::Done;
            let created_by = if created {
                mark.run_id
            } else {
                let Some(found) = server.zone(zone).await? else { continue };
                if !self.is_ours(found.mark.as_ref()) {
                    return Err(Error::foreign(format!("DNS zone {zone}")));
                }
                found.mark.and_then(|mark| mark.run_id)
            };
            self.complete_zone(zone, ttl).await?;
            return Ok(Made { name: zone.clone(), created_by, created });
        }
        Err(changing(&format!("DNS zone {zone}")))
    }

    async fn complete_zone(&self, zone: &Name, ttl: u32) -> Result<()> {
        for _ in 0..LOOKS {
            if self.dns.child.complete_zone(zone, ttl).await? == Written::Done {
                return Ok(());
            }
        }
        Err(changing(&format!("DNS zone {zone}")))
    }

    /// The servers that the zone says it is served by.
    pub async fn name_servers(&self, zone: &Name) -> Result<Vec<Name>> {
        let found = self.dns.child.zone(zone).await?;
        let servers = found.map(|zone| zone.name_servers).unwrap_or_default();
        if servers.is_empty() {
            let message = format!("DNS zone {zone} names no name servers");
            return Err(Error::retryable("name_servers_missing", message)
                .next("Look at the zone at the DNS server; retry makes it again if it is gone."));
        }
        Ok(servers)
    }

    /// Makes sure that the record set is there as it shall be. The tenant's own is changed if it is not, and then counts as
    /// made by this run: what it said before is not true any more, and a rollback must not bring it back. Somebody else's is
    /// fatal and left as it is. A delegation is not made over records that it would hide.
    pub async fn ensure_records(&self, place: &RecordZone, wanted: &Records) -> Result<Made> {
        let (server, zone) = self.at(place);
        for _ in 0..LOOKS {
            let there = server.record_sets(zone, &wanted.name).await?;
            if let Some(other) = there.iter().find(|set| self.is_in_the_way(place, wanted, set)) {
                return Err(Error::foreign(format!("DNS record {} {}", other.kind, other.name)));
            }
            let found = there.iter().find(|set| set.name == wanted.name && set.kind == wanted.kind);
            if let Some(found) = found
                && found.ttl == wanted.ttl
                && same(&found.values, &wanted.values)
            {
                let created_by = found.mark.as_ref().and_then(|mark| mark.run_id);
                return Ok(Made { name: wanted.name.clone(), created_by, created: false });
            }
            let set = RecordSet {
                name: wanted.name.clone(),
                kind: wanted.kind.into(),
                ttl: wanted.ttl,
                values: wanted.values.clone(),
                mark: Some(Mark::of(&self.owner)),
                version: None,
            };
            if server.write(zone, &set, found).await? == Written::Done {
                let created_by = Some(self.owner.run_id);
                return Ok(Made { name: wanted.name.clone(), created_by, created: true });
            }
        }
        Err(changing(&format!("DNS record {} {}", wanted.kind, wanted.name)))
    }

    fn is_in_the_way(&self, place: &RecordZone, wanted: &Records, set: &RecordSet) -> bool {
        if self.is_ours(set.mark.as_ref()) {
            return false;
        }
        match place {
            // Whatever is at or below the name of a delegation would no longer be found.
            RecordZone::Parent(_) => true,
            RecordZone::Own(_) => set.name == wanted.name && (set.kind == wanted.kind || set.kind == "CNAME"),
        }
    }

    /// Those of these record sets that are there and that the step at hand may delete.
    async fn deletable(&self, place: &RecordZone, of: &[(Name, &str)]) -> Result<Vec<RecordSet>> {
        let (server, zone) = self.at(place);
        let mut found = Vec::new();
        let within = match (place, of) {
            (RecordZone::Parent(_), [(name, _)]) => name,
            _ => zone,
        };
        for set in server.record_sets(zone, within).await? {
            if !of.iter().any(|(name, kind)| *name == set.name && *kind == set.kind) {
                continue;
            }
            if self.may_delete(set.mark.as_ref()) {
                found.push(set);
            } else {
                tracing::info!(record = %set.name, kind = set.kind, "left as it is: not this tenant's, or another run's");
            }
        }
        Ok(found)
    }

    /// The longest TTL of those of these record sets that [`Owned::ensure_records_deleted`] would delete; none when there
    /// are none.
    pub async fn longest_ttl(&self, place: &RecordZone, of: &[(Name, &str)]) -> Result<Option<u32>> {
        Ok(self.deletable(place, of).await?.iter().map(|set| set.ttl).max())
    }

    /// Makes sure that those of these record sets are gone that are the tenant's and that the step at hand may delete; any
    /// other is left as it is, and that is also done. Called again, it looks again.
    pub async fn ensure_records_deleted(&self, place: &RecordZone, of: &[(Name, &str)]) -> Result<()> {
        let (server, zone) = self.at(place);
        for _ in 0..LOOKS {
            let mut otherwise = false;
            for set in self.deletable(place, of).await? {
                otherwise |= server.delete(zone, &set).await? == Written::Otherwise;
            }
            if !otherwise {
                return Ok(());
            }
        }
        Err(changing(&format!("DNS zone {zone}")))
    }

    /// Makes sure that the zone is gone, if it is the tenant's and the step at hand may delete it; any other is left as it
    /// is, and that is also done. A zone that holds somebody else's records is fatal and left as it is. `ticket` is what an
    /// earlier call has answered: a deletion that takes long is asked about, not begun again.
    pub async fn ensure_zone_deleted(&self, zone: &Name, ticket: Option<&str>) -> Result<Deletion> {
        let server = self.dns.child.as_ref();
        if let Some(ticket) = ticket
            && let begun @ Deletion::Begun { .. } = server.deleting(ticket).await?
        {
            return Ok(begun);
        }
        for _ in 0..LOOKS {
            let Some(found) = server.zone(zone).await? else { return Ok(Deletion::Gone) };
            if !self.may_delete(found.mark.as_ref()) {
                tracing::info!(%zone, "left as it is: not this tenant's, or another run's");
                return Ok(Deletion::Gone);
            }
            self.holds_nobody_elses(&found).await?;
            match server.delete_zone(&found).await? {
                Deletion::Otherwise => {}
                done => return Ok(done),
            }
        }
        Err(changing(&format!("DNS zone {zone}")))
    }

    /// Whether the zone is there, and [`Owned::ensure_zone_deleted`] would delete it.
    pub async fn may_delete_zone(&self, zone: &Name) -> Result<bool> {
        let found = self.dns.child.zone(zone).await?;
        Ok(found.is_some_and(|found| self.may_delete(found.mark.as_ref())))
    }

    async fn holds_nobody_elses(&self, zone: &Zone) -> Result<()> {
        for set in self.dns.child.record_sets(&zone.name, &zone.name).await? {
            let made_with_it = set.name == zone.name && matches!(set.kind.as_str(), "SOA" | "NS");
            // What a certificate manager leaves when it is stopped in the middle of a challenge is the tenant's.
            let challenge = set.kind == "TXT" && set.name.as_str().starts_with("_acme-challenge.");
            if !(made_with_it || challenge || self.is_ours(set.mark.as_ref())) {
                return Err(Error::foreign(format!("DNS record {} {}", set.kind, set.name)));
            }
        }
        Ok(())
    }
}

fn same(a: &[String], b: &[String]) -> bool {
    let sorted = |values: &[String]| {
        let mut values: Vec<String> =
            values.iter().map(|value| value.trim_end_matches('.').to_ascii_lowercase()).collect();
        values.sort();
        values
    };
    sorted(a) == sorted(b)
}

fn changing(what: &str) -> Error {
    Error::retryable("dns_conflict", format!("{what} changes while it is worked on"))
        .next("Find out who else works on it, then retry.")
}
