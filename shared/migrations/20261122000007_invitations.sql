-- Invitations wait in the outbox, each with a token that nobody may read there: sealed as licences are, and erased when the
-- row is delivered.
ALTER TABLE outbox DROP CONSTRAINT outbox_sink_check;
ALTER TABLE outbox
    ADD CONSTRAINT outbox_sink_check CHECK (sink IN ('kafka', 'email', 'operators', 'license', 'invitation')),
    ADD COLUMN sealed      bytea,
    ADD COLUMN wrapped_key bytea,
    ADD COLUMN kek_id      text,
    ADD CONSTRAINT outbox_sealed_as_a_whole CHECK (num_nonnulls(sealed, wrapped_key, kek_id) IN (0, 3)),
    ADD CONSTRAINT outbox_sealed_until_delivered CHECK (delivered_at IS NULL OR sealed IS NULL);
