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

-- Resources: what schema 1 did not read.
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
