-- What a user may do. Rows with is_system are made by the platform and not edited by the tenant.
CREATE TABLE system_roles (
    tenant_id   uuid        NOT NULL,
    name        text        NOT NULL CHECK (name <> ''),
    description text        NOT NULL,
    permissions text[]      NOT NULL,
    is_system   boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);
