//! The tenants' own tenant-api: its image, and how large it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Seconds;
use crate::Tier;
use crate::secret::SecretRef;

/// The instance that a tenant with compute of its own gets. The defaults are those of the control-plane reference
/// ("Provisioning dedicated compute") and the sizes that each tier's quota has room for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnTenantApi {
    /// Its image.
    pub image: String,
    /// `NODE_ENV` in its environment.
    pub node_env: String,
    /// Public keys of licences that it accepts, as `dispatcher license public-keys` prints them. Empty: it accepts none.
    pub license_public_keys: String,
    /// Seconds until its process must be alive; and again, before the public is let to it, until it is ready.
    pub ready_within: Seconds,
    /// Seconds that any region's tenant-api may take to make a tenant's database or to drop it; less than
    /// `engine.step_timeout`, or the error says less.
    pub answer_within: Seconds,
    /// Sizes by name.
    pub sizes: BTreeMap<String, InstanceSize>,
    /// The size of a tier's instances, one of `sizes`.
    pub size: BTreeMap<Tier, String>,
    /// A region's internal secret of before, or the next one, while callers and instances change over: instances accept what
    /// is derived from either. An instance has it once its Secret is made again (`dispatcher deployments refresh`).
    pub former_internal_secrets: BTreeMap<String, SecretRef>,
}

/// How large an instance is. Kubernetes quantities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSize {
    /// CPU that is set aside.
    pub requests_cpu: String,
    /// Memory that is set aside.
    pub requests_memory: String,
    /// CPU at most.
    pub limits_cpu: String,
    /// Memory at most.
    pub limits_memory: String,
    /// Pods.
    pub replicas: i32,
}

impl Default for OwnTenantApi {
    fn default() -> Self {
        let size = |cpu: (&str, &str), memory: (&str, &str)| InstanceSize {
            requests_cpu: cpu.0.into(),
            requests_memory: memory.0.into(),
            limits_cpu: cpu.1.into(),
            limits_memory: memory.1.into(),
            replicas: 1,
        };
        Self {
            image: "ip4x/tenant-api:latest".into(),
            node_env: "production".into(),
            license_public_keys: String::new(),
            // As the charts' pods.
            ready_within: Seconds(600.0),
            // "Database creation is delegated to the data plane": a 10-minute timeout.
            answer_within: Seconds(600.0),
            sizes: BTreeMap::from([
                // The reference's cap: memory 512m, cpu 0.5.
                ("small".into(), size(("250m", "500m"), ("256Mi", "512Mi"))),
                ("medium".into(), size(("500m", "1000m"), ("512Mi", "1Gi"))),
                ("large".into(), size(("1000m", "2000m"), ("1Gi", "2Gi"))),
            ]),
            size: BTreeMap::from([
                (Tier::Free, "small".into()),
                (Tier::Professional, "medium".into()),
                (Tier::Enterprise, "large".into()),
            ]),
            former_internal_secrets: BTreeMap::new(),
        }
    }
}

impl OwnTenantApi {
    /// Checks what types cannot: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.image.is_empty() {
            return Err(("image".into(), "is empty".into()));
        }
        for (key, value) in [("ready_within", self.ready_within), ("answer_within", self.answer_within)] {
            if !(value.0.is_finite() && value.0 > 0.0) {
                return Err((key.into(), format!("is {} and must be a positive number of seconds", value.0)));
            }
        }
        if let Some((name, size)) = self.sizes.iter().find(|(_, size)| size.replicas < 1) {
            let why = format!("is {} and must be at least 1", size.replicas);
            return Err((format!("sizes.{name}.replicas"), why));
        }
        for tier in [Tier::Free, Tier::Professional, Tier::Enterprise] {
            self.of(tier)?;
        }
        Ok(())
    }

    /// The name and the numbers of a tier's size. Fails with the key and what is wrong with it.
    pub fn of(&self, tier: Tier) -> Result<(&str, &InstanceSize), (String, String)> {
        let key = format!("size.{tier}");
        let Some(name) = self.size.get(&tier) else { return Err((key, "is missing".into())) };
        match self.sizes.get_key_value(name) {
            Some((name, size)) => Ok((name, size)),
            None => Err((key, format!("is '{name}', which is none of tenant_api.sizes"))),
        }
    }

    /// A size by its name. Fails with the key and what is wrong with it.
    pub fn size_named(&self, name: &str) -> Result<(&str, &InstanceSize), (String, String)> {
        let found = self.sizes.get_key_value(name).map(|(name, size)| (name.as_str(), size));
        found.ok_or_else(|| ("sizes".into(), format!("has no '{name}', which was chosen for the tenant")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together_and_a_wrong_value_names_its_key() {
        assert_eq!(OwnTenantApi::default().check(), Ok(()));
        let wrong = |change: fn(&mut OwnTenantApi)| {
            let mut settings = OwnTenantApi::default();
            change(&mut settings);
            settings.check().unwrap_err().0
        };
        assert_eq!(wrong(|it| it.image.clear()), "image");
        assert_eq!(wrong(|it| it.ready_within = Seconds(0.0)), "ready_within");
        assert_eq!(wrong(|it| it.sizes.get_mut("small").unwrap().replicas = 0), "sizes.small.replicas");
        assert_eq!(wrong(|it| drop(it.size.insert(Tier::Free, "tiny".into()))), "size.free");
        assert_eq!(wrong(|it| drop(it.size.remove(&Tier::Enterprise))), "size.enterprise");
    }

    /// Control-plane reference, "Provisioning dedicated compute".
    #[test]
    fn the_smallest_is_capped_as_the_reference_says() {
        let settings = OwnTenantApi::default();
        let (name, size) = settings.of(Tier::Free).unwrap();
        assert_eq!((name, size.limits_cpu.as_str(), size.limits_memory.as_str()), ("small", "500m", "512Mi"));
        assert_eq!(settings.image, "ip4x/tenant-api:latest");
    }
}
