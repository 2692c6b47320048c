//! What happens to tenants later, by itself.

use serde::{Deserialize, Serialize};

use super::Seconds;

/// How long things wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifecycle {
    /// How long a tenant that was in use stays suspended, with all its data, before a deletion takes it out, in seconds.
    /// Zero: it is taken out at once.
    pub retention: Seconds,
    /// How long what was begun by itself (a licence renewed, a domain served) and failed waits until it is begun again, in
    /// seconds.
    pub again_after: Seconds,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            // A week: long enough that a deletion by mistake is noticed on the next working day, after holidays too.
            retention: Seconds(7.0 * 24.0 * 3600.0),
            again_after: Seconds(3600.0),
        }
    }
}

impl Lifecycle {
    /// Checks what types cannot: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        // Ten years: more is a wrong unit.
        let longest = 10.0 * 366.0 * 24.0 * 3600.0;
        if !(self.retention.0 >= 0.0 && self.retention.0 <= longest) {
            let why = format!("is {} and must be 0 to ten years, in seconds", self.retention.0);
            return Err(("retention".into(), why));
        }
        if !(self.again_after.0 > 0.0 && self.again_after.0 <= longest) {
            let why = format!("is {} and must be a positive number of seconds", self.again_after.0);
            return Err(("again_after".into(), why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_may_be_nothing_and_never_less() {
        assert_eq!(Lifecycle::default().check(), Ok(()));
        let of = |retention, again_after| {
            let rules = Lifecycle { retention: Seconds(retention), again_after: Seconds(again_after) };
            rules.check().err().map(|(key, _)| key)
        };
        assert_eq!(of(0.0, 1.0), None);
        assert_eq!(of(-1.0, 1.0).as_deref(), Some("retention"));
        assert_eq!(of(f64::NAN, 1.0).as_deref(), Some("retention"));
        assert_eq!(of(0.0, 0.0).as_deref(), Some("again_after"));
    }
}
