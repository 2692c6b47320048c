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
