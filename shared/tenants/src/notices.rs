//! Who is told of what becomes of a run: rows of the outbox, written with the transition.

use engine::decide::machine::Transition;
use engine::decide::run::{RunKind, RunStatus};
use engine::decide::verbs::{self, Situation};
use engine::phase::ErrorRecord;
use engine::store::{RunTransition, StoreError, StoreResult, TransitionContext};
use model::{PhaseName, Tenant, TenantStatus};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::phases;

/// Tells everybody concerned that a run has ended.
pub(crate) async fn tell_ended(
    connection: &mut PgConnection,
    written: &RunTransition<'_>,
) -> StoreResult<()> {
    let RunTransition { run_id, cause, to, .. } = *written;
    let events = events(cause, to);
    sqlx::query!(
        // The error is the tenant's, or the change's, as it is stored: a rollback has written it when it began, many
        // transitions ago.
        r#"INSERT INTO outbox (id, tenant_id, sink, type, payload)
           SELECT e.id, t.id, e.sink, e.type,
                  CASE WHEN r.error IS NOT NULL THEN e.payload || jsonb_build_object('error', r.error)
                       WHEN t.status = 'FAILED' THEN e.payload || jsonb_build_object('error', t.provisioning_error)
                       ELSE e.payload END
           FROM tenants t JOIN provisioning_runs r ON r.id = $6
                CROSS JOIN unnest($2::uuid[], $3::text[], $4::text[], $5::jsonb[]) AS e (id, sink, type, payload)
           WHERE t.id = $1"#,
        cause.tenant.id.0,
        &events.ids,
        &events.sinks,
        &events.types,
        &events.payloads,
        run_id.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Outbox rows, one for each event and sink, as columns.
#[derive(Default)]
struct Events {
    ids: Vec<Uuid>,
    sinks: Vec<String>,
    types: Vec<String>,
    payloads: Vec<Value>,
}

/// Who is told that a run has ended.
fn events(cause: &TransitionContext<'_>, to: &Transition) -> Events {
    let (kind, sinks): (_, &[&str]) = match to.tenant {
        Some(TenantStatus::Suspended) => ("tenant.suspended", &["kafka"]),
        Some(TenantStatus::Active) if cause.kind == RunKind::Change => ("tenant.resumed", &["kafka"]),
        None if cause.kind == RunKind::Change && to.status == RunStatus::Succeeded => {
            ("tenant.changed", &["kafka"])
        }
        // Those who use the tenant notice nothing of it; those who asked for the change do.
        None if cause.kind == RunKind::Change => ("tenant.change_failed", &["kafka", "operators"]),
        Some(TenantStatus::Active) => ("tenant.provisioned", &["kafka", "email"]),
        // Who uses a tenant that was to go has nothing to do about what is left of it.
        Some(TenantStatus::Failed) if cause.kind == RunKind::Deprovision => {
            ("tenant.deprovisioning_failed", &["kafka", "operators"])
        }
        Some(TenantStatus::Failed) => ("tenant.provisioning_failed", &["kafka", "email", "operators"]),
        Some(TenantStatus::Deleted) => ("tenant.deprovisioned", &["kafka"]),
        _ => return Events::default(),
    };
    let mut events = Events::default();
    for sink in sinks {
        events.ids.push(Uuid::now_v7());
        events.sinks.push((*sink).to_owned());
        events.types.push(kind.to_owned());
        events.payloads.push(about(cause.tenant));
    }
    events
}

/// Tells the operators that a run waits for one of them, since an error has stopped it. Nobody else: other programs and the
/// tenant's administrator are told how it ends.
pub(crate) async fn tell_halted(
    connection: &mut PgConnection,
    written: &RunTransition<'_>,
    error: &ErrorRecord,
) -> StoreResult<()> {
    let RunTransition { run_id, seq, cause, to } = *written;
    let at = sqlx::query!(
        r#"SELECT p.name, t.status FROM provisioning_phases p, tenants t
           WHERE p.run_id = $1 AND p.position = $2 AND t.id = $3"#,
        run_id.0,
        to.cursor,
        cause.tenant.id.0
    )
    .fetch_one(&mut *connection)
    .await?;
    let phase = PhaseName::from(at.name);
    let tenant = at.status.parse().map_err(StoreError::unreadable)?;
    let situation = Situation::of(tenant, Some((cause.kind, to.direction, to.status)));
    let skippable = phases::facts(&phase).is_some_and(|facts| facts.skippable);
    let mut payload = about(cause.tenant);
    payload["error"] = json!(error);
    payload["runId"] = json!(run_id);
    payload["seq"] = json!(seq);
    payload["phase"] = json!(phase);
    payload["runStatus"] = json!(to.status);
    payload["situation"] = json!(situation.to_string());
    payload["allowedActions"] = json!(verbs::allowed(situation, to.direction, to.cursor, skippable));
    sqlx::query!(
        "INSERT INTO outbox (id, tenant_id, sink, type, payload) VALUES ($1, $2, 'operators', 'tenant.run_waiting', $3)",
        Uuid::now_v7(),
        cause.tenant.id.0,
        payload
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What every row of the outbox about a run says of its tenant.
fn about(tenant: &Tenant) -> Value {
    json!({
        "tenantId": tenant.id, "slug": tenant.slug, "name": tenant.name, "tier": tenant.tier,
        "region": tenant.region, "adminEmail": tenant.admin_email,
    })
}
