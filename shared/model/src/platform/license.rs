//! The tenants' licences: which keys sign and seal them, what they allow, how they are brought to the data plane.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Delivery, Seconds};
use crate::Tier;
use crate::secret::SecretRef;

/// Licences. A key is 32 bytes in base64; its id is written beside whatever it has signed or sealed, so that keys change
/// without a pause: add the new one, deploy, name it in `sign_with` or `seal_with`, deploy, and remove the old one when
/// nothing needs it any more (`dispatcher license rewrap` sees to that for the key-encryption keys).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct License {
    /// Id of the key that signs new licences, one of `signing_keys`.
    pub sign_with: String,
    /// Id of the key that seals, one of `key_encryption_keys`.
    pub seal_with: String,
    /// How long a licence holds, in seconds.
    pub validity: Seconds,
    /// How long before its end a licence is issued anew, in seconds; less than `validity`.
    pub renew_before: Seconds,
    /// How often a tenant-api may refuse a licence for good, over at least `delivery.refused_for`, before the notice is set
    /// aside.
    pub refusals: i32,
    /// Ed25519 keys by id. One whose licences are still to be accepted stays.
    pub signing_keys: BTreeMap<String, SecretRef>,
    /// Key-encryption keys by id. One that still wraps a licence's data key stays.
    pub key_encryption_keys: BTreeMap<String, SecretRef>,
    /// What a licence of a tier allows. A tier without limits is unlimited.
    pub limits: BTreeMap<Tier, Limits>,
    /// How the notices to the tenant-apis are delivered.
    pub delivery: Delivery,
}

/// What a licence allows. None: as much as the tenant likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Members of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// API calls in a calendar month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly_api_calls: Option<u64>,
}

impl Default for License {
    fn default() -> Self {
        let limits = |members, calls| Limits { members: Some(members), monthly_api_calls: Some(calls) };
        Self {
            sign_with: String::new(),
            seal_with: String::new(),
            validity: Seconds(365.0 * 24.0 * 3600.0),
            // A month, in which somebody notices that it does not work.
            renew_before: Seconds(30.0 * 24.0 * 3600.0),
            refusals: 5,
            signing_keys: BTreeMap::new(),
            key_encryption_keys: BTreeMap::new(),
            // Free reaches to where the deployment decision sees a large tenant.
            limits: BTreeMap::from([
                (Tier::Free, limits(500, 1_000_000)),
                (Tier::Professional, limits(5_000, 10_000_000)),
            ]),
            delivery: Delivery::default(),
        }
    }
}

impl License {
    /// Checks what types cannot: the key that is wrong, and why. A platform without any licence keys is legal: what needs
    /// one says so.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let chosen = [
            ("sign_with", &self.sign_with, "signing_keys", &self.signing_keys),
            ("seal_with", &self.seal_with, "key_encryption_keys", &self.key_encryption_keys),
        ];
        for (key, id, of, keys) in chosen {
            if let Some(wrong) = keys.keys().find(|id| !is_id(id)) {
                let why = format!("contains '{wrong}', which is not an id; use 1 to 32 of a-z, 0-9, '-'");
                return Err((of.into(), why));
            }
            if keys.is_empty() && id.is_empty() {
                continue;
            }
            if !keys.contains_key(id) {
                return Err((key.into(), format!("is '{id}', which is not a key of license.{of}")));
            }
        }
        // Ten years: more is a wrong unit.
        if !(self.validity.0 >= 1.0 && self.validity.0 <= 10.0 * 366.0 * 24.0 * 3600.0) {
            return Err((
                "validity".into(),
                format!("is {} and must be 1 second to 10 years, in seconds", self.validity.0),
            ));
        }
        if !(self.renew_before.0 >= 0.0 && self.renew_before.0 < self.validity.0) {
            let why =
                format!("is {} and must be 0 to less than license.validity, in seconds", self.renew_before.0);
            return Err(("renew_before".into(), why));
        }
        if self.refusals < 1 {
            return Err(("refusals".into(), format!("is {} and must be at least 1", self.refusals)));
        }
        self.delivery.check()
    }

    /// What a licence of this tier allows.
    pub fn limits(&self, tier: Tier) -> Limits {
        self.limits.get(&tier).copied().unwrap_or_default()
    }
}

fn is_id(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together_and_a_wrong_value_names_its_key() {
        assert_eq!(License::default().check(), Ok(()));
        let keys = |id: &str| BTreeMap::from([(id.to_owned(), SecretRef::Env("KEY".into()))]);
        let good = License {
            sign_with: "s1".into(),
            seal_with: "k1".into(),
            signing_keys: keys("s1"),
            key_encryption_keys: keys("k1"),
            ..License::default()
        };
        assert_eq!(good.check(), Ok(()));
        let wrong = |change: fn(&mut License)| {
            let mut license = good.clone();
            change(&mut license);
            license.check().unwrap_err().0
        };
        assert_eq!(wrong(|license| license.sign_with.clear()), "sign_with");
        assert_eq!(wrong(|license| license.seal_with = "k2".into()), "seal_with");
        assert_eq!(wrong(|license| license.signing_keys.clear()), "sign_with");
        let bad = |license: &mut License| {
            license.key_encryption_keys.insert("K 1".into(), SecretRef::Env("KEY".into()));
        };
        assert_eq!(wrong(bad), "key_encryption_keys");
        assert_eq!(wrong(|license| license.validity = Seconds(0.0)), "validity");
        assert_eq!(wrong(|license| license.validity = Seconds(f64::INFINITY)), "validity");
        assert_eq!(wrong(|license| license.renew_before = license.validity), "renew_before");
        assert_eq!(wrong(|license| license.refusals = 0), "refusals");
        assert_eq!(wrong(|license| license.delivery.in_flight = 0), "delivery.in_flight");
    }
}
