-- The tenant's people. Two spellings of one address are one person.
CREATE TABLE users (
    tenant_id    uuid        NOT NULL,
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    email        text        NOT NULL CHECK (email LIKE '%_@_%'),
    display_name text        NOT NULL DEFAULT '',
    role         text        NOT NULL,
    active       boolean     NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, role) REFERENCES system_roles (tenant_id, name)
);

CREATE UNIQUE INDEX users_email ON users (tenant_id, lower(email));
