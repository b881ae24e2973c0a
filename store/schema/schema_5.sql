-- Schema 5: what a run's ticks add up to, stored when it ends, so that lists, gates and histories read one row per run.
-- Runs that were recorded before, or that were interrupted, have no rows here: their ticks are added up when read.
--
-- part: 'run', all ticks; 'measured', the ticks from the start of the load on, if there was one.
-- statistic: 'merged', each number merged by its kind; 'greatest', the greatest value that it had at any tick.
-- Tables tick and total have a column for each plain number (docs/numbers.md). A number that is newer than the file
-- has no column: topspin adds the column when it records into the file, and reads NULL until then. @NUMBERS@ stands for one
-- "name INTEGER," per number.

CREATE TABLE total (
  run            INTEGER NOT NULL REFERENCES run (run),
  part           TEXT NOT NULL,
  statistic      TEXT NOT NULL,
  ticks          INTEGER NOT NULL,
  half_open_before INTEGER NOT NULL,
  tick           INTEGER NOT NULL,
  monotonic_ns   INTEGER NOT NULL,
  elapsed_ns     INTEGER NOT NULL,
  interval_ns    INTEGER NOT NULL,
  flows_begin_ns INTEGER NOT NULL,
  flows_end_ns   INTEGER NOT NULL,
  @NUMBERS@
  PRIMARY KEY (run, part, statistic)
) STRICT, WITHOUT ROWID;

CREATE TABLE total_histogram (
  run  INTEGER NOT NULL REFERENCES run (run),
  part TEXT NOT NULL,
  name TEXT NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (run, part, name)
) STRICT;

CREATE TABLE total_counter (
  run        INTEGER NOT NULL REFERENCES run (run),
  part       TEXT NOT NULL,
  name       TEXT NOT NULL,
  count      INTEGER NOT NULL,
  enabled_ns INTEGER NOT NULL,
  running_ns INTEGER NOT NULL,
  PRIMARY KEY (run, part, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE total_cpu (
  run              INTEGER NOT NULL REFERENCES run (run),
  part             TEXT NOT NULL,
  cpu              INTEGER NOT NULL,
  switches         INTEGER NOT NULL,
  waits            INTEGER NOT NULL,
  wait_ns          INTEGER NOT NULL,
  queue_samples    INTEGER NOT NULL,
  queue_length_sum INTEGER NOT NULL,
  queue_length_max INTEGER NOT NULL,
  PRIMARY KEY (run, part, cpu)
) STRICT, WITHOUT ROWID;
