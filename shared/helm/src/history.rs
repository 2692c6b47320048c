//! A release's revisions, as helm's storage shows them, and the next thing to do about them. Pure.

use std::str::FromStr;

use engine::phase::Owner;
use model::{RunId, TenantId};

/// The keys of the labels that carry ownership on a release.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Holds the tenant's id: whose the release is.
    pub tenant: String,
    /// Holds the run that first installed it. Helm has no annotations of its own to put it into.
    pub run: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { tenant: format!("{prefix}/tenant-id"), run: format!("{prefix}/run-id") }
    }
}

/// One revision: one storage Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub number: u32,
    pub status: String,
    pub tenant: Option<TenantId>,
    pub run: Option<RunId>,
}

impl Revision {
    /// From the labels that helm keeps on its storage Secret.
    pub(super) fn read<'a>(label: impl Fn(&str) -> Option<&'a str>, keys: &Keys) -> Self {
        fn parsed<T: FromStr>(text: Option<&str>) -> Option<T> {
            text.and_then(|text| text.parse().ok())
        }
        Self {
            number: parsed(label("version")).unwrap_or(0),
            status: label("status").unwrap_or("unknown").to_owned(),
            tenant: parsed(label(&keys.tenant)),
            run: parsed(label(&keys.run)),
        }
    }
}

/// All revisions of one release, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History(Vec<Revision>);

/// What the revisions ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is nothing: install.
    Install,
    /// Somebody else's: leave it as it is.
    Leave,
    /// Deployed: compare with what is wanted.
    Compare { revision: u32 },
    /// An upgrade failed: upgrade again.
    Upgrade,
    /// A killed helm left a change half done: go back to this revision, which takes what the change added away again.
    GoBack { revision: u32 },
    /// It never came to be deployed, or is being removed: remove all of it, then install.
    Remove,
}

impl History {
    pub(super) fn new(mut revisions: Vec<Revision>) -> Self {
        revisions.sort_by_key(|revision| revision.number);
        Self(revisions)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn latest(&self) -> Option<&Revision> {
        self.0.last()
    }

    /// Ours if every revision is: an uninstall takes all of them.
    pub(super) fn is_owned_by(&self, owner: &Owner) -> bool {
        self.0.iter().all(|revision| revision.tenant == Some(owner.tenant_id))
    }

    /// The run that first installed it.
    pub(super) fn created_by(&self) -> Option<RunId> {
        self.0.first().and_then(|revision| revision.run)
    }

    pub(super) fn next(&self, owner: &Owner) -> Next {
        let Some(latest) = self.latest() else { return Next::Install };
        if !self.is_owned_by(owner) {
            return Next::Leave;
        }
        // A revision that is or was deployed; helm marks the old one superseded only after the new one is in place.
        let good = self
            .0
            .iter()
            .rev()
            .find(|revision| matches!(revision.status.as_str(), "deployed" | "superseded"));
        match (latest.status.as_str(), good) {
            ("deployed", _) => Next::Compare { revision: latest.number },
            ("failed" | "superseded", Some(_)) => Next::Upgrade,
            ("pending-upgrade" | "pending-rollback", Some(good)) => Next::GoBack { revision: good.number },
            // Nothing of it ever served anybody, so starting anew costs nothing and leaves nothing odd behind.
            _ => Next::Remove,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::phase::Scope;

    fn owner() -> Owner {
        Owner {
            tenant_id: TenantId::generate(),
            slug: "acme".parse().unwrap(),
            run_id: RunId::generate(),
            epoch: 1,
            scope: Scope::Run,
        }
    }

    fn history(owner: &Owner, statuses: &[&str]) -> History {
        let numbered = statuses.iter().zip(1..).map(|(status, number)| Revision {
            number,
            status: (*status).to_owned(),
            tenant: Some(owner.tenant_id),
            run: Some(owner.run_id),
        });
        History::new(numbered.collect())
    }

    #[test]
    fn every_state_a_helm_can_leave_has_a_way_on() {
        let owner = owner();
        for (statuses, next) in [
            (&[][..], Next::Install),
            (&["deployed"], Next::Compare { revision: 1 }),
            (&["superseded", "deployed"], Next::Compare { revision: 2 }),
            (&["pending-install"], Next::Remove),
            (&["failed"], Next::Remove),
            (&["uninstalling"], Next::Remove),
            (&["uninstalled"], Next::Remove),
            (&["superseded", "uninstalling"], Next::Remove),
            (&["failed", "pending-upgrade"], Next::Remove),
            (&["deployed", "pending-upgrade"], Next::GoBack { revision: 1 }),
            (&["superseded", "pending-upgrade"], Next::GoBack { revision: 1 }),
            (&["deployed", "pending-upgrade", "pending-rollback"], Next::GoBack { revision: 1 }),
            (&["deployed", "failed"], Next::Upgrade),
            (&["superseded", "superseded"], Next::Upgrade),
            (&["something-new"], Next::Remove),
        ] {
            assert_eq!(history(&owner, statuses).next(&owner), next, "{statuses:?}");
        }
    }

    #[test]
    fn a_release_without_our_label_is_left_in_every_state() {
        let owner = owner();
        for status in ["deployed", "failed", "pending-install", "uninstalling"] {
            let mut theirs = history(&owner, &[status]);
            theirs.0[0].tenant = None;
            assert_eq!(theirs.next(&owner), Next::Leave, "{status}");
            theirs.0[0].tenant = Some(TenantId::generate());
            assert_eq!(theirs.next(&owner), Next::Leave, "{status}");
        }
        // One foreign revision is enough: an uninstall would take it along.
        let mut mixed = history(&owner, &["superseded", "deployed"]);
        mixed.0[0].tenant = None;
        assert_eq!(mixed.next(&owner), Next::Leave);
    }
}
