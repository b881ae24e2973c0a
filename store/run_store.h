// The run store: a writer and a reader for a SQLite file of runs. The schema is in
// store/schema/schema.sql and docs/schema.md.
//
// A RunWriter lives on the session's thread. While it writes, the file is in WAL mode, with one
// transaction per tick, so a kill at any moment loses at most the open tick. finish() leaves a
// single file. Neither a writer nor a reader may be used across a fork.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "core/base/result.h"
#include "core/run/load_result.h"
#include "core/run/run.h"
#include "core/run/run_fold.h"
#include "core/tick/sample.h"

namespace topspin {

/// "TSPN", in the header of every database of ours.
inline constexpr int32_t kApplicationId = 0x5453504e;

struct WriterOptions {
  uint64_t max_flow_rows = 200'000;  // rows of the first flows are kept; the others are counted
  uint64_t max_thread_rows = 65'536;
  uint64_t max_socket_rows = 65'536;
  int busy_timeout_ms = 5000;      // after creation: how long a call waits for another's lock
  std::optional<uid_t> owner_uid;  // under sudo the file belongs to the invoking user
  std::optional<gid_t> owner_gid;
  /// The folds of the run's ticks, computed by the code that makes the ticks. The writer passes
  /// them the stages, and stores them with the end if they cover the stored ticks. If empty, a
  /// reader computes them.
  std::shared_ptr<RunFolds> folds;
};

class RunWriter {
 public:
  virtual ~RunWriter() = default;

  /// Opens or creates the database, as create() will: to be called before a work of which the
  /// result is kept when it is over.
  static Status check(const std::string& path, const WriterOptions& options);

  /// Opens or creates the database, marks runs whose writer died as interrupted, and inserts the
  /// run. Does not follow a symbolic link as the last part of `path`, and does not change a file
  /// that is not ours.
  static Result<std::unique_ptr<RunWriter>> create(const std::string& path, const RunInfo& run,
                                                   const WriterOptions& options);

  /// Sets the moment at which the first tick begins, which is later than that at which the run was
  /// inserted. Call it before append().
  virtual Status set_start(int64_t wall_ns, int64_t monotonic_ns) = 0;

  /// Stores one tick in one transaction. Once it returns, the tick survives if the process is
  /// killed. The stored tick includes the writer's own losses (rows beyond the limits). After an
  /// error that may_pass(), nothing of the tick is stored, earlier ticks are kept, and the same
  /// tick may be given again. After any other error the writer refuses further ticks; call finish()
  /// all the same.
  virtual Status append(const Sample& sample) = 0;

  /// Several ticks in one transaction (files read faster than real time).
  virtual Status append(std::vector<Sample> samples) = 0;

  /// The losses of the writer since the last call: rows beyond the limits, and ticks that were
  /// given up. They are already stored, with the tick in which they occurred.
  virtual LossInterval take_losses() = 0;

  virtual Status add_event(int64_t elapsed_ns, std::string_view text) = 0;

  /// Stores the run's stage number `position` (from 0), or updates it.
  virtual Status put_stage(uint64_t position, const RunStage& stage) = 0;

  /// Stores the load of the run; at most one. Call it before finish().
  virtual Status put_load(const LoadResult& load) = 0;

  /// Writes the end, checkpoints and leaves WAL mode. While another program has the file open, it
  /// stays in WAL mode, and nothing is lost. A writer that is destroyed without finish() marks its
  /// run as interrupted. After an error that may_pass(), finish() may be called again. REQUIRES:
  /// nothing else is called afterwards.
  virtual Status finish(const RunEnd& end) = 0;

  /// Checks that the database is still the file at its path. kOutput if that file was deleted,
  /// renamed or replaced, so that the run will not be found there.
  virtual Status check_place() = 0;
};

struct StoredRun {
  uint64_t number = 0;  // in this database, from 1: "#12". Stays when other runs are removed
  RunInfo info;
  RunEnd end;
  uint64_t ticks = 0;
};

struct StoredEvent {
  int64_t elapsed_ns = 0;
  std::string text;
};

/// The activity of one thread in one tick. For each tick the writer keeps the kThreadTicksKept
/// threads that ran and waited longest.
struct ThreadTick {
  int64_t elapsed_ns = 0;   // end of the tick, from the start of the run
  int64_t interval_ns = 0;  // its length
  int32_t pid = 0;          // thread group
  int32_t tid = 0;
  std::string name;  // hostile text
  std::optional<uint64_t> cpu_ns;
  std::optional<uint64_t> run_queue_wait_ns;
  std::optional<uint64_t> run_queue_waits;
};
inline constexpr size_t kThreadTicksKept = 32;

/// A message of a flow's initiator that was late by more than a tenth of the flow's period. For
/// each tick the writer keeps the kLateMessagesKept latest ones, and for each flow only the last
/// one.
struct LateMessage {
  uint64_t flow = 0;
  std::string initiator;  // "127.0.0.1:8888"
  int64_t time_ns = 0;    // of the flow's last packet in the tick, on the packets' clock
  int64_t lateness_ns = 0;
};
inline constexpr size_t kLateMessagesKept = 256;

/// Which of a run's ticks.
enum class RunPart : uint8_t {
  kWhole,
  kMeasured,  // those from the first load stage on; all if there is no such stage
};

/// The parts of each tick that are read.
enum class TickParts : uint8_t {
  kAll,
  kPlain,  // only plain numbers: no distributions, CPUs or perf events, which are expensive
};

/// Which runs are wanted. All conditions that are set must hold.
struct RunFilter {
  std::string branch, status, plan;  // empty: any
  std::string commit;                // the beginning of its hash
  std::map<std::string, std::string> labels;
  std::optional<int64_t> since_wall_ns;  // started then or later
  /// What a user calls runs (ci/run_selection.h): those of any of these words; empty: any run.
  std::vector<std::string> words;
  std::optional<uint64_t> newest;  // only so many of these, the ones stored last
};

class RunStore {
 public:
  virtual ~RunStore() = default;

  /// Opens an existing database for reading, and does not change it even if its schema is older.
  /// kInput if it is not a database, not ours, or of a newer schema. `path` may also be the address
  /// of a team's store, postgresql://.../DATABASE#PROJECT (docs/team-store.md).
  static Result<std::unique_ptr<RunStore>> open(const std::string& path);

  /// All runs, in the order in which they were stored. A run that cannot be read is an error. With
  /// `damaged`, the error is added there, and the other runs are returned.
  virtual Result<std::vector<StoredRun>> list_runs(std::vector<Error>* damaged) = 0;
  Result<std::vector<StoredRun>> list_runs() { return list_runs(nullptr); }
  /// At least the runs that pass the filter, in the same order. A store that can leave out others
  /// cheaply does, so the caller still filters.
  virtual Result<std::vector<StoredRun>> list_runs([[maybe_unused]] const RunFilter& filter,
                                                   std::vector<Error>* damaged) {
    return list_runs(damaged);
  }
  /// Says that load_stages() and load_load() of these runs will be called. A store that is far away
  /// reads them all at once.
  virtual Status expect([[maybe_unused]] const std::vector<StoredRun>& runs) { return {}; }

  /// Finds a run by its complete id (ci/run_selection.h finds runs for what users type). kUsage if
  /// there is none.
  virtual Result<StoredRun> find_run(std::string_view id) = 0;
  /// The run that was stored last, regardless of the clock. kUsage if there is none.
  virtual Result<StoredRun> last_run() = 0;

  /// Visits the ticks in order, as the Samples that were stored (without flow and thread rows). No
  /// lock is held, so `visit` may take long; it also sees ticks that are stored meanwhile. This and
  /// every other function that reads a run returns kUsage if the run does not exist or was removed
  /// meanwhile.
  virtual Status for_each_tick(const std::string& run_id, TickParts parts,
                               const std::function<void(const Sample&)>& visit) = 0;
  Status for_each_tick(const std::string& run_id, const std::function<void(const Sample&)>& visit) {
    return for_each_tick(run_id, TickParts::kAll, visit);
  }
  /// At most `most` of these ticks, from number `first` on. Numbers begin at 1, and have gaps where
  /// ticks could not be stored. The cost depends only on the number of ticks that are returned.
  virtual Result<std::vector<Sample>> read_ticks(const std::string& run_id, uint64_t first,
                                                 size_t most) = 0;
  /// The number of the last tick so far; 0 if there is none.
  virtual Result<uint64_t> last_tick(const std::string& run_id) = 0;
  /// The fold of the ticks. For a run that has ended it is stored, and reading it costs a few rows.
  /// Otherwise the ticks are read.
  virtual Result<RunFold> fold(const std::string& run_id, RunPart part) = 0;
  /// Visits the folds of several runs, each once, with its position in `runs`. Of the
  /// distributions, only those of these names (core/tick/numbers.h) need be there, and neither CPUs
  /// nor perf events: a store that is far away then sends a fraction. The order is that of the
  /// store.
  virtual Status for_each_fold(const std::vector<StoredRun>& runs, RunPart part,
                               std::span<const std::string_view> distributions,
                               const std::function<void(size_t, const RunFold&)>& visit);
  virtual Status for_each_flow(const std::string& run_id,
                               const std::function<void(const FlowRow&)>& visit) = 0;
  virtual Status for_each_thread(const std::string& run_id,
                                 const std::function<void(const ThreadRow&)>& visit) = 0;
  /// Ticks in order. None in runs of schemas before 3.
  virtual Status for_each_thread_tick(const std::string& run_id,
                                      const std::function<void(const ThreadTick&)>& visit) = 0;
  virtual Status for_each_late_message(const std::string& run_id,
                                       const std::function<void(const LateMessage&)>& visit) = 0;
  virtual Status for_each_owner(const std::string& run_id,
                                const std::function<void(const FlowOwner&)>& visit) = 0;
  virtual Status for_each_socket(const std::string& run_id,
                                 const std::function<void(const SocketRow&)>& visit) = 0;
  /// By number.
  virtual Status for_each_syscall(const std::string& run_id,
                                  const std::function<void(const SyscallRow&)>& visit) = 0;
  /// By number. None in runs of schemas before 6.
  virtual Status for_each_cpu_holder(const std::string& run_id,
                                     const std::function<void(const CpuHolderRow&)>& visit) = 0;
  /// By number. None without --stacks.
  virtual Status for_each_stack(const std::string& run_id,
                                const std::function<void(const StackRow&)>& visit) = 0;
  /// The stacks at which it slept, by number. None in runs of schemas before 7, or without
  /// --stacks.
  virtual Status for_each_sleep_stack(const std::string& run_id,
                                      const std::function<void(const SleepStackRow&)>& visit) = 0;
  /// The longest busy stretches of the run, in no order. None in runs of schemas before 8, or
  /// without --stacks.
  virtual Status for_each_busy_stretch(const std::string& run_id,
                                       const std::function<void(const BusyStretch&)>& visit) = 0;
  /// The addresses that the subject called, by number.
  virtual Status for_each_called(const std::string& run_id,
                                 const std::function<void(const CalledRow&)>& visit) = 0;
  /// The slowest replies of the run, unordered. None in runs of schemas before 6.
  virtual Status for_each_slow_reply(const std::string& run_id,
                                     const std::function<void(const SlowReply&)>& visit) = 0;
  virtual Status for_each_event(const std::string& run_id,
                                const std::function<void(const StoredEvent&)>& visit) = 0;

  /// In order; empty if no plan made the run.
  virtual Result<std::vector<RunStage>> load_stages(const std::string& run_id) = 0;
  /// nullopt if the run has none, or ended before its load did.
  virtual Result<std::optional<LoadResult>> load_load(const std::string& run_id) = 0;
};

/// Whether an error of a writer may disappear by itself, such as another program's lock or a full
/// disk.
bool may_pass(const Error& error);

std::string sqlite_library_version();

}  // namespace topspin
