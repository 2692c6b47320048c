//! Budgets, delays, leases and limits of the engine. Tests shorten them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The names for which `engine.in_flight_per_phase` and `engine.in_flight_per_dependency` may set limits. The engine knows
/// them; a program passes them on when it reads the platform file.
#[derive(Clone, Debug, Default)]
pub struct StepNames {
    /// Everything that a step may be of.
    pub phases: BTreeSet<&'static str>,
    /// The outside systems that any phase needs.
    pub dependencies: BTreeSet<&'static str>,
}

/// A span of time, in seconds, fractions allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Seconds {
    /// As a duration; a negative or absurd number counts as none.
    pub fn duration(self) -> Duration {
        Duration::try_from_secs_f64(self.0).unwrap_or_default()
    }
}

/// The engine's settings. Times are seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// How long a claim holds without renewal.
    pub lease: Seconds,
    /// How often a claim is renewed.
    pub renew: Seconds,
    /// How long before its lease ends a worker stops touching the world.
    pub lease_margin: Seconds,
    /// The longest that one step may take.
    pub step_timeout: Seconds,
    /// The longest that a function may run; no effect of a lost worker outlives it.
    pub function_timeout: Seconds,
    /// The longest that the dispatcher waits for a function's answer.
    pub invoke_timeout: Seconds,
    /// Failures of a phase (in one direction) before its budget is spent.
    pub failures: i32,
    /// Deliveries lost in a phase before the run is paused.
    pub lost: i32,
    /// First backoff after a failure; doubles each time.
    pub backoff: Seconds,
    /// Longest backoff.
    pub backoff_cap: Seconds,
    /// How long a phase may be parked without a break before the wait counts as a failure. A phase's own budget for what
    /// it waits for is shorter.
    pub wait_within: Seconds,
    /// First pause when a dependency is down.
    pub unavailable: Seconds,
    /// How long a dependency may be down before the run is paused.
    pub unavailable_within: Seconds,
    /// How long after a transition the sweeper looks for a lost message; doubles each time.
    pub sweep: Seconds,
    /// Longest time between two looks of the sweeper at one run.
    pub sweep_cap: Seconds,
    /// How often the sweeper looks at all.
    pub sweep_tick: Seconds,
    /// Runs that the sweeper publishes in one look.
    pub sweep_batch: i64,
    /// Steps in flight in one dispatcher.
    pub in_flight: usize,
    /// Steps in flight in one dispatcher, per phase (by name).
    pub in_flight_per_phase: BTreeMap<String, usize>,
    /// Steps in flight in one dispatcher, per outside system that a phase needs: `cert-manager`, `chart-repository`, `cluster`,
    /// `dns`, `job-broker`, `loki`, `tempo`, `tenant-api`, `terraform`.
    pub in_flight_per_dependency: BTreeMap<String, usize>,
    /// How long a message waits for a free place before it goes to a delay queue.
    pub place_within: Seconds,
    /// How long an idempotency key is kept.
    pub idempotency: Seconds,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            lease: Seconds(30.0),
            renew: Seconds(10.0),
            lease_margin: Seconds(5.0),
            step_timeout: Seconds(11.0 * 60.0),
            function_timeout: Seconds(12.0 * 60.0),
            invoke_timeout: Seconds(13.0 * 60.0),
            failures: 5,
            lost: 10,
            backoff: Seconds(2.0),
            backoff_cap: Seconds(300.0),
            // The longest wait of the provisioning reference (the LoadBalancer's address, 600 s) and half as much again.
            wait_within: Seconds(900.0),
            unavailable: Seconds(2.0),
            unavailable_within: Seconds(3600.0),
            sweep: Seconds(10.0),
            sweep_cap: Seconds(300.0),
            sweep_tick: Seconds(1.0),
            sweep_batch: 200,
            in_flight: 256,
            in_flight_per_phase: BTreeMap::new(),
            in_flight_per_dependency: BTreeMap::new(),
            place_within: Seconds(30.0),
            idempotency: Seconds(24.0 * 3600.0),
        }
    }
}

impl Engine {
    /// Checks what types cannot: the key that is wrong, and why.
    pub fn check(&self, names: &StepNames) -> Result<(), (&'static str, String)> {
        let positive = [
            ("lease", self.lease),
            ("renew", self.renew),
            ("step_timeout", self.step_timeout),
            ("function_timeout", self.function_timeout),
            ("invoke_timeout", self.invoke_timeout),
            ("backoff", self.backoff),
            ("backoff_cap", self.backoff_cap),
            ("wait_within", self.wait_within),
            ("unavailable", self.unavailable),
            ("sweep", self.sweep),
            ("sweep_cap", self.sweep_cap),
            ("sweep_tick", self.sweep_tick),
            ("idempotency", self.idempotency),
        ];
        for (key, value) in positive {
            if !(value.0.is_finite() && value.0 > 0.0) {
                return Err((key, format!("is {} and must be a positive number of seconds", value.0)));
            }
        }
        if self.renew.0 + self.lease_margin.0 >= self.lease.0 {
            return Err((
                "lease",
                format!(
                    "is {} s, which leaves no room for renew ({} s) and lease_margin ({} s); make it longer",
                    self.lease.0, self.renew.0, self.lease_margin.0
                ),
            ));
        }
        // Each waits for the one before it to have given up.
        if self.step_timeout >= self.function_timeout || self.function_timeout >= self.invoke_timeout {
            return Err((
                "step_timeout",
                "step_timeout < function_timeout < invoke_timeout must hold, or an answer is given up before it comes"
                    .into(),
            ));
        }
        for (key, least) in [
            ("failures", self.failures < 1),
            ("lost", self.lost < 1),
            ("in_flight", self.in_flight < 1),
            ("sweep_batch", self.sweep_batch < 1),
        ] {
            if least {
                return Err((key, "must be at least 1".into()));
            }
        }
        self.check_places(names)
    }

    /// A limit of nothing would leave its phases waiting for ever, and one for a name that nobody has would limit nothing.
    fn check_places(&self, names: &StepNames) -> Result<(), (&'static str, String)> {
        for (key, limits, known) in [
            ("in_flight_per_phase", &self.in_flight_per_phase, &names.phases),
            ("in_flight_per_dependency", &self.in_flight_per_dependency, &names.dependencies),
        ] {
            for (name, places) in limits {
                if !known.contains(name.as_str()) {
                    let known = known.iter().copied().collect::<Vec<_>>().join(", ");
                    return Err((key, format!("has the unknown name '{name}'; use one of {known}")));
                }
                if *places < 1 {
                    let why =
                        format!("is 0 for {name}, so its phases would wait for ever; it must be at least 1");
                    return Err((key, why));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together_and_a_wrong_value_names_its_key() {
        assert_eq!(Engine::default().check(&StepNames::default()), Ok(()));
        let short = Engine { lease: Seconds(12.0), ..Engine::default() };
        assert_eq!(short.check(&StepNames::default()).unwrap_err().0, "lease");
        let never = Engine { sweep_tick: Seconds(0.0), ..Engine::default() };
        assert_eq!(never.check(&StepNames::default()).unwrap_err().0, "sweep_tick");
        let ladder = Engine { invoke_timeout: Seconds(60.0), ..Engine::default() };
        assert_eq!(ladder.check(&StepNames::default()).unwrap_err().0, "step_timeout");
        let none = Engine { in_flight: 0, ..Engine::default() };
        assert_eq!(none.check(&StepNames::default()).unwrap_err().0, "in_flight");
    }
}
