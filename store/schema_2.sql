-- Schema 2: what schema 1 lacks. Added columns are NULL in runs of schema 1 ("not measured"), but for the loss columns,
-- which are 0 there: what was not measured was not lost.

-- The parts of a run, as its plan or load names them.
CREATE TABLE stage (
  run      INTEGER NOT NULL REFERENCES run (run),
  position INTEGER NOT NULL,
  name     TEXT NOT NULL,
  kind     TEXT NOT NULL,
  start_ns INTEGER NOT NULL,
  end_ns   INTEGER,
  clients_from INTEGER,
  clients_to   INTEGER,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- The plan that a run was made by.
CREATE TABLE plan (
  run      INTEGER PRIMARY KEY REFERENCES run (run),
  session  TEXT,
  name     TEXT,
  text     TEXT,
  subject  TEXT,
  seed     INTEGER NOT NULL,
  position INTEGER NOT NULL,
  repeat   INTEGER NOT NULL
) STRICT;

-- The load of a run, as the generator saw it.
CREATE TABLE load (
  run                  INTEGER PRIMARY KEY REFERENCES run (run),
  workload             TEXT NOT NULL,
  target               TEXT,
  expects_replies      INTEGER NOT NULL,
  started_wall_ns      INTEGER NOT NULL,
  started_monotonic_ns INTEGER NOT NULL,
  stopped_early        INTEGER NOT NULL,
  clients_max          INTEGER NOT NULL,
  clients_joined       INTEGER NOT NULL,
  planned              INTEGER NOT NULL,
  has_plan             INTEGER NOT NULL,
  closed_loop          INTEGER NOT NULL,
  gso                  INTEGER NOT NULL,
  bytes_received       INTEGER NOT NULL,
  port_unreachable     INTEGER NOT NULL,
  connect_latency      BLOB NOT NULL,

  tcp_connected          INTEGER,
  tcp_refused            INTEGER,
  tcp_syn_retries        INTEGER,
  tcp_reset_before_bytes INTEGER,
  tcp_reset_after_bytes  INTEGER,
  tcp_truncated          INTEGER,
  tcp_timeouts           INTEGER,
  tcp_failed             INTEGER,
  tcp_closed_by_peer     INTEGER,
  http_body_bytes        INTEGER,

  kernel_udp_rcvbuf_errors    INTEGER,
  kernel_udp_no_ports         INTEGER,
  kernel_tcp_passive_opens    INTEGER,
  kernel_tcp_listen_overflows INTEGER,
  kernel_tcp_listen_drops     INTEGER,

  own_wall_ns         INTEGER NOT NULL,
  own_cpu_ns          INTEGER NOT NULL,
  own_host_busy_ns    INTEGER,
  own_host_steal_ns   INTEGER,
  own_cpus            INTEGER NOT NULL,
  own_receive_drops   INTEGER NOT NULL,
  own_rss_bytes       INTEGER NOT NULL,
  own_descriptors_max INTEGER NOT NULL,
  own_shared_sockets  INTEGER NOT NULL,
  own_sockets_opened  INTEGER NOT NULL
) STRICT;

-- Its stages, from position 1, and at position 0 the whole.
CREATE TABLE load_part (
  run             INTEGER NOT NULL REFERENCES run (run),
  position        INTEGER NOT NULL,
  name            TEXT,
  begin_ns        INTEGER NOT NULL,
  end_ns          INTEGER NOT NULL,
  clients_from    INTEGER NOT NULL,
  clients_to      INTEGER NOT NULL,
  scheduled       INTEGER NOT NULL,
  sent            INTEGER NOT NULL,
  sent_late       INTEGER NOT NULL,
  send_errors     INTEGER NOT NULL,
  never_scheduled INTEGER NOT NULL,
  blocked         INTEGER NOT NULL,
  replied         INTEGER NOT NULL,
  late_replies    INTEGER NOT NULL,
  lost            INTEGER NOT NULL,
  duplicates      INTEGER NOT NULL,
  unexpected      INTEGER NOT NULL,
  dead_clients    INTEGER NOT NULL,
  latency_intended BLOB NOT NULL,
  latency_actual   BLOB NOT NULL,
  own_lateness     BLOB NOT NULL,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- Counts by name: kind is send_error (name of an errno) or http_status.
CREATE TABLE load_count (
  run   INTEGER NOT NULL REFERENCES run (run),
  kind  TEXT NOT NULL,
  name  TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (run, kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE load_invalid_reason (
  run      INTEGER NOT NULL REFERENCES run (run),
  position INTEGER NOT NULL,
  reason   TEXT NOT NULL,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
