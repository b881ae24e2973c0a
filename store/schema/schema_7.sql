-- Schema 7. Where the subject's threads slept, of a run with --stacks, as it stood at the end. Runs that were recorded
-- before have no rows.
CREATE TABLE sleep_stack (
  run         INTEGER NOT NULL REFERENCES run (run),
  sleep_stack INTEGER NOT NULL,
  thread      TEXT,
  frames      TEXT,
  blocked_by  TEXT NOT NULL,
  woken_by    TEXT,
  sleeps      INTEGER NOT NULL,
  slept_ns    INTEGER NOT NULL,
  PRIMARY KEY (run, sleep_stack)
) STRICT;
