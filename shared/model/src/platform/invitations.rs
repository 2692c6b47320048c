//! Invitations of the tenants' administrators.

use serde::{Deserialize, Serialize};

use super::{Delivery, Seconds};

/// Invitations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Invitations {
    /// How long one holds from its sending on, in seconds.
    pub validity: Seconds,
    /// The link in the e-mail, where `{slug}`, `{domain}` (the platform's) and `{token}` stand for what they say.
    pub link: String,
    /// How often one may be refused for good, by the mail server or the tenant-api, before it is set aside.
    pub refusals: i32,
    /// How they are delivered. Of the time-out, the tenant-api and the mail server may each take half.
    pub delivery: Delivery,
}

impl Default for Invitations {
    fn default() -> Self {
        Self {
            // Three days: a weekend lies between a Friday's e-mail and its reader.
            validity: Seconds(72.0 * 3600.0),
            link: "https://{slug}.{domain}/invitation/{token}".into(),
            refusals: 5,
            delivery: Delivery::default(),
        }
    }
}

impl Invitations {
    /// Checks what types cannot: the key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        // Thirty days: more is a wrong unit.
        if !(self.validity.0 >= 1.0 && self.validity.0 <= 30.0 * 24.0 * 3600.0) {
            let why = format!("is {} and must be 1 second to 30 days, in seconds", self.validity.0);
            return Err(("validity".into(), why));
        }
        let filled = self.link("slug", "domain", "token");
        let scheme = ["https://", "http://"].iter().any(|scheme| self.link.starts_with(scheme));
        let whole =
            !filled.contains(['{', '}']) && !filled.chars().any(|c| c.is_whitespace() || c.is_control());
        if !scheme || !whole || self.link.matches("{token}").count() != 1 {
            let why = format!(
                "is '{}'; use a URL with {{token}} once, and with {{slug}} and {{domain}} where they belong",
                self.link
            );
            return Err(("link".into(), why));
        }
        if self.refusals < 1 {
            return Err(("refusals".into(), format!("is {} and must be at least 1", self.refusals)));
        }
        self.delivery.check()
    }

    /// The link of one invitation.
    pub fn link(&self, slug: &str, domain: &str, token: &str) -> String {
        self.link.replace("{slug}", slug).replace("{domain}", domain).replace("{token}", token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together_and_a_wrong_value_names_its_key() {
        let good = Invitations::default();
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.link("acme", "matih.ai", "T"), "https://acme.matih.ai/invitation/T");
        let key = |changed: Invitations| changed.check().unwrap_err().0;
        let with = |link: &str| Invitations { link: link.into(), ..good.clone() };
        for link in ["https://{slug}.{domain}/", "{token}", "https://{tenant}/{token}", "https://a b/{token}"]
        {
            assert_eq!(key(with(link)), "link", "{link}");
        }
        assert_eq!(key(Invitations { validity: Seconds(0.0), ..good.clone() }), "validity");
        assert_eq!(key(Invitations { validity: Seconds(f64::NAN), ..good.clone() }), "validity");
        assert_eq!(key(Invitations { refusals: 0, ..good.clone() }), "refusals");
    }
}
