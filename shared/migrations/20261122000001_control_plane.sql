-- The control plane's state: tenants, their runs, what each phase did, and the append-only audit log.
-- Times are the database's own. Statuses are text with a check: a new one is a migration that reads as what it is.

CREATE TABLE tenants (
    id                        uuid PRIMARY KEY,
    slug                      text NOT NULL,
    name                      text NOT NULL,
    tier                      text NOT NULL CHECK (tier IN ('free', 'professional', 'enterprise')),
    region                    text NOT NULL,
    admin_email               text NOT NULL,
    compliance_required       boolean NOT NULL DEFAULT false,
    member_count              bigint NOT NULL DEFAULT 0 CHECK (member_count >= 0),
    monthly_api_calls         bigint NOT NULL DEFAULT 0 CHECK (monthly_api_calls >= 0),
    deployment_strategy       text NOT NULL CHECK (deployment_strategy IN ('shared', 'container_per_tenant')),
    deployment_reason         text NOT NULL,
    has_dedicated_database    boolean NOT NULL DEFAULT true,
    cost_center               text,
    alerting                  jsonb,
    on_failure                text NOT NULL DEFAULT 'rollback' CHECK (on_failure IN ('rollback', 'pause')),
    status                    text NOT NULL CHECK (status IN
                                  ('PENDING', 'PROVISIONING', 'ACTIVE', 'FAILED', 'SUSPENDED', 'DEPROVISIONING', 'DELETED')),
    provisioning_error        jsonb,
    created_by                text NOT NULL,
    audit_number              bigint NOT NULL DEFAULT 0,
    created_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    provisioning_started_at   timestamptz,
    provisioning_completed_at timestamptz,
    deleted_at                timestamptz
) WITH (fillfactor = 70);

-- A slug belongs to one living tenant. A deleted tenant's slug is free again only after the longest DNS TTL has passed
-- since deleted_at, which the insert checks (a partial index cannot look at the clock).
CREATE UNIQUE INDEX tenants_living_slug ON tenants (slug) WHERE deleted_at IS NULL;
CREATE INDEX tenants_slug_newest ON tenants (slug, created_at DESC);

CREATE TABLE tenant_domains (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    domain      text NOT NULL,
    is_primary  boolean NOT NULL DEFAULT false,
    verified_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, domain)
);

CREATE TABLE provisioning_runs (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants (id),
    kind            text NOT NULL CHECK (kind IN ('provision', 'deprovision')),
    status          text NOT NULL CHECK (status IN ('running', 'paused', 'stuck', 'succeeded', 'failed', 'abandoned')),
    direction       text NOT NULL CHECK (direction IN ('forward', 'backward')),
    phases          text[] NOT NULL,
    cursor          integer NOT NULL,
    seq             bigint NOT NULL DEFAULT 1,
    epoch           bigint NOT NULL DEFAULT 1,
    claim           uuid,
    lease_until     timestamptz,
    lost_at         timestamptz,
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sweep_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    sweeps          integer NOT NULL DEFAULT 0,
    request         jsonb,
    delete_after    boolean NOT NULL DEFAULT false,
    abandoning      boolean NOT NULL DEFAULT false,
    pause_reason    jsonb,
    leftovers       jsonb,
    actor           text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at     timestamptz,
    queue_deleted   boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX provisioning_runs_one_unfinished ON provisioning_runs (tenant_id) WHERE finished_at IS NULL;
CREATE INDEX provisioning_runs_by_tenant ON provisioning_runs (tenant_id, created_at);
-- The sweeper's index names no column that a transition changes, so that transitions stay heap-only updates.
CREATE INDEX provisioning_runs_unfinished ON provisioning_runs (id) WHERE finished_at IS NULL;
CREATE INDEX provisioning_runs_queue_left ON provisioning_runs (id) WHERE finished_at IS NOT NULL AND NOT queue_deleted;

-- Position -1 is the inventory that ends every backward run; the phases of the frozen list count from 0.
CREATE TABLE provisioning_phases (
    run_id            uuid NOT NULL REFERENCES provisioning_runs (id),
    position          integer NOT NULL,
    name              text NOT NULL,
    state             text NOT NULL DEFAULT 'pending' CHECK (state IN
                          ('pending', 'running', 'waiting', 'done', 'failed', 'reverting', 'reverted', 'skipped')),
    plan              jsonb,
    checkpoint        jsonb,
    schema_version    integer NOT NULL DEFAULT 1,
    operations        jsonb NOT NULL DEFAULT '[]',
    failures          integer NOT NULL DEFAULT 0,
    lost              integer NOT NULL DEFAULT 0,
    total_failures    integer NOT NULL DEFAULT 0,
    waits             integer NOT NULL DEFAULT 0,
    wait_key          text,
    wait_since        timestamptz,
    waiting_on        text,
    unavailable_since timestamptz,
    error             jsonb,
    started_at        timestamptz,
    finished_at       timestamptz,
    reverted_at       timestamptz,
    PRIMARY KEY (run_id, position)
) WITH (fillfactor = 50);

CREATE TABLE tenant_phases (
    tenant_id      uuid NOT NULL REFERENCES tenants (id),
    position       integer NOT NULL,
    name           text NOT NULL,
    plan           jsonb NOT NULL,
    checkpoint     jsonb,
    schema_version integer NOT NULL DEFAULT 1,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 70);

CREATE TABLE provisioning_audit_logs (
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    number     bigint NOT NULL,
    run_id     uuid,
    seq        bigint,
    action     text NOT NULL,
    phase      text,
    actor      text NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}',
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, number)
);

CREATE FUNCTION provisioning_audit_logs_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'provisioning_audit_logs is append-only';
END $$;
CREATE TRIGGER provisioning_audit_logs_append_only BEFORE UPDATE OR DELETE ON provisioning_audit_logs
    FOR EACH ROW EXECUTE FUNCTION provisioning_audit_logs_append_only();

CREATE TABLE outbox (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id),
    sink         text NOT NULL CHECK (sink IN ('kafka', 'email', 'operators', 'license')),
    type         text NOT NULL,
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz
);
CREATE INDEX outbox_undelivered ON outbox (tenant_id, sink, created_at) WHERE delivered_at IS NULL;

CREATE TABLE idempotency_keys (
    key        text NOT NULL,
    actor      text NOT NULL,
    body_hash  bytea NOT NULL,
    status     smallint NOT NULL,
    response   jsonb NOT NULL,
    headers    jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (actor, key)
);

-- One switch that pauses all dispatching.
CREATE TABLE dispatching (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    paused   boolean NOT NULL DEFAULT false,
    by       text,
    since    timestamptz
);
INSERT INTO dispatching DEFAULT VALUES;
