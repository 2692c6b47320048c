-- What the relay knows of a row that has not reached its sink. `number` is the order within a tenant: its rows are written
-- under its row's lock, one transition after the other, so that a later one has the higher number whatever the clocks say.
ALTER TABLE outbox
    ADD COLUMN number          bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN attempts        integer NOT NULL DEFAULT 0,
    ADD COLUMN refusals        integer NOT NULL DEFAULT 0,
    ADD COLUMN next_attempt_at timestamptz NOT NULL DEFAULT '-infinity',
    ADD COLUMN claim           uuid,
    ADD COLUMN claimed_until   timestamptz,
    ADD COLUMN last_error      text,
    ADD COLUMN set_aside_at    timestamptz;

-- Claims and failures change no indexed column, so that they stay heap-only updates; only leaving the index is not.
ALTER TABLE outbox SET (fillfactor = 70);
DROP INDEX outbox_undelivered;
CREATE INDEX outbox_waiting ON outbox (sink, tenant_id, number) WHERE delivered_at IS NULL AND set_aside_at IS NULL;
CREATE INDEX outbox_set_aside ON outbox (sink, number) WHERE delivered_at IS NULL AND set_aside_at IS NOT NULL;
