//! What is left of a tenant in the DNS.

use std::fmt;

use engine::phase::Result;
use model::TenantId;
use serde::{Deserialize, Serialize};

use super::{Dns, Name};

/// Something of a tenant's that a DNS server holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DnsEntry {
    /// `zone`, or a record set's type.
    pub kind: String,
    /// Its name.
    pub name: Name,
}

/// `zone acme.matih.ai`, `NS acme.matih.ai`.
impl fmt::Display for DnsEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl Dns {
    /// Everything that is the tenant's: its zones, and its record sets in the parent zone. By ownership and not by name;
    /// empty when nothing is left.
    pub async fn inventory(&self, tenant: TenantId, parent: &Name) -> Result<Vec<DnsEntry>> {
        let mut held = self.child.held_by(tenant, None).await?;
        held.extend(self.parent.held_by(tenant, Some(parent)).await?);
        held.sort();
        held.dedup();
        Ok(held)
    }
}
