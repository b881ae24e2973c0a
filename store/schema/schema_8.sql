-- Schema 8. The longest busy stretches of a run with --stacks, and in which stacks each one's thread was sampled. Runs
-- that were recorded before have no rows.
CREATE TABLE busy_stretch (
  run                INTEGER NOT NULL REFERENCES run (run),
  stretch            INTEGER NOT NULL,
  tick               INTEGER NOT NULL,
  pid                INTEGER NOT NULL,
  tid                INTEGER NOT NULL,
  thread             TEXT,
  began_monotonic_ns INTEGER NOT NULL,
  length_ns          INTEGER NOT NULL,
  cpu_ns             INTEGER NOT NULL,
  samples            INTEGER NOT NULL,
  samples_cut        INTEGER NOT NULL,
  PRIMARY KEY (run, stretch)
) STRICT, WITHOUT ROWID;

CREATE TABLE busy_stretch_stack (
  run     INTEGER NOT NULL REFERENCES run (run),
  stretch INTEGER NOT NULL,
  stack   INTEGER NOT NULL,
  samples INTEGER NOT NULL,
  PRIMARY KEY (run, stretch, stack)
) STRICT, WITHOUT ROWID;
