-- How people come in: by an invitation whose token is known by its hash only, and a password of their own choosing.
ALTER TABLE users
    -- Argon2id, in the PHC string format; none until an invitation is accepted.
    ADD COLUMN password_hash  text,
    -- The control plane's run that made this user; none for everybody else.
    ADD COLUMN created_by_run uuid;
-- One administrator is made by the control plane, and no more.
CREATE UNIQUE INDEX users_bootstrap ON users (tenant_id) WHERE created_by_run IS NOT NULL;

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
