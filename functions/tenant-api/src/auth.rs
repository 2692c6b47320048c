//! Who may call: those who know an internal secret.

use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

const HEADER: &str = "x-internal-secret";

/// The secrets that are valid now; more than one while a secret is being replaced. Only digests are held.
#[derive(Clone)]
pub struct InternalSecrets(Arc<[[u8; 32]]>);

impl InternalSecrets {
    /// `None` when there is no secret, or an empty one: an empty secret would let everybody in.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Option<Self> {
        let digests: Vec<[u8; 32]> = secrets
            .into_iter()
            .map(|secret| (!secret.trim().is_empty()).then(|| Sha256::digest(secret.as_bytes()).into()))
            .collect::<Option<_>>()?;
        (!digests.is_empty()).then(|| Self(digests.into()))
    }

    /// Compares with every secret, in a time that depends neither on the secrets nor on which one fits.
    fn accept(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.iter().fold(Choice::from(0), |found, secret| found | secret.ct_eq(&given)).into()
    }
}

impl fmt::Debug for InternalSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InternalSecrets({})", self.0.len())
    }
}

/// Lets a request pass that carries a valid secret, before anything of its body is read.
pub async fn require(State(secrets): State<InternalSecrets>, request: Request, next: Next) -> Response {
    match request.headers().get(HEADER) {
        Some(given) if secrets.accept(given.as_bytes()) => next.run(request).await,
        _ => {
            tracing::warn!(path = request.uri().path(), "refused: wrong or missing internal secret");
            Problem::unauthorized().into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_secrets_is_accepted_and_nothing_else() {
        let secrets = InternalSecrets::new(["old".to_owned(), "new".to_owned()]).unwrap();
        assert!(secrets.accept(b"old") && secrets.accept(b"new"));
        assert!(!secrets.accept(b"") && !secrets.accept(b"ol") && !secrets.accept(b"oldnew"));
    }

    #[test]
    fn an_empty_secret_is_no_secret() {
        assert!(InternalSecrets::new([String::new()]).is_none());
        assert!(InternalSecrets::new([]).is_none());
    }
}
