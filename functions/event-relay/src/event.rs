//! What other programs are told: CloudEvents 1.0 in structured mode.

use chrono::SecondsFormat;
use engine::store::Outgoing;
use serde_json::{Value, json};

/// The media type of a structured CloudEvent.
pub(crate) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// What of the payload goes out. The administrator's address stays in the house: whoever needs it may ask the API for it.
const FIELDS: [&str; 6] = ["tenantId", "slug", "name", "tier", "region", "error"];

/// The event of a row. `url` is where the tenant is.
pub(crate) fn cloud_event(row: &Outgoing, source: &str, url: &str) -> Value {
    let known = |field: &&str| row.payload.get(*field).is_some_and(|value| !value.is_null());
    let mut data: serde_json::Map<String, Value> = FIELDS
        .iter()
        .filter(|field| known(field))
        .map(|field| ((*field).to_owned(), row.payload[*field].clone()))
        .collect();
    data.insert("url".into(), url.into());
    json!({
        "specversion": "1.0",
        "id": row.id,
        "source": source,
        "type": row.kind,
        "subject": row.tenant_id,
        "time": row.created_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "datacontenttype": "application/json",
        "data": data,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use model::TenantId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_event_has_the_rows_id_and_no_address() {
        let row = Outgoing {
            id: Uuid::from_u128(7),
            number: 1,
            tenant_id: TenantId(Uuid::from_u128(8)),
            kind: "tenant.provisioned".into(),
            payload: json!({ "tenantId": Uuid::from_u128(8), "slug": "acme", "name": "Acme", "tier": "free",
                "region": "eastus", "adminEmail": "admin@acme.example", "error": null }),
            sealed: None,
            created_at: DateTime::UNIX_EPOCH,
            attempts: 3,
            refusals: 0,
            claim: Uuid::nil(),
        };
        assert_eq!(
            cloud_event(&row, "/tenantry", "https://acme.matih.ai"),
            json!({
                "specversion": "1.0",
                "id": "00000000-0000-0000-0000-000000000007",
                "source": "/tenantry",
                "type": "tenant.provisioned",
                "subject": "00000000-0000-0000-0000-000000000008",
                "time": "1970-01-01T00:00:00.000000Z",
                "datacontenttype": "application/json",
                "data": { "tenantId": "00000000-0000-0000-0000-000000000008", "slug": "acme", "name": "Acme",
                    "tier": "free", "region": "eastus", "url": "https://acme.matih.ai" },
            })
        );
    }
}
