//! What a licence says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::platform::Limits;
use model::{TenantId, Tier};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The claims, in the order in which they are written. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Id of the key that signed.
    #[serde(rename = "kid")]
    pub key_id: String,
    /// The licence's own id. Of two issued in the same second, the greater one is the newer.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: TenantId,
    /// What the tenant pays for.
    pub plan: Tier,
    /// What it allows.
    pub limits: Limits,
    /// Nothing of the tenant is to be served until a newer licence says otherwise. Not written where it is not so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// When it was issued.
    pub issued: i64,
    /// From when on it is worth nothing.
    pub expires: i64,
}

/// What a licence grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the tenant pays for.
    pub plan: Tier,
    /// What it allows.
    pub limits: Limits,
    /// See [`Claims::suspended`].
    pub suspended: bool,
}

impl Claims {
    /// What it grants.
    pub fn terms(&self) -> Terms {
        Terms { plan: self.plan, limits: self.limits, suspended: self.suspended }
    }

    /// Whether it was issued later than `other`.
    pub fn newer_than(&self, other: &Self) -> bool {
        (self.issued, self.id) > (other.issued, other.id)
    }

    /// Their one text.
    pub(super) fn encode(&self) -> String {
        // Names and numbers: this cannot fail, and an empty text would be refused by every reader.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// From a text that [`Claims::encode`] could have made: no other spelling of the same claims is let through.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let claims: Self = serde_json::from_slice(&json).ok()?;
        (claims.encode() == text).then_some(claims)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn claims() -> Claims {
        Claims {
            key_id: "s1".into(),
            id: "019ab000-0000-7000-8000-000000000001".parse().unwrap(),
            tenant: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
            plan: Tier::Professional,
            limits: Limits { members: Some(5_000), monthly_api_calls: None },
            suspended: false,
            issued: 1_700_000_000,
            expires: 1_731_536_000,
        }
    }

    #[test]
    fn claims_have_one_text() {
        let text = claims().encode();
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(&text).unwrap()).unwrap();
        assert_eq!(
            json,
            r#"{"kid":"s1","id":"019ab000-0000-7000-8000-000000000001","tenant":"550e8400-e29b-41d4-a716-446655440000","plan":"professional","limits":{"members":5000},"issued":1700000000,"expires":1731536000}"#
        );
        assert_eq!(Claims::decode(&text), Some(claims()));
        for other in [
            json.replace(r#""kid":"s1","#, r#""kid": "s1","#),
            json.replace("5000", "5e3"),
            json.replace(r#""issued""#, r#""colour":1,"issued""#),
            json.replace(r#"{"members":5000}"#, r#"{"members":5000,"monthly_api_calls":null}"#),
            json.replace(r#""issued""#, r#""suspended":false,"issued""#),
            String::new(),
        ] {
            assert_eq!(Claims::decode(&URL_SAFE_NO_PAD.encode(&other)), None, "{other}");
        }
        assert_eq!(Claims::decode(&format!("{text}=")), None);
    }

    #[test]
    fn the_later_issue_is_the_newer() {
        let old = claims();
        let later = Claims { issued: old.issued + 1, id: Uuid::nil(), ..old.clone() };
        let same_second = Claims { id: Uuid::max(), ..old.clone() };
        assert!(later.newer_than(&old) && same_second.newer_than(&old));
        assert!(!old.newer_than(&later) && !old.newer_than(&old));
    }
}
