//! The plan of phases: which phases a tenant's run has, in which order. Adding a phase adds it to `PHASES`.

use model::platform::StepNames;
use model::{DeploymentType, PhaseName, Tier};

/// What the engine knows of a phase without linking it.
#[derive(Clone, Debug)]
pub struct PhaseFacts {
    /// Its name.
    pub name: PhaseName,
    /// Typical duration in seconds, shortest and longest (provisioning reference, "Phase Overview").
    pub typical: (u32, u32),
    /// May be skipped: nothing later reads its checkpoint or needs its effect.
    pub skippable: bool,
    /// Its undo guards another: skipping it in a rollback needs `force`.
    pub undo_guards: bool,
    /// The outside systems it needs, which the dispatcher can limit (`engine.in_flight_per_dependency`).
    pub depends: &'static [&'static str],
    /// What of the tenant its plan follows from, beside what never changes.
    pub reads: &'static [Reads],
}

/// What of a tenant can be changed while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Its tier.
    Tier,
    /// Whether it is suspended.
    Suspension,
    /// What was chosen for its own tenant-api.
    Container,
    /// When its licence ends.
    License,
    /// Its verified domains.
    Domains,
    /// Nothing of the tenant's: what the platform and the region give to its own tenant-api.
    Platform,
}

/// Of phases that bring pods of the tenant's own.
const PODS: &[Reads] = &[Reads::Tier, Reads::Suspension];

/// Of the phase that brings the tenant's own tenant-api.
const TENANT_API: &[Reads] = &[Reads::Tier, Reads::Suspension, Reads::Container, Reads::Platform];

/// What the phase that tries out logs and traces needs.
const OBSERVABILITY: &[&str] = &["cluster", "chart-repository", "loki", "tempo"];

/// Of the phase that issues the licence.
const LICENSE: &[Reads] = &[Reads::Tier, Reads::Suspension, Reads::License];

/// Every phase, in the order of an enterprise tenant's run.
pub static PHASES: &[PhaseFacts] = &[
    // Everything of the tenant's data is on what it makes; its undo takes the administrator's password with it.
    PhaseFacts {
        name: PhaseName::new(INFRASTRUCTURE),
        typical: (10, 900),
        skippable: false,
        undo_guards: true,
        depends: &["cluster", "terraform"],
        reads: &[],
    },
    // The database's undo needs nothing of the namespace, but everything else lives in it.
    PhaseFacts {
        name: PhaseName::new("CREATE_NAMESPACE"),
        typical: (5, 30),
        skippable: false,
        undo_guards: true,
        depends: &["cluster"],
        reads: &[Reads::Tier],
    },
    PhaseFacts {
        name: PhaseName::new("PROVISION_DEPLOYMENT"),
        typical: (5, 60),
        skippable: false,
        undo_guards: false,
        depends: &["cluster", "job-broker"],
        reads: TENANT_API,
    },
    PhaseFacts {
        name: PhaseName::new("ISSUE_LICENSE"),
        typical: (1, 5),
        skippable: false,
        undo_guards: false,
        depends: &["cluster"],
        reads: LICENSE,
    },
    PhaseFacts {
        name: PhaseName::new("SETUP_DATABASE"),
        typical: (30, 120),
        skippable: false,
        undo_guards: true,
        depends: &["cluster", "tenant-api"],
        reads: &[Reads::Tier],
    },
    PhaseFacts {
        name: PhaseName::new("CREATE_BOOTSTRAP_USER"),
        typical: (1, 5),
        skippable: false,
        undo_guards: false,
        depends: &["tenant-api"],
        reads: &[],
    },
    PhaseFacts {
        name: PhaseName::new("DEPLOY_CORE_SERVICES"),
        typical: (60, 300),
        skippable: false,
        undo_guards: false,
        depends: &["cluster", "chart-repository"],
        reads: PODS,
    },
    PhaseFacts {
        name: PhaseName::new("CONFIGURE_NETWORKING"),
        typical: (10, 30),
        skippable: false,
        undo_guards: false,
        depends: &["cluster"],
        reads: &[],
    },
    PhaseFacts {
        name: PhaseName::new("DEPLOY_DATA_SERVICES"),
        typical: (60, 300),
        skippable: true,
        undo_guards: false,
        depends: &["cluster", "chart-repository"],
        reads: PODS,
    },
    // The tenant's DNS names point at its address.
    PhaseFacts {
        name: PhaseName::new("DEPLOY_INGRESS_CONTROLLER"),
        typical: (30, 120),
        skippable: false,
        undo_guards: false,
        depends: &["cluster", "chart-repository"],
        reads: &[],
    },
    // Its undo waits until no resolver remembers the address, which the undo before it gives back.
    PhaseFacts {
        name: PhaseName::new("CREATE_DNS_ZONE"),
        typical: (10, 60),
        skippable: false,
        undo_guards: true,
        depends: &["dns"],
        reads: &[],
    },
    // Its undo takes the challenges' records out of the zone.
    PhaseFacts {
        name: PhaseName::new("CREATE_TENANT_INGRESS"),
        typical: (10, 30),
        skippable: true,
        undo_guards: true,
        depends: &["cluster", "cert-manager"],
        reads: &[],
    },
    PhaseFacts {
        name: PhaseName::new("DEPLOY_MONITORING"),
        typical: (30, 60),
        skippable: true,
        undo_guards: false,
        depends: &["cluster", "chart-repository"],
        reads: PODS,
    },
    PhaseFacts {
        name: PhaseName::new("SETUP_OBSERVABILITY"),
        typical: (10, 30),
        skippable: true,
        undo_guards: false,
        depends: OBSERVABILITY,
        reads: PODS,
    },
];

/// Of enterprise tenants only.
const INFRASTRUCTURE: &str = "PROVISIONING_INFRASTRUCTURE";

/// Phases that only a change has: what they make follows from something that comes while the tenant lives.
static LATER: &[PhaseFacts] = &[
    // Its undo takes the challenges' records out of the zone.
    PhaseFacts {
        name: PhaseName::new("SERVE_DOMAINS"),
        typical: (1, 5),
        skippable: false,
        undo_guards: true,
        depends: &["cluster", "cert-manager"],
        reads: &[Reads::Domains],
    },
];

/// Those of a tenant of the pooled instance: what touches no cluster.
const SHARED: [&str; 3] = ["ISSUE_LICENSE", "SETUP_DATABASE", "CREATE_BOOTSTRAP_USER"];

/// The phases of a new tenant's run, frozen into the run when it is made.
pub fn plan(deployment: DeploymentType, tier: Tier) -> Vec<PhaseName> {
    let has = |name: &str| match deployment {
        DeploymentType::ContainerPerTenant => tier == Tier::Enterprise || name != INFRASTRUCTURE,
        DeploymentType::Shared => SHARED.contains(&name),
    };
    PHASES.iter().map(|phase| &phase.name).filter(|name| has(name.as_str())).cloned().collect()
}

/// The phases that serve what follows from `reads`, of those that a tenant gets later.
pub fn later(reads: Reads) -> impl Iterator<Item = PhaseName> {
    LATER.iter().filter(move |phase| phase.reads.contains(&reads)).map(|phase| phase.name.clone())
}

/// What is known of a phase; nothing for one that this version does not know (a run frozen by another version).
pub fn facts(name: &PhaseName) -> Option<&'static PhaseFacts> {
    PHASES.iter().chain(LATER).find(|phase| &phase.name == name)
}

/// The names by which the platform file may limit steps.
pub fn step_names() -> StepNames {
    let phases = || PHASES.iter().chain(LATER);
    StepNames {
        phases: phases().map(|phase| phase.name.as_str()).chain(["TAKE_INVENTORY"]).collect(),
        dependencies: phases().flat_map(|phase| phase.depends).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::platform::Engine;

    #[test]
    fn a_container_tenant_gets_its_phases_in_order_and_an_enterprise_one_its_infrastructure_first() {
        let names = |tier| -> Vec<String> {
            plan(DeploymentType::ContainerPerTenant, tier).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(Tier::Free), names(Tier::Professional));
        assert_eq!(names(Tier::Enterprise)[1..], names(Tier::Free));
        assert_eq!(
            names(Tier::Enterprise),
            [
                "PROVISIONING_INFRASTRUCTURE",
                "CREATE_NAMESPACE",
                "PROVISION_DEPLOYMENT",
                "ISSUE_LICENSE",
                "SETUP_DATABASE",
                "CREATE_BOOTSTRAP_USER",
                "DEPLOY_CORE_SERVICES",
                "CONFIGURE_NETWORKING",
                "DEPLOY_DATA_SERVICES",
                "DEPLOY_INGRESS_CONTROLLER",
                "CREATE_DNS_ZONE",
                "CREATE_TENANT_INGRESS",
                "DEPLOY_MONITORING",
                "SETUP_OBSERVABILITY",
            ]
        );
    }

    #[test]
    fn a_shared_tenant_gets_what_touches_no_cluster() {
        let names: Vec<String> =
            plan(DeploymentType::Shared, Tier::Free).iter().map(ToString::to_string).collect();
        assert_eq!(names, SHARED);
    }

    #[test]
    fn a_limit_that_would_stop_a_phase_or_limits_nothing_is_refused_by_its_key() {
        let phase = |name: &str, places| Engine {
            in_flight_per_phase: [(name.to_owned(), places)].into(),
            ..Engine::default()
        };
        let dependency = |name: &str, places| Engine {
            in_flight_per_dependency: [(name.to_owned(), places)].into(),
            ..Engine::default()
        };
        assert_eq!(phase("CREATE_DNS_ZONE", 1).check(&step_names()), Ok(()));
        assert_eq!(phase("TAKE_INVENTORY", 1).check(&step_names()), Ok(()));
        assert_eq!(phase("SERVE_DOMAINS", 1).check(&step_names()), Ok(()));
        assert_eq!(dependency("tenant-api", 1).check(&step_names()), Ok(()));
        for (engine, key, name) in [
            (phase("CREATE_DNS_ZONE", 0), "in_flight_per_phase", "CREATE_DNS_ZONE"),
            (phase("CREATE_DNS", 4), "in_flight_per_phase", "CREATE_DNS"),
            (dependency("cluster", 0), "in_flight_per_dependency", "cluster"),
            (dependency("clutser", 4), "in_flight_per_dependency", "clutser"),
        ] {
            let (wrong, why) = engine.check(&step_names()).unwrap_err();
            assert_eq!(wrong, key);
            assert!(why.contains(name), "{why}");
        }
    }
}
