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
-- Whether a region has living tenants.
CREATE INDEX tenants_living_by_region ON tenants (region) WHERE deleted_at IS NULL;
