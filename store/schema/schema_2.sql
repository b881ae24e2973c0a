-- Schema 2. The columns that it adds are NULL ("not measured") in runs of schema 1, except the loss columns, which are 0
-- there: what was not measured was not lost.

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

-- The stages of a load from position 1 on, and the whole load at position 0.
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

-- Counts by name: kind is send_error (name of an errno), http_status, or not_http (how the first
-- reply began that was not HTTP).
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

-- The scheduler: who preempted, time off the CPU by state, what the kernel did not show; each CPU; each thread.
ALTER TABLE tick ADD COLUMN preempted_by_same_process INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_same_process_wait_ns INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_same_cgroup INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_same_cgroup_wait_ns INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_other INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_other_wait_ns INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_kernel_thread INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_kernel_thread_wait_ns INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_nobody INTEGER;
ALTER TABLE tick ADD COLUMN preempted_by_nobody_wait_ns INTEGER;
ALTER TABLE tick ADD COLUMN off_cpu_sleeping INTEGER;
ALTER TABLE tick ADD COLUMN off_cpu_sleeping_ns INTEGER;
ALTER TABLE tick ADD COLUMN off_cpu_uninterruptible INTEGER;
ALTER TABLE tick ADD COLUMN off_cpu_uninterruptible_ns INTEGER;
ALTER TABLE tick ADD COLUMN off_cpu_other INTEGER;
ALTER TABLE tick ADD COLUMN off_cpu_other_ns INTEGER;
ALTER TABLE tick ADD COLUMN loss_scheduler_hidden_switches INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_scheduler_ring_full INTEGER NOT NULL DEFAULT 0;
CREATE TABLE cpu_tick (
  run              INTEGER NOT NULL REFERENCES run (run),
  tick             INTEGER NOT NULL,
  cpu              INTEGER NOT NULL,
  switches         INTEGER NOT NULL,
  waits            INTEGER NOT NULL,
  wait_ns          INTEGER NOT NULL,
  queue_samples    INTEGER NOT NULL,
  queue_length_sum INTEGER NOT NULL,
  queue_length_max INTEGER NOT NULL,
  PRIMARY KEY (run, tick, cpu)
) STRICT, WITHOUT ROWID;
ALTER TABLE thread ADD COLUMN preempted_by_same_process INTEGER;
ALTER TABLE thread ADD COLUMN preempted_by_same_cgroup INTEGER;
ALTER TABLE thread ADD COLUMN preempted_by_other INTEGER;
ALTER TABLE thread ADD COLUMN preempted_by_kernel_thread INTEGER;
ALTER TABLE thread ADD COLUMN preempted_by_nobody INTEGER;
ALTER TABLE thread ADD COLUMN run_queue_wait_histogram BLOB;
ALTER TABLE thread ADD COLUMN on_cpu_histogram BLOB;
-- Syscalls and sockets.
ALTER TABLE tick ADD COLUMN accept_queue_max INTEGER;
ALTER TABLE tick ADD COLUMN accept_queue_limit INTEGER;
ALTER TABLE tick ADD COLUMN listen_overflows INTEGER;
ALTER TABLE tick ADD COLUMN syn_drops INTEGER;
ALTER TABLE tick ADD COLUMN host_listen_overflows INTEGER;
ALTER TABLE tick ADD COLUMN host_listen_drops INTEGER;
ALTER TABLE tick ADD COLUMN udp_drops INTEGER;
ALTER TABLE tick ADD COLUMN loss_syscalls_uncounted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_syscalls_left_censored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_syscalls_missed_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_socket_map_full INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_socket_left_censored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_socket_missed_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_socket_rows_unstored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_replies_unmatched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_reply_splits_cut INTEGER NOT NULL DEFAULT 0;

CREATE TABLE syscall (
  run        INTEGER NOT NULL REFERENCES run (run),
  number     INTEGER NOT NULL,
  name       TEXT NOT NULL,
  count      INTEGER NOT NULL,
  errors     INTEGER NOT NULL,
  blocked_ns INTEGER NOT NULL,
  latency_ns BLOB NOT NULL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE socket (
  row                       INTEGER PRIMARY KEY,
  run                       INTEGER GENERATED ALWAYS AS (row >> 32) VIRTUAL,
  cookie                    INTEGER NOT NULL,
  protocol                  INTEGER NOT NULL,
  ip_version                INTEGER NOT NULL,
  local_address             TEXT NOT NULL,
  local_port                INTEGER NOT NULL,
  pid                       INTEGER NOT NULL,
  closed                    INTEGER NOT NULL,
  accept_queue              INTEGER,
  accept_queue_max          INTEGER,
  accept_queue_limit        INTEGER,
  receive_queue_bytes       INTEGER,
  receive_queue_bytes_max   INTEGER,
  receive_queue_bytes_limit INTEGER,
  drops                     INTEGER NOT NULL
) STRICT;

-- Resources that schema 1 did not have.
ALTER TABLE tick ADD COLUMN file_bytes INTEGER;
ALTER TABLE tick ADD COLUMN shared_bytes INTEGER;
ALTER TABLE tick ADD COLUMN page_table_bytes INTEGER;
ALTER TABLE tick ADD COLUMN socket_fds INTEGER;
ALTER TABLE tick ADD COLUMN pipe_fds INTEGER;
ALTER TABLE tick ADD COLUMN file_fds INTEGER;
ALTER TABLE tick ADD COLUMN anonymous_fds INTEGER;
ALTER TABLE tick ADD COLUMN other_fds INTEGER;
ALTER TABLE tick ADD COLUMN cgroup_bytes INTEGER;
ALTER TABLE tick ADD COLUMN address_space_used_bytes INTEGER;
ALTER TABLE tick ADD COLUMN address_space_limit_bytes INTEGER;
ALTER TABLE tick ADD COLUMN mappings_used INTEGER;
ALTER TABLE tick ADD COLUMN mappings_limit INTEGER;
ALTER TABLE tick ADD COLUMN fds_used INTEGER;
ALTER TABLE tick ADD COLUMN fds_limit INTEGER;
ALTER TABLE tick ADD COLUMN memory_used_bytes INTEGER;
ALTER TABLE tick ADD COLUMN memory_limit_bytes INTEGER;
ALTER TABLE tick ADD COLUMN ephemeral_ports INTEGER;

-- Pressure.
ALTER TABLE tick ADD COLUMN host_stall_cpu_some_ns INTEGER;
ALTER TABLE tick ADD COLUMN host_stall_memory_some_ns INTEGER;
ALTER TABLE tick ADD COLUMN host_stall_memory_full_ns INTEGER;
ALTER TABLE tick ADD COLUMN host_stall_io_some_ns INTEGER;
ALTER TABLE tick ADD COLUMN host_stall_io_full_ns INTEGER;
ALTER TABLE tick ADD COLUMN cgroup_stall_cpu_some_ns INTEGER;
ALTER TABLE tick ADD COLUMN cgroup_stall_memory_some_ns INTEGER;
ALTER TABLE tick ADD COLUMN cgroup_stall_memory_full_ns INTEGER;
ALTER TABLE tick ADD COLUMN cgroup_stall_io_some_ns INTEGER;
ALTER TABLE tick ADD COLUMN cgroup_stall_io_full_ns INTEGER;
ALTER TABLE tick ADD COLUMN cpu_quota_periods INTEGER;
ALTER TABLE tick ADD COLUMN throttled_periods INTEGER;
ALTER TABLE tick ADD COLUMN throttled_ns INTEGER;

-- Perf counters and CPU stacks.
ALTER TABLE tick ADD COLUMN loss_counter_threads_missed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_stack_samples_lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN loss_stacks_unstored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN stack_samples_per_second INTEGER;

CREATE TABLE counter (
  run        INTEGER NOT NULL REFERENCES run (run),
  tick       INTEGER NOT NULL,
  name       TEXT NOT NULL,
  count      INTEGER NOT NULL,
  enabled_ns INTEGER NOT NULL,
  running_ns INTEGER NOT NULL,
  PRIMARY KEY (run, tick, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE stack (
  row     INTEGER PRIMARY KEY,
  run     INTEGER GENERATED ALWAYS AS (row >> 32) VIRTUAL,
  stack   INTEGER NOT NULL,
  thread  TEXT,
  frames  TEXT,
  samples INTEGER NOT NULL
) STRICT;

-- The gate's log. Runs are named by id, not by number: an acceptance outlives the runs that it names.
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
-- Flows: transport payload; NULL if it was not counted.
ALTER TABLE flow ADD COLUMN initiator_payload_bytes INTEGER;
ALTER TABLE flow ADD COLUMN responder_payload_bytes INTEGER;

-- Segmentation offload: frames that hold several segments, and the fewest that they can hold.
ALTER TABLE tick ADD COLUMN super_packets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tick ADD COLUMN super_packet_segments INTEGER NOT NULL DEFAULT 0;
