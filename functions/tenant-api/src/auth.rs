//! Who may call: those who know an internal secret.

use crate::problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

const HEADER: &str = "x-internal-secret";

/// The secrets that are valid now; more than one while a secret is being replaced.
#[derive(Clone)]
pub struct InternalSecrets(Source);

type Digest32 = [u8; 32];

#[derive(Clone)]
enum Source {
    /// Told at the start. Only digests are held.
    Told(Arc<[Digest32]>),
    /// Every file of a folder, read anew for every call: a replaced secret counts at once.
    Folder(PathBuf),
}

impl InternalSecrets {
    /// `None` when there is no secret, or an empty one: an empty secret would let everybody in.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Option<Self> {
        let digests: Vec<Digest32> = secrets
            .into_iter()
            .map(|secret| (!secret.trim().is_empty()).then(|| Sha256::digest(secret.as_bytes()).into()))
            .collect::<Option<_>>()?;
        (!digests.is_empty()).then(|| Self(Source::Told(digests.into())))
    }

    /// The content of each file of a folder, as a Kubernetes Secret is mounted. While there is none, or none that holds
    /// anything, nobody is let in.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(Source::Folder(folder.into()))
    }

    fn digests(&self) -> Arc<[Digest32]> {
        match &self.0 {
            Source::Told(digests) => Arc::clone(digests),
            Source::Folder(folder) => read(folder).unwrap_or_else(|error| {
                tracing::error!(folder = %folder.display(), %error, "the internal secrets cannot be read");
                Arc::default()
            }),
        }
    }

    /// Compares with every secret, in a time that depends neither on the secrets nor on which one fits.
    fn accept(&self, given: &[u8]) -> bool {
        let given: Digest32 = Sha256::digest(given).into();
        self.digests().iter().fold(Choice::from(0), |found, secret| found | secret.ct_eq(&given)).into()
    }
}

impl fmt::Debug for InternalSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Told(digests) => write!(f, "InternalSecrets({})", digests.len()),
            Source::Folder(folder) => write!(f, "InternalSecrets({})", folder.display()),
        }
    }
}

fn read(folder: &Path) -> io::Result<Arc<[Digest32]>> {
    let mut digests = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // The kubelet's own links and folders.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let secret = Zeroizing::new(fs::read(entry.path())?);
        let secret = secret.trim_ascii_end();
        if !secret.is_empty() {
            digests.push(Sha256::digest(secret).into());
        }
    }
    Ok(digests.into())
}

/// Lets a request pass that carries a valid secret, before anything of its body is read.
pub async fn require(State(secrets): State<InternalSecrets>, request: Request, next: Next) -> Response {
    match request.headers().get(HEADER) {
        Some(given) if secrets.accept(given.as_bytes()) => next.run(request).await,
        _ => {
            tracing::warn!(path = request.uri().path(), "refused: wrong or missing internal secret");
            problem::unauthorized("send the header x-internal-secret").into_response()
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
        let folder = tempfile::tempdir().unwrap();
        let secrets = InternalSecrets::in_folder(folder.path());
        assert!(!secrets.accept(b""));
        fs::write(folder.path().join("current"), "\n").unwrap();
        assert!(!secrets.accept(b"") && !secrets.accept(b"\n"));
        assert!(!InternalSecrets::in_folder(folder.path().join("absent")).accept(b""));
    }

    #[test]
    fn a_folders_secrets_count_as_they_are_now() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, secret: &str| fs::write(folder.path().join(name), secret).unwrap();
        let secrets = InternalSecrets::in_folder(folder.path());
        put("current", "one\n");
        put("..data", "the kubelet's");
        assert!(secrets.accept(b"one") && !secrets.accept(b"the kubelet's"));
        put("current", "two");
        put("former", "one");
        assert!(secrets.accept(b"one") && secrets.accept(b"two"));
        fs::remove_file(folder.path().join("former")).unwrap();
        assert!(!secrets.accept(b"one") && secrets.accept(b"two"));
    }
}
