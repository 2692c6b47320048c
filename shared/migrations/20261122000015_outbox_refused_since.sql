-- When a row was first refused: it is set aside only once it has been refused for some time, not only some number of times.
ALTER TABLE outbox ADD COLUMN refused_since timestamptz;
