-- Settings of the tenant, one row a key. Every table carries tenant_id, so that the same migrations serve a
-- schema in the region's shared database and a database of the tenant's own.
CREATE TABLE configuration (
    tenant_id  uuid        NOT NULL,
    key        text        NOT NULL CHECK (key <> ''),
    value      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
