//! What a DNS server's refusals and silences mean to a phase.

use engine::phase::Error;

/// The dependency's name in `Unavailable`.
const DEPENDENCY: &str = "dns";

/// Longest part of an answer's text in an error.
const LIMIT: usize = 500;

/// The server cannot be reached, or cannot answer.
pub(super) fn unavailable(doing: &str, why: &str) -> Error {
    Error::unavailable(DEPENDENCY, "dns_unavailable", format!("{doing}: {why}"))
        .next("Bring the DNS server's API back; the run then continues on its own.")
}

/// The setting cannot be used.
pub(super) fn config(message: impl Into<String>) -> Error {
    Error::fatal("dns_config", message)
        .next("Correct [dns] in the platform file, then start the tenant again.")
}

/// The server's own refusal.
pub(super) fn refused(doing: &str, status: u16, said: &str) -> Error {
    let said: String = said.trim().chars().take(LIMIT).collect();
    let message = format!("{doing}: HTTP {status}: {said}");
    match status {
        // A credential is the same for every tenant: rolling the fleet back for a wrong one could not work either.
        401 => Error::unavailable(DEPENDENCY, "dns_unauthorized", message)
            .next("Renew the DNS server's credential; the run then continues on its own."),
        403 => Error::fatal("dns_forbidden", message)
            .next("Give this function's identity the permission that the message names, then start the tenant again."),
        408 | 429 | 500..=599 => unavailable(doing, &format!("HTTP {status}: {said}")),
        404 => Error::retryable("dns_missing", message)
            .next("Make the zone or resource group that [dns] names, or correct the setting; then retry."),
        409 | 412 => Error::retryable("dns_conflict", message)
            .next("Something else changes the same zone; find out what, then retry."),
        400 | 413 | 422 => {
            Error::fatal("dns_refused", message).next("Check [dns] in the platform file against what the server says.")
        }
        _ => Error::retryable("dns_failed", message).next("Look at the DNS server's log for the reason."),
    }
}

/// An answer that is not what the API promises.
pub(super) fn unreadable(doing: &str, error: impl std::fmt::Display) -> Error {
    Error::retryable("dns_answer", format!("{doing}: the answer cannot be read: {error}"))
        .next("Check that [dns] names the API of a supported DNS server.")
}

/// No answer came.
pub(super) fn lost(doing: &str, error: reqwest::Error) -> Error {
    unavailable(doing, &chain(&error.without_url()))
}

/// An error with its causes: the outermost alone says no more than "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
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

    #[test]
    fn every_refusal_has_its_meaning() {
        let down = Kind::Unavailable { dependency: "dns".into() };
        for (status, kind, code) in [
            (400, Kind::Fatal, "dns_refused"),
            (401, down.clone(), "dns_unauthorized"),
            (403, Kind::Fatal, "dns_forbidden"),
            (404, Kind::Retryable, "dns_missing"),
            (409, Kind::Retryable, "dns_conflict"),
            (412, Kind::Retryable, "dns_conflict"),
            (422, Kind::Fatal, "dns_refused"),
            (429, down.clone(), "dns_unavailable"),
            (500, down.clone(), "dns_unavailable"),
            (503, down, "dns_unavailable"),
        ] {
            let error = refused("create", status, "because");
            assert_eq!((&error.kind, error.code), (&kind, code), "{status}");
            assert!(!error.next_action.is_empty() && error.message.contains("because"), "{status}");
        }
    }
}
