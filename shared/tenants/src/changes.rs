//! Which phases a change of a living tenant makes hold a new plan, and in which order.

use model::{Change, Container, PhaseName, TenantStatus, Tier};

use crate::phases::{self, Reads};

/// The tenant as it is.
#[derive(Clone, Debug)]
pub struct Now {
    /// Active or suspended.
    pub status: TenantStatus,
    /// Its tier.
    pub tier: Tier,
    /// What was chosen for its own tenant-api.
    pub container: Container,
    /// The change before was abandoned: some phases may hold something else than the tenant's row says.
    pub unsure: bool,
}

/// The phases of a change, of those that the tenant has (`held`, in the order in which it was made); none if the tenant is
/// as wanted already. What needs more room is made from the quota on; what needs less from the pods on, so that neither
/// stands in the other's way.
pub fn plan(change: &Change, now: &Now, held: &[PhaseName]) -> Option<Vec<PhaseName>> {
    let tier = change.tier.filter(|tier| now.unsure || *tier != now.tier);
    let status = change.status.filter(|status| now.unsure || *status != now.status);
    let container = change.container.as_ref().filter(|container| now.unsure || **container != now.container);
    if tier.is_none()
        && status.is_none()
        && container.is_none()
        && !change.renews_license
        && !change.refreshes_deployment
        && change.domains.is_none()
    {
        return None;
    }
    let concerned = |phase: &&PhaseName| {
        phases::facts(phase).is_some_and(|facts| {
            facts.reads.iter().any(|reads| match reads {
                Reads::Tier => tier.is_some(),
                Reads::Suspension => status.is_some(),
                Reads::Container => container.is_some(),
                Reads::License => change.renews_license,
                Reads::Domains => change.domains.is_some(),
                Reads::Platform => change.refreshes_deployment,
            })
        })
    };
    let mut list: Vec<PhaseName> = held.iter().filter(concerned).cloned().collect();
    if change.domains.as_ref().is_some_and(|domains| !domains.is_empty()) {
        list.extend(phases::later(Reads::Domains).filter(|phase| !held.contains(phase)));
    }
    let less = tier.is_some_and(|tier| tier < now.tier) || status == Some(TenantStatus::Suspended);
    if less {
        list.reverse();
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{DeploymentType, OwnDomain};

    fn names(change: &Change, now: &Now) -> Option<Vec<String>> {
        let held = phases::plan(DeploymentType::ContainerPerTenant, Tier::Free);
        Some(plan(change, now, &held)?.iter().map(ToString::to_string).collect())
    }

    fn now(tier: Tier, status: TenantStatus) -> Now {
        Now { status, tier, container: Container::default(), unsure: false }
    }

    #[test]
    fn a_larger_tier_begins_with_the_quota_and_a_smaller_one_ends_with_it() {
        let to = |tier| Change { tier: Some(tier), ..Change::default() };
        let up = names(&to(Tier::Professional), &now(Tier::Free, TenantStatus::Active)).unwrap();
        let mut down = names(&to(Tier::Free), &now(Tier::Professional, TenantStatus::Active)).unwrap();
        assert_eq!(up.first().map(String::as_str), Some("CREATE_NAMESPACE"));
        assert!(up.contains(&"DEPLOY_CORE_SERVICES".to_owned()));
        assert!(!up.contains(&"CREATE_DNS_ZONE".to_owned()), "names are the same in every tier");
        down.reverse();
        assert_eq!(up, down);
        assert_eq!(names(&to(Tier::Free), &now(Tier::Free, TenantStatus::Active)), None);
        let unsure = Now { unsure: true, ..now(Tier::Free, TenantStatus::Active) };
        assert_eq!(names(&to(Tier::Free), &unsure), Some(up), "made so once more");
    }

    #[test]
    fn domains_are_served_by_a_phase_that_comes_with_the_first() {
        let domains = |count| Change {
            domains: Some(
                (1..=count).map(|n| OwnDomain { number: n, domain: format!("{n}.example") }).collect(),
            ),
            ..Change::default()
        };
        let now = now(Tier::Free, TenantStatus::Active);
        assert_eq!(names(&domains(2), &now), Some(vec!["SERVE_DOMAINS".to_owned()]));
        assert_eq!(names(&domains(0), &now), Some(Vec::new()), "none was served");
        let mut held = phases::plan(DeploymentType::ContainerPerTenant, Tier::Free);
        held.push(PhaseName::new("SERVE_DOMAINS"));
        let gone = plan(&domains(0), &now, &held).unwrap();
        assert_eq!(gone, [PhaseName::new("SERVE_DOMAINS")], "once, and to be taken away");
        let tier = Change { tier: Some(Tier::Professional), ..Change::default() };
        assert!(!plan(&tier, &now, &held).unwrap().contains(&PhaseName::new("SERVE_DOMAINS")));
    }

    #[test]
    fn a_refresh_plans_the_tenants_own_instance_again_though_nothing_of_the_tenant_changes() {
        let refresh = Change { refreshes_deployment: true, ..Change::default() };
        for status in [TenantStatus::Active, TenantStatus::Suspended] {
            let list = names(&refresh, &now(Tier::Free, status));
            assert_eq!(
                list,
                Some(vec!["PROVISION_DEPLOYMENT".to_owned()]),
                "every time that it is asked for"
            );
        }
        let shared = phases::plan(DeploymentType::Shared, Tier::Free);
        let list = plan(&refresh, &now(Tier::Free, TenantStatus::Active), &shared);
        assert_eq!(list, Some(Vec::new()), "a shared tenant has none");
        // What a change leaves as it is, is not written.
        let stored = serde_json::to_value(Change::default()).unwrap();
        assert_eq!(stored, serde_json::json!({}));
        assert_eq!(
            serde_json::to_value(&refresh).unwrap(),
            serde_json::json!({ "refreshesDeployment": true })
        );
    }

    #[test]
    fn a_suspended_tenant_keeps_its_namespace_its_data_and_its_names() {
        let suspend = Change { status: Some(TenantStatus::Suspended), ..Change::default() };
        let list = names(&suspend, &now(Tier::Free, TenantStatus::Active)).unwrap();
        for phase in ["CREATE_NAMESPACE", "SETUP_DATABASE", "CREATE_DNS_ZONE", "CREATE_TENANT_INGRESS"] {
            assert!(!list.contains(&phase.to_owned()), "{phase}");
        }
        assert!(list.contains(&"ISSUE_LICENSE".to_owned()));
        assert_eq!(names(&suspend, &now(Tier::Free, TenantStatus::Suspended)), None);
    }
}
