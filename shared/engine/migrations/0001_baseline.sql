-- The control plane's state: tenants, their runs, what each phase did, the append-only audit log, and what is to be told
-- about it. Times are the database's own. Statuses are text with a check: a new one is a migration that reads as what it is.

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
    created_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    provisioning_started_at   timestamptz,
    provisioning_completed_at timestamptz,
    deleted_at                timestamptz,
    -- What was chosen for the tenant's own tenant-api instead of what the platform says.
    container                 jsonb NOT NULL DEFAULT '{}',
    -- When a deletion that was asked for begins; none where there is none. Resuming the tenant takes it back.
    delete_at                 timestamptz,
    -- Its verified domains are not those that are served.
    domains_changed           boolean NOT NULL DEFAULT false,
    -- The number of its newest domain, which only grows: the number of one that was given up is never another's. A column of
    -- this row, because claiming a domain writes the row anyway, and happens seldom.
    domain_number             integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

-- A slug belongs to one living tenant. A deleted tenant's slug is free again only after the longest DNS TTL has passed
-- since deleted_at, which the insert checks (a partial index cannot look at the clock).
CREATE UNIQUE INDEX tenants_living_slug ON tenants (slug) WHERE deleted_at IS NULL;
CREATE INDEX tenants_slug_newest ON tenants (slug, created_at DESC);
-- Whether a region has living tenants.
CREATE INDEX tenants_living_by_region ON tenants (region) WHERE deleted_at IS NULL;
-- A transition writes neither column, so a run's updates of its tenant's row stay out of these two.
CREATE INDEX tenants_delete_at ON tenants (delete_at) WHERE delete_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX tenants_domains_changed ON tenants (id) WHERE domains_changed;

-- Every transition takes a number for its audit rows. Taken from the tenant's own row, each would write that wide row again
-- and look at all its checks; a row of its own is as good a lock.
CREATE TABLE tenant_audit_numbers (
    tenant_id uuid PRIMARY KEY,
    number    bigint NOT NULL
) WITH (fillfactor = 50);

-- A domain is claimed by one tenant, who shows with a record in it that it is theirs. Claims of deleted tenants, and claims
-- that were never shown to be true, are taken away by the next claim.
CREATE TABLE tenant_domains (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    domain      text NOT NULL,
    is_primary  boolean NOT NULL DEFAULT false,
    verified_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What the record holds. It is not a secret: it stands in the DNS.
    challenge   text NOT NULL DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
    -- The domain's certificate is named after it; it stays the domain's own.
    number      integer NOT NULL,
    PRIMARY KEY (tenant_id, domain)
);
CREATE UNIQUE INDEX tenant_domains_domain ON tenant_domains (domain);
CREATE UNIQUE INDEX tenant_domains_number ON tenant_domains (tenant_id, number);

-- Where a tenant's own compute is. A tenant of the pooled tenant-api has no row.
CREATE TABLE tenant_deployments (
    tenant_id      uuid PRIMARY KEY REFERENCES tenants (id),
    -- The Deployment's uid: another Deployment of the same name has another.
    container_id   text NOT NULL,
    namespace      text NOT NULL,
    name           text NOT NULL,
    -- How the control plane reaches it, and how the tenant does.
    endpoint       text NOT NULL,
    url            text NOT NULL,
    image          text NOT NULL,
    size           text NOT NULL,
    resources      jsonb NOT NULL,
    replicas       integer NOT NULL,
    created_by_run uuid NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Licences, sealed: the text under a data key, the data key under the key-encryption key `kek_id`. One is current for a
-- tenant; those that a later one has taken the place of stay, so that undoing the run that issued that one restores them.
CREATE TABLE tenant_licenses (
    id             uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenants (id),
    -- What the two sealed parts look like, should that ever change.
    format         smallint NOT NULL DEFAULT 1 CHECK (format = 1),
    sealed         bytea NOT NULL,
    wrapped_key    bytea NOT NULL,
    kek_id         text NOT NULL,
    signing_key_id text NOT NULL,
    issued_at      timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    created_by_run uuid NOT NULL,
    superseded_by  uuid,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    rewrapped_at   timestamptz,
    CHECK (expires_at > issued_at)
);
CREATE UNIQUE INDEX tenant_licenses_current ON tenant_licenses (tenant_id) WHERE superseded_by IS NULL;
CREATE INDEX tenant_licenses_by_tenant ON tenant_licenses (tenant_id);
CREATE INDEX tenant_licenses_expiring ON tenant_licenses (expires_at) WHERE superseded_by IS NULL;

-- A change of a living tenant is a run whose phases hold a new plan, and the previous plan when it is undone.
CREATE TABLE provisioning_runs (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants (id),
    kind            text NOT NULL CHECK (kind IN ('provision', 'deprovision', 'change')),
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
    queue_deleted   boolean NOT NULL DEFAULT false,
    -- What a change makes of the tenant. The tenant's row says it once the run has succeeded.
    change          jsonb,
    -- Why a change was undone. The tenant itself has no error: it is as it was.
    error           jsonb
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
    -- Of a change: what the phase held before it.
    before_plan       jsonb,
    before_checkpoint jsonb,
    PRIMARY KEY (run_id, position)
) WITH (fillfactor = 50);

-- What each phase holds for the tenant, whichever run made it so; a change starts from it, and a deprovisioning undoes it.
-- Without a foreign key, as the audit log is.
CREATE TABLE tenant_phases (
    tenant_id      uuid NOT NULL,
    position       integer NOT NULL,
    name           text NOT NULL,
    plan           jsonb NOT NULL,
    checkpoint     jsonb,
    schema_version integer NOT NULL DEFAULT 1,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 70);

-- Written once a transition, and without a foreign key: a look at the tenant's row for each would cost as much as the row
-- itself. The tenant is there: the statement that writes these rows has just locked its row of tenant_audit_numbers, and
-- tenants are never deleted.
CREATE TABLE provisioning_audit_logs (
    tenant_id  uuid NOT NULL,
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

-- What is to be told, and what the relay knows of a row that has not reached its sink.
CREATE TABLE outbox (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants (id),
    sink            text NOT NULL CHECK (sink IN ('kafka', 'email', 'operators', 'license', 'invitation')),
    type            text NOT NULL,
    payload         jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at    timestamptz,
    -- The order within a tenant: its rows are written under its lock, one transition after the other, so that a later
    -- one has the higher number whatever the clocks say.
    number          bigint GENERATED ALWAYS AS IDENTITY,
    attempts        integer NOT NULL DEFAULT 0,
    refusals        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity',
    claim           uuid,
    claimed_until   timestamptz,
    last_error      text,
    set_aside_at    timestamptz,
    -- An invitation's token, which nobody may read here: sealed as licences are, and erased when the row is delivered.
    sealed          bytea,
    wrapped_key     bytea,
    kek_id          text,
    -- When it was first refused: it is set aside only once it has been refused for some time, not only some number of times.
    refused_since   timestamptz,
    CONSTRAINT outbox_sealed_as_a_whole CHECK (num_nonnulls(sealed, wrapped_key, kek_id) IN (0, 3)),
    CONSTRAINT outbox_sealed_until_delivered CHECK (delivered_at IS NULL OR sealed IS NULL)
) WITH (fillfactor = 70);

-- Claims and failures change no indexed column, so that they stay heap-only updates; only leaving the index is not.
CREATE INDEX outbox_waiting ON outbox (sink, tenant_id, number) WHERE delivered_at IS NULL AND set_aside_at IS NULL;
CREATE INDEX outbox_set_aside ON outbox (sink, number) WHERE delivered_at IS NULL AND set_aside_at IS NOT NULL;

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

-- The regions that the API has made; those of the platform file are not here. What a region is, is the platform's section
-- `regions` as JSON, with references to secrets and never a secret. Every change takes a version that no region had before,
-- so that whoever holds one in memory can tell from the version whether it still holds.
CREATE SEQUENCE region_versions;
CREATE TABLE regions (
    key        text PRIMARY KEY,
    settings   jsonb NOT NULL,
    version    bigint NOT NULL DEFAULT nextval('region_versions'),
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT regions_key_is_a_dns_label CHECK (key ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$')
);

-- One switch that pauses all dispatching.
CREATE TABLE dispatching (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    paused   boolean NOT NULL DEFAULT false,
    by       text,
    since    timestamptz
);
INSERT INTO dispatching DEFAULT VALUES;
