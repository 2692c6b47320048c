//! Licences: what a tenant may do, signed by the control plane so that whoever holds the public key can check it.
//!
//! A licence is a line of text, `tl1.CLAIMS.SIGNATURE`: claims as JSON and an Ed25519 signature over `tl1.CLAIMS`, each in
//! base64url without padding. One set of claims has one text ([`Claims`]). At rest it is sealed ([`seal::Seals`]):
//! encrypted with AES-256-GCM under a data key of its own, which a key-encryption key wraps; the tenant's id is bound to
//! both, so that a row copied to another tenant does not open.
//!
//! The tokens of invitations are sealed by the same keys, and so are here.

mod claims;
pub mod invitation;
mod keys;
mod rewrap;
pub mod seal;
mod sign;
mod verify;

pub use claims::{Claims, Terms};
pub use keys::{KeyError, read_seals, read_signer, seals, signer};
pub use rewrap::{Rewrapped, Unopened, rewrap};
pub use sign::{Signed, Signer};
pub use verify::{BadPublicKeys, PublicKeys, Refused};

#[cfg(test)]
mod tests;

/// Before every licence of this version.
const VERSION: &str = "tl1";
