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

-- The gate's log. Runs are named by id, not by number: an acceptance outlives the runs that it speaks of.
CREATE TABLE acceptance (
  position         INTEGER PRIMARY KEY,
  accepted_wall_ns INTEGER NOT NULL,
  kind             TEXT NOT NULL CHECK (kind IN ('baseline', 'change')),
  run_id           TEXT,
  series           TEXT,
  row_index        INTEGER,
  metric           TEXT,
  because          TEXT NOT NULL,
  CHECK ((run_id IS NULL) = (series IS NOT NULL AND row_index IS NOT NULL))
) STRICT;

CREATE TABLE judgement (
  position       INTEGER PRIMARY KEY,
  judged_wall_ns INTEGER NOT NULL,
  mode           TEXT NOT NULL,
  verdict        TEXT NOT NULL,
  exit_code      INTEGER NOT NULL,
  seed           INTEGER NOT NULL,
  document       TEXT NOT NULL
) STRICT;
