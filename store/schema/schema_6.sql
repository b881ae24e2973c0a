-- Schema 6. The addresses that the subject called. The counts are those at the end of the run.
CREATE TABLE called (
  run                 INTEGER NOT NULL REFERENCES run (run),
  number              INTEGER NOT NULL,
  protocol            INTEGER NOT NULL,
  ip_version          INTEGER NOT NULL,
  address             TEXT NOT NULL,
  port                INTEGER NOT NULL,
  requests            INTEGER NOT NULL,
  unanswered          INTEGER NOT NULL,
  resets              INTEGER NOT NULL,
  refused             INTEGER NOT NULL,
  never_completed     INTEGER NOT NULL,
  http_errors         INTEGER NOT NULL,
  hidden_connections  INTEGER NOT NULL,
  hidden_by_interface INTEGER NOT NULL,
  latency_ns          BLOB NOT NULL,
  PRIMARY KEY (run, number)
) STRICT;

-- The slowest replies of a run, one by one. The parts add up to total_ns.
CREATE TABLE slow_reply (
  row                  INTEGER PRIMARY KEY,
  run                  INTEGER GENERATED ALWAYS AS (row >> 32) VIRTUAL,
  tick                 INTEGER NOT NULL,
  protocol             INTEGER NOT NULL,
  ip_version           INTEGER NOT NULL,
  local_address        TEXT NOT NULL,
  local_port           INTEGER NOT NULL,
  remote_address       TEXT NOT NULL,
  remote_port          INTEGER NOT NULL,
  reader_tid           INTEGER NOT NULL,
  sender_tid           INTEGER NOT NULL,
  sender               TEXT,
  ready_monotonic_ns   INTEGER NOT NULL,
  total_ns             INTEGER NOT NULL,
  unread_busy_ns       INTEGER NOT NULL,
  unread_cpu_queue_ns  INTEGER NOT NULL,
  unread_asleep_ns     INTEGER NOT NULL,
  unread_stopped_ns    INTEGER NOT NULL,
  unread_unknown_ns    INTEGER NOT NULL,
  on_cpu_ns            INTEGER NOT NULL,
  inside_cpu_queue_ns  INTEGER NOT NULL,
  between_threads_ns   INTEGER NOT NULL,
  held_ns              INTEGER NOT NULL,
  inside_unknown_ns    INTEGER NOT NULL,
  asleep_futex_ns      INTEGER NOT NULL,
  asleep_poll_ns       INTEGER NOT NULL,
  asleep_socket_ns     INTEGER NOT NULL,
  asleep_pipe_ns       INTEGER NOT NULL,
  asleep_disk_ns       INTEGER NOT NULL,
  asleep_sleep_ns      INTEGER NOT NULL,
  asleep_child_ns      INTEGER NOT NULL,
  asleep_page_fault_ns INTEGER NOT NULL,
  inside_stopped_ns    INTEGER NOT NULL,
  asleep_other_ns      INTEGER NOT NULL
) STRICT;

-- Who had the CPUs while the subject's threads waited for them, and what each thread slept on. Runs that were
-- recorded before have no rows and NULL there.

CREATE TABLE cpu_holder (
  run       INTEGER NOT NULL REFERENCES run (run),
  holder    INTEGER NOT NULL,
  kind      TEXT NOT NULL,
  name      TEXT,
  cgroup    TEXT,
  pid       INTEGER NOT NULL,
  processes INTEGER NOT NULL,
  held_ns   INTEGER NOT NULL,
  PRIMARY KEY (run, holder)
) STRICT, WITHOUT ROWID;

ALTER TABLE thread ADD COLUMN busy_stretch_max_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_futex INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_futex_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_poll INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_poll_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_socket INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_socket_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_pipe INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_pipe_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_disk INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_disk_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_sleep INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_sleep_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_wait INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_wait_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_page_fault INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_page_fault_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_stopped INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_stopped_ns INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_other INTEGER;
ALTER TABLE thread ADD COLUMN blocked_by_other_ns INTEGER;
