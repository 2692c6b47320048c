//! `determineDeploymentType`: where a tenant's compute runs, and why.

use model::platform::{DeploymentRules, Isolation};
use model::{DeploymentType, Tier};

/// What the decision looks at.
#[derive(Clone, Debug)]
pub struct Characteristics<'a> {
    /// The plan type.
    pub tier: Tier,
    /// Compliance asks for isolation.
    pub compliance_required: bool,
    /// Members.
    pub member_count: i64,
    /// API calls a month.
    pub monthly_api_calls: i64,
    /// The region's key.
    pub region: &'a str,
    /// What the region asks for.
    pub isolation: Isolation,
    /// What the request asks for.
    pub requested: Option<DeploymentType>,
}

/// The decision, with its reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where.
    pub deployment_type: DeploymentType,
    /// Why.
    pub reason: String,
}

/// The request asks for `shared` and a rule forbids it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shared is not possible: {0}")]
pub struct SharedForbidden(pub String);

/// Decides where the tenant's compute runs. An explicit `shared` that a rule forbids is an error.
pub fn determine_deployment_type(
    tenant: &Characteristics<'_>,
    rules: &DeploymentRules,
) -> Result<Decision, SharedForbidden> {
    let forced = if tenant.tier == Tier::Enterprise {
        Some("the enterprise plan has dedicated compute".to_owned())
    } else if tenant.compliance_required {
        Some("compliance requires isolation".to_owned())
    } else if tenant.isolation == Isolation::Dedicated {
        Some(format!("every tenant of region {} has dedicated compute", tenant.region))
    } else if tenant.member_count >= rules.members {
        Some(format!("{} members reach the limit of {}", tenant.member_count, rules.members))
    } else if tenant.monthly_api_calls >= rules.monthly_api_calls {
        Some(format!(
            "{} API calls a month reach the limit of {}",
            tenant.monthly_api_calls, rules.monthly_api_calls
        ))
    } else {
        None
    };
    let container = |reason| Decision { deployment_type: DeploymentType::ContainerPerTenant, reason };
    match (forced, tenant.requested) {
        (Some(why), Some(DeploymentType::Shared)) => Err(SharedForbidden(why)),
        (Some(why), _) => Ok(container(why)),
        (None, Some(DeploymentType::ContainerPerTenant)) => {
            Ok(container("the request asks for dedicated compute".into()))
        }
        (None, Some(DeploymentType::Shared)) => Ok(Decision {
            deployment_type: DeploymentType::Shared,
            reason: "the request asks for shared compute and no rule forbids it".into(),
        }),
        (None, None) => Ok(Decision {
            deployment_type: rules.default,
            reason: format!("no rule decides; {} is the platform's default", rules.default),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeploymentType::{ContainerPerTenant, Shared};

    #[test]
    fn every_boundary_decides_as_the_rules_say() {
        let rules = DeploymentRules::default();
        let (own, any) = (Isolation::Dedicated, Isolation::Shared);
        for (tier, compliance, isolation, members, calls, requested, expected) in [
            (Tier::Free, false, any, 0, 0, None, Some(Shared)),
            (Tier::Free, false, any, 499, 999_999, None, Some(Shared)),
            (Tier::Free, false, any, 500, 0, None, Some(ContainerPerTenant)),
            (Tier::Free, false, any, 0, 1_000_000, None, Some(ContainerPerTenant)),
            (Tier::Free, true, any, 0, 0, None, Some(ContainerPerTenant)),
            (Tier::Professional, false, any, 0, 0, None, Some(Shared)),
            (Tier::Professional, false, any, 0, 0, Some(ContainerPerTenant), Some(ContainerPerTenant)),
            (Tier::Professional, false, any, 0, 0, Some(Shared), Some(Shared)),
            (Tier::Enterprise, false, any, 0, 0, None, Some(ContainerPerTenant)),
            (Tier::Enterprise, false, any, 0, 0, Some(Shared), None),
            (Tier::Free, true, any, 0, 0, Some(Shared), None),
            (Tier::Free, false, any, 500, 0, Some(Shared), None),
            (Tier::Professional, false, any, 499, 999_999, Some(Shared), Some(Shared)),
            (Tier::Professional, false, any, 500, 0, None, Some(ContainerPerTenant)),
            (Tier::Professional, false, any, 0, 1_000_000, Some(Shared), None),
            (Tier::Professional, true, any, 0, 0, Some(ContainerPerTenant), Some(ContainerPerTenant)),
            (Tier::Professional, true, any, 0, 0, Some(Shared), None),
            (Tier::Enterprise, true, own, 500, 1_000_000, Some(ContainerPerTenant), Some(ContainerPerTenant)),
            (Tier::Free, false, own, 0, 0, None, Some(ContainerPerTenant)),
            (Tier::Free, false, own, 0, 0, Some(ContainerPerTenant), Some(ContainerPerTenant)),
            (Tier::Free, false, own, 0, 0, Some(Shared), None),
        ] {
            let tenant = Characteristics {
                tier,
                compliance_required: compliance,
                member_count: members,
                monthly_api_calls: calls,
                region: "eastus",
                isolation,
                requested,
            };
            let decided =
                determine_deployment_type(&tenant, &rules).ok().map(|decision| decision.deployment_type);
            assert_eq!(decided, expected, "{tenant:?}");
        }
    }

    #[test]
    fn the_reason_names_what_decided() {
        let rules = DeploymentRules::default();
        let plain = Characteristics {
            tier: Tier::Free,
            compliance_required: false,
            member_count: 0,
            monthly_api_calls: 0,
            region: "za-north",
            isolation: Isolation::Shared,
            requested: None,
        };
        let reason = |tenant: Characteristics<'_>| determine_deployment_type(&tenant, &rules).unwrap().reason;
        for (tenant, words) in [
            (plain.clone(), "default"),
            (Characteristics { tier: Tier::Enterprise, ..plain.clone() }, "enterprise"),
            (Characteristics { compliance_required: true, ..plain.clone() }, "compliance"),
            (Characteristics { isolation: Isolation::Dedicated, ..plain.clone() }, "za-north"),
            (Characteristics { member_count: 500, ..plain.clone() }, "500 members"),
            (Characteristics { monthly_api_calls: 1_000_001, ..plain.clone() }, "1000001 API calls"),
            (Characteristics { requested: Some(Shared), ..plain.clone() }, "request"),
            (Characteristics { requested: Some(ContainerPerTenant), ..plain.clone() }, "request"),
        ] {
            let said = reason(tenant);
            assert!(said.contains(words), "{said}");
        }
        let forbidden = Characteristics { member_count: 501, requested: Some(Shared), ..plain };
        let said = determine_deployment_type(&forbidden, &rules).unwrap_err().to_string();
        assert!(said.contains("501 members"), "{said}");
    }
}
