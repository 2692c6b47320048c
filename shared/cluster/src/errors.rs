//! What the API server's refusals and silences mean to a phase.

use std::error::Error as _;
use std::time::Duration;

use engine::phase::Error;
use kube::core::Status;
use kube::runtime::watcher;

/// The dependency's name in `Unavailable`.
const DEPENDENCY: &str = "cluster";

/// How long a terminating namespace is left alone before the next look.
const TERMINATING: Duration = Duration::from_secs(1);

/// The server cannot be reached, or cannot answer: nobody's fault here, and the same for every tenant.
pub(super) fn unavailable(doing: &str, why: &str) -> Error {
    Error::unavailable(DEPENDENCY, "cluster_unavailable", format!("{doing}: {why}"))
        .next("Bring the Kubernetes API server back; the run then continues on its own.")
}

/// Nobody can be let in to the server.
pub(super) fn unusable(message: String) -> Error {
    Error::unavailable(DEPENDENCY, "cluster_config", message)
}

/// An error of the connection or of decoding. A refusal by the server goes through [`refused`].
pub(super) fn translate(doing: &str, error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => refused(doing, status),
        kube::Error::SerdeError(error) => {
            Error::retryable("cluster_answer", format!("{doing}: the answer cannot be read: {error}"))
                .next("Check that KUBECONFIG points at a Kubernetes API server of a supported version.")
        }
        kube::Error::BuildRequest(error) => Error::fatal("object_invalid", format!("{doing}: {error}"))
            .next("Report this fault in the phase's code."),
        error => unavailable(doing, &chain(error)),
    }
}

/// An error of a watch.
pub(super) fn watch(doing: &str, error: &watcher::Error) -> Error {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => translate(doing, error),
        watcher::Error::WatchError(status) => refused(doing, status),
        watcher::Error::NoResourceVersion => unavailable(doing, "the watch has no resource version"),
    }
}

/// The server's own refusal.
pub(super) fn refused(doing: &str, status: &Status) -> Error {
    let said = words(status);
    let message = format!("{doing}: {said}");
    match status.code {
        // A credential is the same for every tenant: rolling the fleet back for an expired one would be wrong, and
        // could not work either.
        401 => Error::unavailable(DEPENDENCY, "cluster_unauthorized", message)
            .next("Renew the credential in the kubeconfig file; the run then continues on its own."),
        403 if terminating(status) => Error::parked(TERMINATING, message),
        403 if said.contains("exceeded quota") || said.contains("status unknown for quota") => {
            Error::retryable("quota_exceeded", message)
                .next("Raise the tier's quota in the platform file, or free some of it in the namespace.")
        }
        403 => Error::fatal("cluster_forbidden", message)
            .next("Give this function's service account the permission that the message names, then retry."),
        // A namespace made a moment ago can be unknown to one of several API servers.
        404 => Error::retryable("object_missing", message)
            .next("Something that the tenant needs was removed by hand; retry makes it again."),
        408 | 429 | 500..=599 => unavailable(doing, &said),
        409 | 410 => Error::retryable("object_conflict", message)
            .next("Something else changes the same object; look at its managedFields for who."),
        400 | 413 | 422 => Error::fatal("object_invalid", message)
            .next("The API server refuses this object as it is; correct the platform file or report it."),
        _ => {
            Error::retryable("cluster_refused", message).next("Look at the API server's log for the reason.")
        }
    }
}

/// Whether the refusal is that the namespace is on its way out.
fn terminating(status: &Status) -> bool {
    let caused = |details: &kube::core::response::StatusDetails| {
        details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
    };
    status.details.as_ref().is_some_and(caused) || status.message.contains("because it is being terminated")
}

/// The server's words, without any that could repeat a Secret's content.
fn words(status: &Status) -> String {
    let secret = status.details.as_ref().is_some_and(|details| {
        details.kind.eq_ignore_ascii_case("secret") || details.kind.eq_ignore_ascii_case("secrets")
    });
    if secret && status.is_invalid() {
        let fields =
            status.details.iter().flat_map(|details| &details.causes).map(|cause| cause.field.as_str());
        return format!("Invalid ({})", fields.collect::<Vec<_>>().join(", "));
    }
    if status.message.is_empty() {
        format!("{} {}", status.code, status.reason)
    } else {
        status.message.clone()
    }
}

/// An error with its causes: the outermost alone says no more than "client error (Connect)".
fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::phase::Kind;
    use kube::core::response::{StatusCause, StatusDetails};

    fn details(kind: &str, reason: &str, message: &str) -> StatusDetails {
        StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: kind.into(),
            uid: String::new(),
            causes: vec![StatusCause {
                reason: reason.into(),
                message: message.into(),
                field: "data[x]".into(),
            }],
            retry_after_seconds: 0,
        }
    }

    #[test]
    fn every_refusal_has_its_meaning() {
        let unavailable = Kind::Unavailable { dependency: "cluster".into() };
        for (code, message, kind, error) in [
            (401, "Unauthorized", unavailable.clone(), "cluster_unauthorized"),
            (403, "user cannot create pods", Kind::Fatal, "cluster_forbidden"),
            (403, "pods \"a\" is forbidden: exceeded quota: tenant-quota", Kind::Retryable, "quota_exceeded"),
            (404, "namespaces \"a\" not found", Kind::Retryable, "object_missing"),
            (409, "the object has been modified", Kind::Retryable, "object_conflict"),
            (422, "spec.x: Invalid value", Kind::Fatal, "object_invalid"),
            (429, "too many requests", unavailable.clone(), "cluster_unavailable"),
            (500, "etcdserver: leader changed", unavailable.clone(), "cluster_unavailable"),
            (503, "apiserver is shutting down", unavailable, "cluster_unavailable"),
        ] {
            let refusal = refused("create", &Status::failure(message, "").with_code(code));
            assert_eq!((refusal.kind, refusal.code), (kind, error), "{code} {message}");
            assert!(!refusal.next_action.is_empty(), "{code} says what to do");
        }
    }

    #[test]
    fn a_terminating_namespace_is_waited_for() {
        let status = Status::failure("forbidden", "Forbidden").with_code(403).with_details(details(
            "configmaps",
            "NamespaceTerminating",
            "namespace a is being terminated",
        ));
        assert!(matches!(refused("create", &status).kind, Kind::Parked(_)));
    }

    #[test]
    fn a_refused_secret_does_not_show_its_content() {
        let status =
            Status::failure("Secret \"a\" is invalid: data[x]: Invalid value: \"hunter2\"", "Invalid")
                .with_code(422)
                .with_details(details("Secret", "FieldValueInvalid", "Invalid value: \"hunter2\""));
        let message = refused("create Secret a/b", &status).message;
        assert!(!message.contains("hunter2") && message.contains("data[x]"), "{message}");
    }
}
