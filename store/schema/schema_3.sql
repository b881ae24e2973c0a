-- Schema 3: moments. Both tables hold only the top rows of a tick, so that a run with many threads or flows does not outgrow
-- its ticks. Runs of older schemas have none.

-- What a thread did in a tick: of each tick, the threads that ran and waited most.
CREATE TABLE thread_tick (
  run               INTEGER NOT NULL REFERENCES run (run),
  tick              INTEGER NOT NULL,
  thread            INTEGER NOT NULL,
  cpu_ns            INTEGER,
  run_queue_wait_ns INTEGER,
  run_queue_waits   INTEGER,
  PRIMARY KEY (run, tick, thread)
) STRICT, WITHOUT ROWID;

-- Messages that came late: of each tick, the latest, one a flow.
CREATE TABLE late_message (
  run         INTEGER NOT NULL REFERENCES run (run),
  tick        INTEGER NOT NULL,
  flow        INTEGER NOT NULL,
  time_ns     INTEGER NOT NULL,
  lateness_ns INTEGER NOT NULL,
  PRIMARY KEY (run, tick, flow)
) STRICT, WITHOUT ROWID;
