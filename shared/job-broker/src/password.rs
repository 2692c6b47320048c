//! Hashes of passwords as RabbitMQ keeps them: a salt of 4 bytes, and SHA-256 of salt and password, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::secret::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// RabbitMQ's name of this way.
pub(super) const ALGORITHM: &str = "rabbit_password_hashing_sha256";

const SALT: usize = 4;

/// With a salt of its own. That is short, and the passwords are not: they hold more than 200 bits.
pub(super) fn hash(password: &Secret) -> String {
    salted(rand::random(), password)
}

/// Whether a hash is the password's.
pub(super) fn fits(hash: &str, password: &Secret) -> bool {
    let salt = STANDARD.decode(hash).ok().and_then(|bytes| bytes.first_chunk::<SALT>().copied());
    salt.is_some_and(|salt| salted(salt, password).as_bytes().ct_eq(hash.as_bytes()).into())
}

fn salted(salt: [u8; SALT], password: &Secret) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(password.expose()).finalize();
    STANDARD.encode([salt.as_slice(), &digest[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RabbitMQ's documentation, "Computing Password Hash": the salt 0x908DC60A and the password `test12`.
    #[test]
    fn a_hash_is_as_rabbitmq_computes_it() {
        let password = Secret::new("test12");
        let documented = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        assert_eq!(salted([0x90, 0x8d, 0xc6, 0x0a], &password), documented);
        assert!(fits(documented, &password) && !fits(documented, &Secret::new("test13")));
        assert!(fits(&hash(&password), &password) && !fits("", &password) && !fits("AA==", &password));
        assert_ne!(hash(&password), hash(&password));
    }
}
