//! cert-manager's reasons, from the Certificate down to the challenges, in one line. Pure.

use chrono::{SecondsFormat, TimeDelta};
use kube::core::{DynamicObject, ObjectMeta};
use serde_json::Value;

use super::{Certificate, ISSUING, Issuance, READY};

/// Challenges that are named; the rest say the same.
const NAMED: usize = 2;

/// How cert-manager begins what it says of an update that a DNS server has refused.
const UPDATE_FAILED: &str = "DNS update failed";

/// What an operator does about that.
const LOOK_AT_THE_ZONE: &str = "see that the parent zone delegates to the tenant's, and that the tenant's takes updates by the issuer's key";

/// How long cert-manager waits after failed attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Seconds after the first; doubles each time.
    pub first: f64,
    /// The most.
    pub cap: f64,
}

/// `Certificate matih-acme/acme-tls-certificate: challenge for acme.matih.ai is pending: …`, and of a failed one the
/// time of the next attempt besides.
pub(super) fn words(
    certificate: &Certificate,
    requests: &[DynamicObject],
    orders: &[DynamicObject],
    challenges: &[DynamicObject],
    backoff: Backoff,
) -> String {
    let metadata = &certificate.metadata;
    let named = format!(
        "Certificate {}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    );
    let request = requests.iter().filter(|it| is_of(it, metadata)).max_by_key(|it| newest(it));
    let order = request.and_then(|request| {
        orders.iter().filter(|it| is_of(it, &request.metadata)).max_by_key(|it| newest(it))
    });
    let reason = order
        .and_then(|order| of_challenges(order, challenges))
        .or_else(|| order.and_then(of_order))
        .or_else(|| request.and_then(of_request))
        .or_else(|| of_certificate(certificate))
        .unwrap_or_else(|| "cert-manager has not looked at it yet".into());
    match next_attempt(certificate, backoff) {
        Some(at) => format!("{named}: failed, {reason}; cert-manager tries again at {at}"),
        None => format!("{named}: {reason}"),
    }
}

fn is_of(object: &DynamicObject, owner: &ObjectMeta) -> bool {
    let owners = object.metadata.owner_references.iter().flatten();
    owner.uid.is_some() && owners.into_iter().any(|reference| Some(&reference.uid) == owner.uid.as_ref())
}

/// Two of one second are told apart by their names.
fn newest(object: &DynamicObject) -> (Option<String>, Option<String>) {
    let metadata = &object.metadata;
    (metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()), metadata.name.clone())
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str().filter(|text| !text.is_empty())
}

/// The challenges that are not valid; a refused one says more than one that waits for its turn.
fn of_challenges(order: &DynamicObject, challenges: &[DynamicObject]) -> Option<String> {
    let mut open: Vec<(bool, String)> = Vec::new();
    for challenge in challenges.iter().filter(|it| is_of(it, &order.metadata)) {
        let (spec, status) = (&challenge.data["spec"], &challenge.data["status"]);
        let state = text(status, "state").unwrap_or("pending");
        if state == "valid" {
            continue;
        }
        let wildcard = if spec["wildcard"] == true { "*." } else { "" };
        let host = text(spec, "dnsName").unwrap_or_default();
        let reason = text(status, "reason").map(|reason| format!(": {reason}")).unwrap_or_default();
        let refused = state != "pending" && state != "processing" && state != "ready";
        open.push((!refused, format!("challenge for {wildcard}{host} is {state}{reason}")));
    }
    open.sort();
    let mut words: Vec<String> = open.into_iter().take(NAMED).map(|(_, words)| words).collect();
    // cert-manager updates whatever zone it finds above the name, and only says how that one's server refused.
    if words.iter().any(|words| words.contains(UPDATE_FAILED)) {
        words.push(LOOK_AT_THE_ZONE.to_owned());
    }
    (!words.is_empty()).then(|| words.join("; "))
}

fn of_order(order: &DynamicObject) -> Option<String> {
    let status = &order.data["status"];
    let (state, reason) = (text(status, "state"), text(status, "reason"));
    match (state, reason) {
        (Some("valid"), _) | (None, None) => None,
        (state, Some(reason)) => Some(format!("order is {}: {reason}", state.unwrap_or("pending"))),
        (Some(state), None) => Some(format!("order is {state}")),
    }
}

fn of_request(request: &DynamicObject) -> Option<String> {
    let conditions = request.data["status"]["conditions"].as_array()?;
    let find = |kind: &str| conditions.iter().find(|it| it["type"] == kind && it["status"] != "Unknown");
    let refused = ["Denied", "InvalidRequest"].into_iter().filter_map(find).find(|it| it["status"] == "True");
    let condition = refused.or_else(|| find(READY))?;
    Some(said(text(condition, "reason"), text(condition, "message")))
}

fn of_certificate(certificate: &Certificate) -> Option<String> {
    let conditions = &certificate.status.as_ref()?.conditions;
    let condition =
        [ISSUING, READY].into_iter().find_map(|kind| conditions.iter().find(|it| it.kind == kind))?;
    Some(said(condition.reason.as_deref(), condition.message.as_deref()))
}

fn said(reason: Option<&str>, message: Option<&str>) -> String {
    match (reason, message.filter(|message| !message.is_empty())) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (reason, message) => reason.or(message).unwrap_or("no reason given").to_owned(),
    }
}

/// cert-manager's own rule: the first wait, doubled with each failure, up to the longest.
fn next_attempt(certificate: &Certificate, backoff: Backoff) -> Option<String> {
    if certificate.issuance() != Issuance::Failed {
        return None;
    }
    let status = certificate.status.as_ref()?;
    let failures = i32::try_from(status.failed_issuance_attempts.unwrap_or(1).clamp(1, 32)).unwrap_or(1);
    let seconds = (backoff.first * 2f64.powi(failures - 1)).min(backoff.cap);
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds within a few days")]
    let wait = TimeDelta::seconds(seconds as i64);
    let at = status.last_failure_time?.checked_add_signed(wait)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
