-- Schema 4: silence, requests that were never answered, and numbers that may be wrong. Runs of older schemas have 0 or NULL there.

ALTER TABLE tick ADD COLUMN periodic_flows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN silent_flows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN late_replies INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN overlapping_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN handshake_turns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN multiplexed_turns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN time_steps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN duplicate_packets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_ticks_unstored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN kernel_run_delay_ns INTEGER;
ALTER TABLE tick ADD COLUMN replies_multiplexed INTEGER;

-- HTTP replies whose status is an error, by stage.
ALTER TABLE load_part ADD COLUMN http_errors INTEGER NOT NULL DEFAULT 0;

ALTER TABLE flow ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;

-- Sentences about numbers of a run that may be wrong.
CREATE TABLE doubt (
  run      INTEGER NOT NULL REFERENCES run (run),
  position INTEGER NOT NULL,
  doubt    TEXT NOT NULL,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
