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
