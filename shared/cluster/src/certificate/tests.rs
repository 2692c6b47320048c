use serde_json::json;

use super::*;

const BACKOFF: Backoff = Backoff { first: 3600.0, cap: 32.0 * 3600.0 };

fn certificate(status: &Value) -> Certificate {
    serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": { "name": "acme-tls-certificate", "namespace": "matih-acme", "uid": "c", "generation": 2 },
        "spec": {}, "status": status,
    }))
    .unwrap()
}

fn object(name: &str, owner: &str, spec: &Value, status: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "uid": name, "creationTimestamp": "2026-11-22T06:00:00Z",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "X", "name": owner, "uid": owner }],
        },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn failed() -> Value {
    json!({
        "conditions": [
            { "type": "Ready", "status": "False", "reason": "DoesNotExist", "observedGeneration": 2 },
            { "type": "Issuing", "status": "False", "reason": "Failed", "message": "has failed", "observedGeneration": 2 },
        ],
        "lastFailureTime": "2026-11-22T06:00:00Z", "failedIssuanceAttempts": 2,
    })
}

#[test]
fn what_is_said_of_an_older_generation_does_not_count() {
    let at = |ready: &str, generation: i64| {
        certificate(&json!({
            "conditions": [{ "type": "Ready", "status": ready, "observedGeneration": generation }],
            "notAfter": "2027-02-20T06:00:00Z",
        }))
        .issuance()
    };
    assert_eq!(at("True", 2), Issuance::Ready { not_after: "2027-02-20T06:00:00Z".parse().ok() });
    assert_eq!(at("True", 1), Issuance::Pending);
    assert_eq!(at("False", 2), Issuance::Pending);
    assert_eq!(certificate(&failed()).issuance(), Issuance::Failed);
    assert_eq!(certificate(&json!({})).issuance(), Issuance::Pending);
}

#[test]
fn the_deepest_reason_is_shown_with_the_time_of_the_next_attempt() {
    let words = |status: &Value,
                 requests: &[DynamicObject],
                 orders: &[DynamicObject],
                 challenges: &[DynamicObject]| {
        let said = trail::words(&certificate(status), requests, orders, challenges, BACKOFF);
        said.strip_prefix("Certificate matih-acme/acme-tls-certificate: ").unwrap().to_owned()
    };
    let issuing = json!({ "conditions": [
        { "type": "Ready", "status": "False", "reason": "DoesNotExist", "message": "no Secret" },
        { "type": "Issuing", "status": "True", "reason": "DoesNotExist", "message": "Issuing certificate as Secret does not exist" },
    ] });
    assert_eq!(words(&json!({}), &[], &[], &[]), "cert-manager has not looked at it yet");
    assert_eq!(words(&issuing, &[], &[], &[]), "DoesNotExist: Issuing certificate as Secret does not exist");

    let pending = json!({ "conditions": [
        { "type": "Approved", "status": "True" },
        { "type": "Ready", "status": "False", "reason": "Pending", "message": "ClusterIssuer not found" },
    ] });
    let request = [object("r", "c", &json!({}), &pending), object("other", "x", &json!({}), &json!({}))];
    assert_eq!(words(&issuing, &request, &[], &[]), "Pending: ClusterIssuer not found");

    let order = [object("o", "r", &json!({}), &json!({ "state": "pending" }))];
    assert_eq!(words(&issuing, &request, &order, &[]), "order is pending");
    let errored =
        [object("o", "r", &json!({}), &json!({ "state": "errored", "reason": "429 rate limited" }))];
    assert_eq!(words(&issuing, &request, &errored, &[]), "order is errored: 429 rate limited");

    let challenge = |name: &str, wildcard: bool, status: &Value| {
        object(name, "o", &json!({ "dnsName": "acme.matih.ai", "wildcard": wildcard }), status)
    };
    let waiting = challenge("a", false, &json!({ "state": "pending", "reason": "Waiting for propagation" }));
    let valid = challenge("b", true, &json!({ "state": "valid" }));
    assert_eq!(
        words(&issuing, &request, &order, &[valid, waiting.clone()]),
        "challenge for acme.matih.ai is pending: Waiting for propagation"
    );
    let reason = "DNS update failed: dns: bad authentication";
    let unwritten = challenge("a", false, &json!({ "state": "pending", "reason": reason }));
    let said = words(&issuing, &request, &order, &[unwritten]);
    assert!(said.contains(&format!("is pending: {reason}; see that the parent zone delegates")), "{said}");
    let refused = challenge("c", true, &json!({ "state": "invalid", "reason": "no TXT record" }));
    assert_eq!(
        words(&failed(), &request, &order, &[waiting, refused]),
        "failed, challenge for *.acme.matih.ai is invalid: no TXT record; challenge for acme.matih.ai is pending: \
         Waiting for propagation; cert-manager tries again at 2026-11-22T08:00:00Z"
    );
}

#[test]
fn another_attempt_is_later_than_the_failure_and_keeps_what_else_is_said() {
    let mut status = failed();
    let now = "2026-11-22T06:00:00.7Z".parse().unwrap();
    mark_for_reissue(&mut status, &certificate(&failed()), now);
    assert_eq!(status["failedIssuanceAttempts"], 2);
    let conditions = status["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2);
    assert_eq!(conditions[0]["type"], "Ready");
    assert_eq!(
        conditions[1],
        json!({
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
            "message": "Certificate re-issuance manually triggered",
            "lastTransitionTime": "2026-11-22T06:00:01Z", "observedGeneration": 2,
        })
    );
    assert_eq!(certificate(&status).issuance(), Issuance::Pending);
}
