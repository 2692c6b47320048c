//! What helm's complaint means. Helm has one exit code for everything, so its words decide.

use std::time::Duration;

use engine::phase::Error;

/// How long a namespace that is being deleted is left alone before the next look.
const TERMINATING: Duration = Duration::from_secs(1);

/// Why a helm call did not do what was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A release of this name has appeared since we looked.
    NameTaken,
    /// No release of this name any more.
    NotFound,
    /// Anything that the caller can only hand on.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Reads helm's standard error. `what` is what was tried, such as `install query-engine in matih-acme`.
pub(super) fn read(what: &str, stderr: &str) -> Refusal {
    let said = tail(stderr);
    let text = said.to_ascii_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    let message = format!("helm: {what}: {said}");

    if has(&["a name that is still in use", "release: already exists"]) {
        return Refusal::NameTaken;
    }
    if has(&["release: not found"]) {
        return Refusal::NotFound;
    }
    // Helm's check of what already stands where the chart's objects should be.
    if has(&["cannot be imported into the current release"]) {
        return Refusal::Error(Error::foreign(foreign_object(&said)));
    }
    if text.contains("chart \"") && text.contains("not found in") {
        return Refusal::Error(
            Error::fatal("chart_not_found", message)
                .next("Publish the chart in this version to the chart repository, then retry."),
        );
    }
    if has(&["valid chart repository or cannot be reached", "failed to fetch ", "no cached repo found"]) {
        return Refusal::Error(
            Error::unavailable("chart-repository", "chart_repository_unavailable", message)
                .next("Bring the chart repository back; the run then continues on its own."),
        );
    }
    if has(&["exceeded quota"]) {
        return Refusal::Error(
            Error::retryable("quota_exceeded", message)
                .next("Make room in the namespace's quota, or give the tenant a larger tier, then retry."),
        );
    }
    if has(&["because it is being terminated"]) {
        return Refusal::Error(Error::parked(TERMINATING, message));
    }
    if has(&["unauthorized", "must be logged in"]) {
        return Refusal::Error(
            Error::unavailable("cluster", "cluster_unauthorized", message)
                .next("Renew the credential in the kubeconfig file; the run then continues on its own."),
        );
    }
    if has(&["is forbidden"]) {
        return Refusal::Error(
            Error::retryable("helm_forbidden", message)
                .next("Give this function's account the permission that the message names, then retry."),
        );
    }
    if has(&[
        "cluster unreachable",
        "could not get apiversions",
        "connection refused",
        "connection reset",
        "i/o timeout",
        "tls handshake timeout",
        "no such host",
        "unexpected eof",
        "http2: ",
        "etcdserver: ",
        "the server is currently unable to handle the request",
        "too many requests",
        "apiserver is shutting down",
    ]) {
        return Refusal::Error(
            Error::unavailable("cluster", "cluster_unavailable", message)
                .next("Bring the Kubernetes API server back; the run then continues on its own."),
        );
    }
    if has(&[
        "failed to create typed patch",
        "unable to build kubernetes objects",
        "execution error at (",
        "parse error at (",
        "template: ",
        "yaml parse error",
        "error converting yaml",
        "don't meet the specifications of the schema",
        "is invalid: ",
        "chart.yaml",
    ]) {
        return Refusal::Error(
            Error::fatal("chart_invalid", message)
                .next("Correct the chart or the values, publish a new version, and start the tenant again."),
        );
    }
    Refusal::Error(
        Error::retryable("helm_failed", message).next("Read what helm says, remove the cause, then retry."),
    )
}

/// The last lines, without helm's own log lines where something else remains: they repeat the error.
fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let plain: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| !line.starts_with("level=") && !line.starts_with("time="))
        .collect();
    let lines = if plain.is_empty() { lines } else { plain };
    let mut text = lines[lines.len().saturating_sub(5)..].join(" | ");
    if text.len() > 1500 {
        let cut = (1500..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text.truncate(cut);
    }
    if text.is_empty() { "ended without a word (killed?)".into() } else { text }
}

/// `Service "x" in namespace "y"` out of helm's sentence.
fn foreign_object(said: &str) -> String {
    said.split(" exists and cannot be imported")
        .next()
        .and_then(|before| before.rsplit(": ").next())
        .unwrap_or(said)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::phase::Kind;

    /// Helm 4.3.1's own words.
    #[test]
    fn helms_words_say_what_the_engine_does() {
        let down = |dependency: &str| Kind::Unavailable { dependency: dependency.into() };
        for (stderr, kind, code) in [
            (
                "Error: INSTALLATION FAILED: looks like \"http://127.0.0.1:1\" is not a valid chart repository or cannot be reached: Get \"http://127.0.0.1:1/index.yaml\": dial tcp 127.0.0.1:1: connect: connection refused",
                down("chart-repository"),
                "chart_repository_unavailable",
            ),
            (
                "Error: INSTALLATION FAILED: failed to fetch http://r/query-engine-0.1.0.tgz : 503 Service Unavailable",
                down("chart-repository"),
                "chart_repository_unavailable",
            ),
            (
                "Error: INSTALLATION FAILED: chart \"query-engine\" version \"9.9.9\" not found in http://r repository",
                Kind::Fatal,
                "chart_not_found",
            ),
            (
                "level=ERROR msg=\"x\"\nError: INSTALLATION FAILED: cluster reachability check failed: kubernetes cluster unreachable: Get \"https://127.0.0.1:1/version\": dial tcp 127.0.0.1:1: connect: connection refused",
                down("cluster"),
                "cluster_unavailable",
            ),
            ("Error: UPGRADE FAILED: etcdserver: request timed out", down("cluster"), "cluster_unavailable"),
            (
                "Error: INSTALLATION FAILED: create: failed to create: secrets \"sh.helm.release.v1.a.v1\" is forbidden: exceeded quota: q, requested: count/secrets=1",
                Kind::Retryable,
                "quota_exceeded",
            ),
            (
                "Error: INSTALLATION FAILED: create: failed to create: secrets \"a\" is forbidden: unable to create new content in namespace b because it is being terminated",
                Kind::Parked(engine::phase::Wait { after: TERMINATING, on: String::new(), fixed: false }),
                "waiting",
            ),
            (
                "Error: INSTALLATION FAILED: create: failed to create: secrets is forbidden: User \"x\" cannot create resource",
                Kind::Retryable,
                "helm_forbidden",
            ),
            (
                "Error: INSTALLATION FAILED: server-side apply failed for object x/y apps/v1, Kind=Deployment: failed to create typed patch object (x/y; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string",
                Kind::Fatal,
                "chart_invalid",
            ),
            (
                "Error: INSTALLATION FAILED: Deployment \"query-engine\" in namespace \"x\" exists and cannot be imported into the current release: invalid ownership metadata; label validation error",
                Kind::Fatal,
                "foreign_object",
            ),
            ("Error: something new", Kind::Retryable, "helm_failed"),
            ("", Kind::Retryable, "helm_failed"),
        ] {
            let Refusal::Error(error) = read("install a", stderr) else { panic!("{stderr}") };
            assert_eq!(error.code, code, "{stderr}");
            if let Kind::Parked(_) = kind {
                assert!(matches!(error.kind, Kind::Parked(_)), "{stderr}");
            } else {
                assert_eq!(error.kind, kind, "{stderr}");
                assert!(!error.next_action.is_empty(), "{stderr}");
            }
        }
        let taken =
            "Error: INSTALLATION FAILED: release name check failed: cannot reuse a name that is still in use";
        assert!(matches!(read("install a", taken), Refusal::NameTaken));
        assert!(matches!(read("get a", "Error: release: not found"), Refusal::NotFound));
    }

    #[test]
    fn a_foreign_object_is_named() {
        let said = "Error: INSTALLATION FAILED: unable to continue with install: Service \"q\" in namespace \"x\" exists and cannot be imported into the current release: invalid ownership metadata";
        assert_eq!(foreign_object(said), "Service \"q\" in namespace \"x\"");
    }
}
