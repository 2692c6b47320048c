//! Whom the alerts reach: an Alertmanager of the tenant's own, its routing, and the Secret that it logs in with.

use engine::phase::{Error, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use model::secret::{Secret, SecretRef};
use serde_json::{Value, json};

use crate::Plan;
use crate::kinds::{Alertmanager, AlertmanagerConfig};
use crate::prometheus::{merge, ours, own_namespace, within};
use crate::shares::{Share, pod};

/// The Secret with what the channels need.
pub(crate) const SECRET: &str = "alert-channels";
/// The routing, and the receiver in it.
pub(crate) const ROUTING: &str = "tenant";
/// The Secret's keys.
const SLACK: &str = "slack-webhook-url";
const MAIL: &str = "mail-password";

/// Where each key of the Secret comes from.
pub(crate) fn references(plan: &Plan) -> Vec<(&'static str, &SecretRef)> {
    let slack = plan.slack_webhook.as_ref().map(|reference| (SLACK, reference));
    let mail = plan.mail.password.as_ref().map(|reference| (MAIL, reference));
    slack.into_iter().chain(mail).collect()
}

/// The Secret, once its values are read. A webhook that is no https URL is refused without repeating it.
pub(crate) fn secret(plan: &Plan, values: &[(&'static str, Secret)]) -> Result<v1::Secret> {
    for (key, value) in values {
        if *key == SLACK && !value.expose().starts_with("https://") {
            return Err(Error::retryable(
                "secret_unusable",
                "the Slack webhook's secret is not an https URL",
            )
            .next("Put the webhook's whole URL where the reference says, then retry."));
        }
    }
    let data = values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.expose().into())));
    Ok(v1::Secret { metadata: within(plan, SECRET), data: Some(data.collect()), ..v1::Secret::default() })
}

/// All of the tenant's alerts go to one receiver: by e-mail, and to Slack where there is a webhook.
pub(crate) fn routing(plan: &Plan) -> AlertmanagerConfig {
    let mail = &plan.mail;
    let mut email = json!({
        "to": plan.email,
        "from": mail.from,
        "smarthost": format!("{}:{}", mail.host, mail.port),
        "requireTLS": mail.require_tls,
        "sendResolved": true,
    });
    if let Some(username) = &mail.username {
        email["authUsername"] = username.as_str().into();
    }
    if mail.password.is_some() {
        email["authPassword"] = json!({ "name": SECRET, "key": MAIL });
    }
    let mut receiver = json!({ "name": ROUTING, "emailConfigs": [email] });
    if plan.slack_webhook.is_some() {
        receiver["slackConfigs"] = json!([{
            "apiURL": { "name": SECRET, "key": SLACK },
            "sendResolved": true,
            "title": "{{ .CommonLabels.alertname }} ({{ .CommonLabels.severity }}) in {{ .CommonLabels.namespace }}",
            "text": "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ end }}",
        }]);
    }
    let spec: Value = json!({
        "receivers": [receiver],
        "route": {
            "receiver": ROUTING,
            "groupBy": ["alertname", "severity"],
            "groupWait": "30s",
            "groupInterval": "5m",
            "repeatInterval": "12h",
            // What is critical is said again sooner.
            "routes": [{
                "receiver": ROUTING,
                "matchers": [{ "name": "severity", "value": "critical", "matchType": "=" }],
                "repeatInterval": "1h",
            }],
        },
    });
    AlertmanagerConfig::new(within(plan, ROUTING), spec)
}

/// The Alertmanager, which the operator runs as the StatefulSet `alertmanager-{slug}`.
pub(crate) fn alertmanager(plan: &Plan) -> Alertmanager {
    let mut spec = pod(plan, "alertmanager", &Share::ALERTMANAGER);
    let more = json!({
        "version": plan.alertmanager_version,
        "alertmanagerConfigSelector": ours(plan),
        "alertmanagerConfigNamespaceSelector": own_namespace(plan),
        "automountServiceAccountToken": false,
    });
    merge(&mut spec, more);
    Alertmanager::new(within(plan, plan.slug.as_str()), spec)
}
