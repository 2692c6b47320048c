//! Invitations: how a tenant's first person comes in without anybody having chosen a password for them.
//!
//! A token is the tenant's id and 256 random bits, as 64 characters of base64url. The id is no secret: it says in which
//! tenant's tables the token is looked for. Those hold its SHA-256 hash only; the token itself is in the e-mail, and until
//! that has been sent, sealed, in the outbox.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::TenantId;
use model::secret::Secret;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

const ID: usize = 16;
const RANDOM: usize = 32;

/// A token. Shows as `***`.
#[derive(Clone)]
pub struct Token {
    tenant: TenantId,
    hash: [u8; 32],
    text: Secret,
}

/// The operating system has no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes: {0}")]
pub struct NoRandom(String);

impl Token {
    /// A new one for somebody of this tenant.
    pub fn generate(tenant: TenantId) -> Result<Self, NoRandom> {
        let mut bytes = Zeroizing::new([0; ID + RANDOM]);
        bytes[..ID].copy_from_slice(tenant.0.as_bytes());
        OsRng.try_fill_bytes(&mut bytes[ID..]).map_err(|error| NoRandom(error.to_string()))?;
        Ok(Self::of(tenant, &bytes))
    }

    /// Reads one; none if it is not of a token's form.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let bytes: &[u8; ID + RANDOM] = bytes.as_slice().try_into().ok()?;
        Some(Self::of(TenantId(Uuid::from_slice(&bytes[..ID]).ok()?), bytes))
    }

    fn of(tenant: TenantId, bytes: &[u8; ID + RANDOM]) -> Self {
        Self { tenant, hash: Sha256::digest(bytes).into(), text: Secret::new(URL_SAFE_NO_PAD.encode(bytes)) }
    }

    /// Whose tables it is looked for in.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What is stored of it.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The token itself, for its seal and its e-mail.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(of {}, ***)", self.tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_no_two_are_the_same() {
        let tenant = TenantId::generate();
        let (one, other) = (Token::generate(tenant).unwrap(), Token::generate(tenant).unwrap());
        assert_eq!(one.expose().len(), 64);
        let read = Token::parse(one.expose()).unwrap();
        assert_eq!((read.tenant(), read.hash()), (tenant, one.hash()));
        assert_ne!(one.hash(), other.hash());
        // The random part alone differs, all of it by chance.
        assert_eq!(one.expose()[..21], other.expose()[..21]);
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let good = Token::generate(TenantId::generate()).unwrap();
        let good = good.expose();
        for bad in ["", "x", &good[1..], &format!("{good}AAAA"), &good.replace(&good[..1], "*"), &good[..60]]
        {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
