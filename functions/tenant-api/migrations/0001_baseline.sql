-- A tenant's tables. Every one carries tenant_id, so that the same migrations serve a schema in the region's shared database
-- and a database of the tenant's own.

-- Settings of the tenant, one row a key.
CREATE TABLE configuration (
    tenant_id  uuid        NOT NULL,
    key        text        NOT NULL CHECK (key <> ''),
    value      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);

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

-- The tenant's people. Two spellings of one address are one person.
CREATE TABLE users (
    tenant_id      uuid        NOT NULL,
    id             uuid        NOT NULL DEFAULT gen_random_uuid(),
    email          text        NOT NULL CHECK (email LIKE '%_@_%'),
    display_name   text        NOT NULL DEFAULT '',
    role           text        NOT NULL,
    active         boolean     NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now(),
    -- Argon2id, in the PHC string format; none until an invitation is accepted.
    password_hash  text,
    -- The control plane's run that made this user; none for everybody else.
    created_by_run uuid,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, role) REFERENCES system_roles (tenant_id, name)
);
CREATE UNIQUE INDEX users_email ON users (tenant_id, lower(email));
-- One administrator is made by the control plane, and no more.
CREATE UNIQUE INDEX users_bootstrap ON users (tenant_id) WHERE created_by_run IS NOT NULL;

-- How people come in: by an invitation whose token is known by its hash only, and a password of their own choosing.
CREATE TABLE invitations (
    tenant_id   uuid        NOT NULL,
    token_hash  bytea       NOT NULL CHECK (octet_length(token_hash) = 32),
    user_id     uuid        NOT NULL,
    -- The control plane's order: a later one voids those before it, whichever comes first.
    number      bigint      NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    voided_at   timestamptz,
    accepted_at timestamptz,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX invitations_one_holds ON invitations (tenant_id, user_id)
    WHERE voided_at IS NULL AND accepted_at IS NULL;

-- Dashboards a user can start from.
CREATE TABLE dashboard_templates (
    tenant_id   uuid        NOT NULL,
    slug        text        NOT NULL CHECK (slug <> ''),
    title       text        NOT NULL,
    description text        NOT NULL DEFAULT '',
    layout      jsonb       NOT NULL,
    created_by  uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, slug),
    FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id)
);

-- What was asked to be written out, and what became of it. The files are in the instance's storage.
CREATE TABLE exports (
    tenant_id    uuid        NOT NULL,
    id           uuid        NOT NULL,
    state        text        NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    requested_at timestamptz NOT NULL DEFAULT now(),
    -- When its job was last given to the broker, or is about to be.
    queued_at    timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    -- How often it was begun. Counted before anything else is done: what ends the process is counted too.
    attempts     integer     NOT NULL DEFAULT 0,
    row_count    bigint,
    byte_count   bigint,
    sha256       bytea,
    -- A stable code and the reason, for people.
    error_code   text,
    error        text,
    PRIMARY KEY (tenant_id, id),
    CHECK ((state = 'done') = (sha256 IS NOT NULL)),
    CHECK ((state = 'failed') = (error_code IS NOT NULL))
);
