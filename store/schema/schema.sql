-- Schema 1 of topspin's run store. docs/schema.md says the unit of every column and what NULL means.
--
-- Times and durations are integer nanoseconds, sizes are bytes, and NULL is "not measured", never 0. Rates and
-- percentiles are derived when read. Text from outside (labels, commands, thread names) is kept byte for byte, so it may
-- hold anything: invalid UTF-8, NUL, escape sequences.
--
-- flow and thread are written thousands of times a second. Their key packs the run and a number within it into the
-- rowid, (run << 32) | number: rows of a run lie together and no other index has to be kept. Measured: a WITHOUT ROWID
-- table on (run, number) costs half as much CPU again.

CREATE TABLE run (
  run                  INTEGER PRIMARY KEY,
  id                   TEXT NOT NULL UNIQUE,
  topspin_version      TEXT,
  started_wall_ns      INTEGER NOT NULL,
  started_monotonic_ns INTEGER NOT NULL,

  status               TEXT NOT NULL,
  duration_ns          INTEGER,
  ticks                INTEGER,
  exit_status          INTEGER,

  hostname             TEXT,
  kernel               TEXT,
  architecture         TEXT,
  os                   TEXT,
  cpu_model            TEXT,
  cpus_online          INTEGER,
  memory_bytes         INTEGER,
  hypervisor           TEXT,
  fingerprint          TEXT,

  source_commit        TEXT,
  source_branch        TEXT,
  source_dirty         INTEGER,

  interface            TEXT,
  filter               TEXT,
  link_type            TEXT,
  period_ns            INTEGER,
  window_ns            INTEGER NOT NULL,
  interval_ns          INTEGER NOT NULL,
  reply_timeout_ns     INTEGER NOT NULL,
  duration_limit_ns    INTEGER,
  max_flows            INTEGER NOT NULL,
  max_stored_flows     INTEGER NOT NULL,
  subject              TEXT,

  writer_boot_id       TEXT,
  writer_pid_namespace INTEGER,
  writer_pid           INTEGER NOT NULL,
  writer_start_ticks   INTEGER NOT NULL
) STRICT;

CREATE TABLE label (
  run   INTEGER NOT NULL REFERENCES run (run),
  key   TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE argument (
  run      INTEGER NOT NULL REFERENCES run (run),
  position INTEGER NOT NULL,
  value    TEXT NOT NULL,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE invalid_reason (
  run      INTEGER NOT NULL REFERENCES run (run),
  position INTEGER NOT NULL,
  reason   TEXT NOT NULL,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE probe (
  run      INTEGER NOT NULL REFERENCES run (run),
  position INTEGER NOT NULL,
  name     TEXT NOT NULL,
  rung     TEXT NOT NULL,
  reason   TEXT,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE tick (
  run                       INTEGER NOT NULL REFERENCES run (run),
  tick                      INTEGER NOT NULL,
  monotonic_ns              INTEGER NOT NULL,
  elapsed_ns                INTEGER NOT NULL,
  interval_ns               INTEGER NOT NULL,

  flows_begin_ns            INTEGER NOT NULL,
  flows_end_ns              INTEGER NOT NULL,
  active_flows              INTEGER NOT NULL,
  active_flows_max          INTEGER NOT NULL,
  active_is_lower_bound     INTEGER NOT NULL,
  live_flows                INTEGER NOT NULL,
  tcp_half_open             INTEGER NOT NULL,
  packets                   INTEGER NOT NULL,
  bytes                     INTEGER NOT NULL,
  tcp_flows                 INTEGER NOT NULL,
  tcp_packets               INTEGER NOT NULL,
  tcp_bytes                 INTEGER NOT NULL,
  udp_flows                 INTEGER NOT NULL,
  udp_packets               INTEGER NOT NULL,
  udp_bytes                 INTEGER NOT NULL,
  ipv4_packets              INTEGER NOT NULL,
  ipv6_packets              INTEGER NOT NULL,
  fragments_first           INTEGER NOT NULL,
  fragments_later           INTEGER NOT NULL,
  initiator_packets         INTEGER NOT NULL,
  initiator_bytes           INTEGER NOT NULL,
  responder_packets         INTEGER NOT NULL,
  responder_bytes           INTEGER NOT NULL,
  new_flows                 INTEGER NOT NULL,
  ended_flows               INTEGER NOT NULL,
  evicted_flows             INTEGER NOT NULL,
  skipped_arp               INTEGER NOT NULL,
  skipped_icmp              INTEGER NOT NULL,
  skipped_icmpv6            INTEGER NOT NULL,
  skipped_igmp              INTEGER NOT NULL,
  skipped_sctp              INTEGER NOT NULL,
  skipped_gre               INTEGER NOT NULL,
  skipped_esp               INTEGER NOT NULL,
  skipped_ip_in_ip          INTEGER NOT NULL,
  skipped_other_ip_protocol INTEGER NOT NULL,
  skipped_later_fragment    INTEGER NOT NULL,
  skipped_not_ip            INTEGER NOT NULL,
  skipped_truncated_link    INTEGER NOT NULL,
  skipped_truncated_ip      INTEGER NOT NULL,
  skipped_truncated_transport INTEGER NOT NULL,
  skipped_malformed_ip      INTEGER NOT NULL,
  seen_flows_per_second_max INTEGER NOT NULL,
  missed_ticks              INTEGER NOT NULL,
  unanswered                INTEGER NOT NULL,
  late_flows                INTEGER NOT NULL,
  tcp_retransmissions       INTEGER NOT NULL,
  tcp_out_of_order          INTEGER NOT NULL,
  tcp_resets                INTEGER NOT NULL,
  tcp_refused               INTEGER NOT NULL,
  tcp_handshakes            INTEGER NOT NULL,
  time_went_backwards       INTEGER NOT NULL,

  run_queue_wait_ns         INTEGER,
  cpu_ns                    INTEGER,
  voluntary_switches        INTEGER,
  involuntary_switches      INTEGER,
  migrations                INTEGER,

  rss_bytes                 INTEGER,
  pss_bytes                 INTEGER,
  anonymous_bytes           INTEGER,
  vsz_bytes                 INTEGER,
  swap_bytes                INTEGER,
  mappings                  INTEGER,
  processes                 INTEGER,
  threads                   INTEGER,
  fds                       INTEGER,
  minor_faults              INTEGER,
  major_faults              INTEGER,

  loss_capture_kernel_drops     INTEGER NOT NULL,
  loss_capture_interface_drops  INTEGER NOT NULL,
  loss_capture_gap_ns           INTEGER NOT NULL,
  loss_evicted_flows            INTEGER NOT NULL,
  loss_flow_rows_unstored       INTEGER NOT NULL,
  loss_scheduler_map_full       INTEGER NOT NULL,
  loss_scheduler_missed_runs    INTEGER NOT NULL,
  loss_scheduler_left_censored  INTEGER NOT NULL,
  loss_scheduler_right_censored INTEGER NOT NULL,
  loss_thread_rows_unstored     INTEGER NOT NULL,
  loss_flow_owners_missed       INTEGER NOT NULL,
  loss_late_ticks               INTEGER NOT NULL,

  self_cpu_ns               INTEGER NOT NULL,
  self_rss_bytes            INTEGER NOT NULL,
  self_bpf_ns               INTEGER,
  host_steal_ns             INTEGER,
  host_busy_ns              INTEGER,
  PRIMARY KEY (run, tick)
) STRICT, WITHOUT ROWID;

-- A rowid table: the blobs are often longer than what a WITHOUT ROWID page keeps inline.
CREATE TABLE histogram (
  run  INTEGER NOT NULL REFERENCES run (run),
  tick INTEGER NOT NULL,
  name TEXT NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (run, tick, name)
) STRICT;

CREATE TABLE flow (
  row                   INTEGER PRIMARY KEY,
  run                   INTEGER GENERATED ALWAYS AS (row >> 32) VIRTUAL,
  flow                  INTEGER NOT NULL,
  ip_version            INTEGER NOT NULL,
  protocol              INTEGER NOT NULL,
  vlan_outer            INTEGER NOT NULL,
  vlan_inner            INTEGER NOT NULL,
  initiator_address     TEXT NOT NULL,
  initiator_port        INTEGER NOT NULL,
  responder_address     TEXT NOT NULL,
  responder_port        INTEGER NOT NULL,
  first_ns              INTEGER NOT NULL,
  last_ns               INTEGER NOT NULL,
  ended                 INTEGER NOT NULL,
  initiator_packets     INTEGER NOT NULL,
  initiator_bytes       INTEGER NOT NULL,
  responder_packets     INTEGER NOT NULL,
  responder_bytes       INTEGER NOT NULL,
  period_ns             INTEGER,
  lateness_last_ns      INTEGER,
  lateness_max_ns       INTEGER,
  missed_ticks          INTEGER NOT NULL,
  replies               INTEGER NOT NULL,
  reply_latency_sum_ns  INTEGER NOT NULL,
  reply_latency_max_ns  INTEGER,
  reply_latency_last_ns INTEGER,
  unanswered            INTEGER NOT NULL,
  retransmissions       INTEGER NOT NULL,
  initiator_owner       INTEGER,
  responder_owner       INTEGER
) STRICT;

CREATE TABLE owner (
  row           INTEGER PRIMARY KEY,
  run           INTEGER GENERATED ALWAYS AS (row >> 32) VIRTUAL,
  owner         INTEGER NOT NULL,
  pid           INTEGER NOT NULL,
  start_time_ns INTEGER NOT NULL,
  name          TEXT,
  quality       TEXT NOT NULL
) STRICT;

CREATE TABLE thread (
  row                   INTEGER PRIMARY KEY,
  run                   INTEGER GENERATED ALWAYS AS (row >> 32) VIRTUAL,
  pid                   INTEGER NOT NULL,
  tid                   INTEGER NOT NULL,
  start_time_ns         INTEGER NOT NULL,
  name                  TEXT,
  exited                INTEGER NOT NULL,
  cpu_ns                INTEGER,
  run_queue_wait_ns     INTEGER,
  run_queue_waits       INTEGER,
  run_queue_wait_max_ns INTEGER,
  voluntary_switches    INTEGER,
  involuntary_switches  INTEGER,
  migrations            INTEGER
) STRICT;

CREATE TABLE event (
  run        INTEGER NOT NULL REFERENCES run (run),
  position   INTEGER NOT NULL,
  elapsed_ns INTEGER NOT NULL,
  text       TEXT NOT NULL,
  PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
