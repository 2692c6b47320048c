//! Who may call: those who hold one of the platform's tokens. The token's name is the actor.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::platform::Platform;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::extract::Actor;
use crate::problem;

/// The tokens, as digests: comparing those tells nothing of a token's length either.
#[derive(Clone)]
pub struct Tokens(Arc<[(Actor, [u8; 32])]>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(actor, _)| &actor.0)).finish()
    }
}

impl Tokens {
    /// Reads every token that the platform names. Fails in words where there is none, one cannot be read or is empty, or
    /// two are the same (it could not be said who called).
    pub fn of(platform: &Platform) -> Result<Self, String> {
        if platform.tokens.is_empty() {
            return Err(
                "the platform file names no token; add one as [tokens] name = \"env:VARIABLE\"".into()
            );
        }
        let mut tokens: Vec<(Actor, [u8; 32])> = Vec::new();
        for (name, reference) in &platform.tokens {
            let secret = reference.read_local().map_err(|error| format!("tokens.{name}: {error}"))?;
            if secret.expose().trim().is_empty() {
                return Err(format!("tokens.{name}: {reference} is empty"));
            }
            let digest = Sha256::digest(secret.expose().as_bytes()).into();
            if let Some((other, _)) = tokens.iter().find(|(_, known)| known == &digest) {
                return Err(format!("tokens.{name} is the same as tokens.{}; give each its own", other.0));
            }
            tokens.push((Actor(name.as_str().into()), digest));
        }
        Ok(Self(tokens.into()))
    }

    /// The holder of `given`, found in a time that depends neither on the tokens nor on which one it is.
    fn holder(&self, given: &[u8]) -> Option<&Actor> {
        let given: [u8; 32] = Sha256::digest(given).into();
        let (mut found, mut at) = (Choice::from(0), 0u64);
        for (index, (_, digest)) in (0u64..).zip(self.0.iter()) {
            let same = digest.ct_eq(&given);
            found |= same;
            at.conditional_assign(&index, same);
        }
        let at = usize::try_from(at).ok()?;
        bool::from(found).then(|| self.0.get(at).map(|(actor, _)| actor)).flatten()
    }
}

/// Lets a request pass that carries a valid token, before anything of its body is read.
pub async fn require(State(tokens): State<Tokens>, mut request: Request, next: Next) -> Response {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    match token.and_then(|token| tokens.holder(token)) {
        Some(actor) => {
            request.extensions_mut().insert(actor.clone());
            next.run(request).await
        }
        None => problem::no_token().into_response(),
    }
}

/// The credentials of a `Bearer` header; the scheme's name is in any case (RFC 9110, 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::secret::SecretRef;

    fn platform(tokens: &[(&str, &str)]) -> (Platform, Vec<std::path::PathBuf>) {
        let mut platform = Platform::default();
        let mut files = Vec::new();
        for (name, token) in tokens {
            let path = std::env::temp_dir().join(format!("token-{}", uuid::Uuid::now_v7()));
            std::fs::write(&path, token).unwrap();
            platform.tokens.insert((*name).to_owned(), SecretRef::File(path.display().to_string()));
            files.push(path);
        }
        (platform, files)
    }

    fn tokens(given: &[(&str, &str)]) -> Result<Tokens, String> {
        let (platform, files) = platform(given);
        let tokens = Tokens::of(&platform);
        for file in files {
            std::fs::remove_file(file).unwrap();
        }
        tokens
    }

    #[test]
    fn a_token_tells_its_holder_and_nothing_else_does() {
        let tokens = tokens(&[("alice", "a-token"), ("bob", "b-token\n")]).unwrap();
        let holder = |given: &str| tokens.holder(given.as_bytes()).map(|actor| actor.0.to_string());
        assert_eq!(holder("a-token").as_deref(), Some("alice"));
        assert_eq!(holder("b-token").as_deref(), Some("bob"));
        for wrong in ["", "a-toke", "a-token ", "a-tokenb-token"] {
            assert_eq!(holder(wrong), None, "{wrong}");
        }
        assert!(!format!("{tokens:?}").contains("token"));
    }

    #[test]
    fn what_could_let_anybody_in_does_not_start() {
        assert!(tokens(&[]).unwrap_err().contains("no token"));
        assert!(tokens(&[("alice", "\n")]).unwrap_err().contains("tokens.alice"));
        assert!(tokens(&[("alice", "same"), ("bob", "same")]).unwrap_err().contains("tokens.bob"));
    }

    #[test]
    fn only_bearer_credentials_count() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc"), Some(&b"abc"[..]));
        for wrong in [&b"Basic abc"[..], b"Bearerabc", b"Bear", b""] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
