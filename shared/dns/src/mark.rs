//! Whose something is.

use std::collections::BTreeMap;

use engine::phase::Owner;
use model::{RunId, TenantId};

/// The owner of a zone or record set, and the run that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The owner.
    pub tenant_id: TenantId,
    /// The run that made it; none where that is not written.
    pub run_id: Option<RunId>,
    /// That run's epoch.
    pub epoch: Option<i64>,
}

const TENANT: &str = "tenant-id";
const RUN: &str = "run-id";
const EPOCH: &str = "run-epoch";

impl Mark {
    /// The mark of what this owner makes now.
    pub fn of(owner: &Owner) -> Self {
        Self { tenant_id: owner.tenant_id, run_id: Some(owner.run_id), epoch: Some(owner.epoch) }
    }

    /// As keys and values. `join` stands between the platform's prefix and the key: not every system allows `/`.
    pub(super) fn pairs(&self, prefix: &str, join: &str) -> BTreeMap<String, String> {
        let key = |name: &str| format!("{prefix}{join}{name}");
        let tenant = Some((key(TENANT), self.tenant_id.to_string()));
        let run = self.run_id.map(|run| (key(RUN), run.to_string()));
        let epoch = self.epoch.map(|epoch| (key(EPOCH), epoch.to_string()));
        [tenant, run, epoch].into_iter().flatten().collect()
    }

    /// From keys and values; none without a tenant.
    pub(super) fn read<'a>(prefix: &str, join: &str, get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let value = |name: &str| get(&format!("{prefix}{join}{name}"));
        Some(Self {
            tenant_id: value(TENANT)?.parse().ok()?,
            run_id: value(RUN).and_then(|run| run.parse().ok()),
            epoch: value(EPOCH).and_then(|epoch| epoch.parse().ok()),
        })
    }

    /// One line of text: `matih.ai/run-epoch=1 matih.ai/run-id=… matih.ai/tenant-id=…`.
    pub(super) fn line(&self, prefix: &str) -> String {
        let pairs = self.pairs(prefix, "/");
        pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// From such a line; none from any other.
    pub(super) fn from_line(prefix: &str, line: &str) -> Option<Self> {
        let pairs: BTreeMap<&str, &str> =
            line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        Self::read(prefix, "/", |key| pairs.get(key).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_as_it_is_written() {
        let mark = Mark { tenant_id: TenantId::generate(), run_id: Some(RunId::generate()), epoch: Some(3) };
        let line = mark.line("matih.ai");
        assert_eq!(Mark::from_line("matih.ai", &line), Some(mark));
        assert_eq!(Mark::from_line("other.example", &line), None);
        for other in ["", "made by hand", "matih.ai/tenant-id=", "matih.ai/run-id=1"] {
            assert_eq!(Mark::from_line("matih.ai", other), None, "{other}");
        }
    }
}
