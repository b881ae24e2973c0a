-- Schema 2: what schema 1 lacks. Added columns are NULL in runs of schema 1 ("not measured"), but for the loss columns,
-- which are 0 there: what was not measured was not lost.

-- The parts of a run, as its plan or load names them.
CREATE TABLE stage (
  run      INTEGER NOT NULL REFERENCES run (run),
  position INTEGER NOT NULL,
  name     TEXT NOT NULL,
  start_ns INTEGER NOT NULL,
  end_ns   INTEGER,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- Flows: payload of the transport; NULL where it was not counted.
ALTER TABLE flow ADD COLUMN initiator_payload_bytes INTEGER;
ALTER TABLE flow ADD COLUMN responder_payload_bytes INTEGER;
