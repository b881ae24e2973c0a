// The writer: one transaction per tick. Rows of flows and threads get a number within the run when
// first seen, and are rewritten in place when they changed in a tick.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "core/number/foremost.h"
#include "store/flows/flow_writer.h"
#include "store/run_store.h"
#include "store/runs/fold_rows.h"
#include "store/runs/load_rows.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "store/schema/tick_rows.h"
#include "store/sqlite/columns.h"
#include "store/sqlite/file_access.h"
#include "store/sqlite/row_values.h"
#include "store/sqlite/writer_identity.h"

namespace topspin {
namespace {

/// Rowids pack the run and a number within it (schema.sql).
constexpr uint64_t kMostRows = std::numeric_limits<uint32_t>::max();

Status mark_interrupted(Connection& connection, int64_t run) {
  TOPSPIN_ASSIGN(Statement mark, connection.prepare(kMarkInterruptedSql));
  mark.bind_int(1, run);
  return mark.run();
}

/// A writer that is not visible from here (kHidden) counts as gone too. If it is alive after all,
/// its finish() corrects the run.
Status mark_runs_of_dead_writers(Connection& connection) {
  std::vector<int64_t> dead;
  {
    TOPSPIN_ASSIGN(
        Statement running,
        connection.prepare("SELECT run, writer_boot_id, writer_pid_namespace, writer_pid,"
                           " writer_start_ticks FROM run WHERE status = 'running'"));
    while (true) {
      TOPSPIN_ASSIGN(const bool row, running.step());
      if (!row) break;
      WriterIdentity writer;
      int64_t run = 0;
      ColumnLoader load(running);
      load.load(run);
      load.load(writer.boot_id);
      load.load(writer.pid_namespace);
      load.load(writer.pid);
      load.load(writer.start_ticks);
      if (load.damaged() || fate_of(writer) != WriterFate::kAlive) dead.push_back(run);
    }
  }
  for (const int64_t run : dead) TOPSPIN_TRY(mark_interrupted(connection, run));
  return {};
}

Status insert_list(Connection& connection, std::string_view sql, int64_t run,
                   const std::vector<std::string>& values) {
  TOPSPIN_ASSIGN(Statement insert, connection.prepare(sql));
  for (size_t i = 0; i < values.size(); ++i) {
    insert.bind_int(1, run);
    insert.bind_int(2, static_cast<int64_t>(i));
    insert.bind_text(3, values[i]);
    TOPSPIN_TRY(insert.run());
  }
  return {};
}

/// Inserts the run and everything known at its start. Returns its number in this file.
Result<int64_t> insert_run(Connection& connection, const RunInfo& info) {
  const WriterIdentity writer = this_writer();
  ColumnNames columns;
  for_each_run_column(info, [&](auto... column) { columns(column...); });
  for (const char* name :
       {"writer_boot_id", "writer_pid_namespace", "writer_pid", "writer_start_ticks", "status"}) {
    columns.add(name);
  }
  TOPSPIN_ASSIGN(Statement insert,
                 connection.prepare(fmt::format("INSERT INTO run ({}) VALUES ({})", columns.names(),
                                                columns.parameters())));
  const std::string status(run_status_name(RunStatus::kRunning));
  ParameterBinder bind(insert);
  for_each_run_column(info, [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
  bind.bind(writer.boot_id);
  bind.bind(writer.pid_namespace);
  bind.bind(writer.pid);
  bind.bind(writer.start_ticks);
  bind.bind(status);
  TOPSPIN_TRY(insert.run());
  const int64_t run = connection.last_row();
  if (run < 1 || run > kMostRuns) {
    return make_error(ErrorCode::kOutput,
                      fmt::format("{} has no number left for another run; choose another file with "
                                  "--db",
                                  connection.path()));
  }

  TOPSPIN_ASSIGN(Statement label, connection.prepare("INSERT INTO label VALUES (?1, ?2, ?3)"));
  for (const auto& [key, value] : info.labels) {
    label.bind_int(1, run);
    label.bind_text(2, key);
    label.bind_text(3, value);
    TOPSPIN_TRY(label.run());
  }
  TOPSPIN_TRY(
      insert_list(connection, "INSERT INTO argument VALUES (?1, ?2, ?3)", run, info.command));
  if (info.plan) TOPSPIN_TRY(insert_plan(connection, run, *info.plan));
  TOPSPIN_ASSIGN(Statement probe,
                 connection.prepare("INSERT INTO probe VALUES (?1, ?2, ?3, ?4, ?5)"));
  for (size_t i = 0; i < info.probes.size(); ++i) {
    const ProbeStatus& p = info.probes[i];
    probe.bind_int(1, run);
    probe.bind_int(2, static_cast<int64_t>(i));
    probe.bind_text(3, p.name);
    probe.bind_text(4, rung_name(p.rung));
    if (p.reason.empty())
      probe.bind_null(5);
    else
      probe.bind_text(5, p.reason);
    TOPSPIN_TRY(probe.run());
  }
  return run;
}

/// The statements of a tick, prepared once.
struct TickStatements {
  TickRows tick;
  Statement whole_thread;
  Statement whole_owner;
  Statement whole_socket;
  Statement whole_syscall;
  Statement whole_cpu_holder;
  Statement whole_stack;
  Statement whole_sleep_stack;
  Statement whole_stretch;
  Statement no_stretch_stacks;
  Statement stretch_stack;
  Statement whole_called;
  Statement whole_slow_reply;
  Statement thread_tick;

  static Result<TickStatements> prepare(Connection& connection);
};

Result<TickStatements> TickStatements::prepare(Connection& connection) {
  TOPSPIN_ASSIGN(TickRows tick, TickRows::prepare(connection));
  const ThreadRow thread;
  ColumnNames thread_columns;
  for_each_thread_column(thread, [&](auto... column) { thread_columns(column...); });
  for_each_thread_histogram(thread,
                            [&](const char* name, const auto&) { thread_columns.add(name); });
  thread_columns.add("row");
  TOPSPIN_ASSIGN(Statement whole_thread, connection.prepare(fmt::format(
                                             "INSERT OR REPLACE INTO thread ({}) VALUES ({})",
                                             thread_columns.names(), thread_columns.parameters())));

  const FlowOwner owner;
  ColumnNames owner_columns;
  for_each_owner_column(owner, [&](auto... column) { owner_columns(column...); });
  owner_columns.add("quality");
  owner_columns.add("row");
  TOPSPIN_ASSIGN(Statement whole_owner, connection.prepare(fmt::format(
                                            "INSERT OR REPLACE INTO owner ({}) VALUES ({})",
                                            owner_columns.names(), owner_columns.parameters())));
  const SocketRow socket;
  ColumnNames socket_columns;
  for_each_socket_column(socket, [&](auto... column) { socket_columns(column...); });
  for (const char* name : {"local_address", "cookie", "row"}) socket_columns.add(name);
  TOPSPIN_ASSIGN(Statement whole_socket, connection.prepare(fmt::format(
                                             "INSERT OR REPLACE INTO socket ({}) VALUES ({})",
                                             socket_columns.names(), socket_columns.parameters())));

  const SyscallRow syscall;
  ColumnNames syscall_columns;
  for_each_syscall_column(syscall, [&](auto... column) { syscall_columns(column...); });
  for (const char* name : {"latency_ns", "run"}) syscall_columns.add(name);
  TOPSPIN_ASSIGN(
      Statement whole_syscall,
      connection.prepare(fmt::format("INSERT OR REPLACE INTO syscall ({}) VALUES ({})",
                                     syscall_columns.names(), syscall_columns.parameters())));
  const CpuHolderRow holder;
  ColumnNames holder_columns;
  for_each_cpu_holder_column(holder, [&](auto... column) { holder_columns(column...); });
  for (const char* name : {"run", "kind"}) holder_columns.add(name);
  TOPSPIN_ASSIGN(
      Statement whole_cpu_holder,
      connection.prepare(fmt::format("INSERT OR REPLACE INTO cpu_holder ({}) VALUES ({})",
                                     holder_columns.names(), holder_columns.parameters())));
  const StackRow stack;
  ColumnNames stack_columns;
  for_each_stack_column(stack, [&](auto... column) { stack_columns(column...); });
  stack_columns.add("row");
  TOPSPIN_ASSIGN(Statement whole_stack, connection.prepare(fmt::format(
                                            "INSERT OR REPLACE INTO stack ({}) VALUES ({})",
                                            stack_columns.names(), stack_columns.parameters())));
  const SleepStackRow sleep_stack;
  ColumnNames sleep_columns;
  for_each_sleep_stack_column(sleep_stack, [&](auto... column) { sleep_columns(column...); });
  for (const char* name : {"run", "blocked_by"}) sleep_columns.add(name);
  TOPSPIN_ASSIGN(
      Statement whole_sleep_stack,
      connection.prepare(fmt::format("INSERT OR REPLACE INTO sleep_stack ({}) VALUES ({})",
                                     sleep_columns.names(), sleep_columns.parameters())));
  const BusyStretch stretch;
  ColumnNames stretch_columns;
  for_each_busy_stretch_column(stretch, [&](auto... column) { stretch_columns(column...); });
  for (const char* name : {"run", "stretch"}) stretch_columns.add(name);
  TOPSPIN_ASSIGN(
      Statement whole_stretch,
      connection.prepare(fmt::format("INSERT OR REPLACE INTO busy_stretch ({}) VALUES ({})",
                                     stretch_columns.names(), stretch_columns.parameters())));
  TOPSPIN_ASSIGN(
      Statement no_stretch_stacks,
      connection.prepare("DELETE FROM busy_stretch_stack WHERE run = ?1 AND stretch = ?2"));
  TOPSPIN_ASSIGN(Statement stretch_stack,
                 connection.prepare("INSERT INTO busy_stretch_stack VALUES (?1, ?2, ?3, ?4)"));
  const CalledRow called;
  ColumnNames called_columns;
  for_each_called_column(called, [&](auto... column) { called_columns(column...); });
  for (const char* name : {"address", "latency_ns", "run"}) called_columns.add(name);
  TOPSPIN_ASSIGN(Statement whole_called, connection.prepare(fmt::format(
                                             "INSERT OR REPLACE INTO called ({}) VALUES ({})",
                                             called_columns.names(), called_columns.parameters())));
  const SlowReply slow_reply;
  ColumnNames slow_reply_columns;
  for_each_slow_reply_column(slow_reply, [&](auto... column) { slow_reply_columns(column...); });
  for (const char* name : {"local_address", "remote_address", "row"}) slow_reply_columns.add(name);
  TOPSPIN_ASSIGN(
      Statement whole_slow_reply,
      connection.prepare(fmt::format("INSERT OR REPLACE INTO slow_reply ({}) VALUES ({})",
                                     slow_reply_columns.names(), slow_reply_columns.parameters())));
  TOPSPIN_ASSIGN(Statement thread_tick,
                 connection.prepare("INSERT INTO thread_tick VALUES (?1, ?2, ?3, ?4, ?5, ?6)"));
  return TickStatements{std::move(tick),
                        std::move(whole_thread),
                        std::move(whole_owner),
                        std::move(whole_socket),
                        std::move(whole_syscall),
                        std::move(whole_cpu_holder),
                        std::move(whole_stack),
                        std::move(whole_sleep_stack),
                        std::move(whole_stretch),
                        std::move(no_stretch_stacks),
                        std::move(stretch_stack),
                        std::move(whole_called),
                        std::move(whole_slow_reply),
                        std::move(thread_tick)};
}

struct ThreadIdentity {
  int32_t pid;
  int32_t tid;
  int64_t start_time_ns;
  bool operator==(const ThreadIdentity&) const = default;
};

struct ThreadIdentityHash {
  size_t operator()(const ThreadIdentity& thread) const {
    const auto numbers = (static_cast<uint64_t>(static_cast<uint32_t>(thread.pid)) << 32) |
                         static_cast<uint32_t>(thread.tid);
    return std::hash<uint64_t>{}(numbers * 0x9e3779b97f4a7c15u ^
                                 static_cast<uint64_t>(thread.start_time_ns));
  }
};

/// The identity of the file at a path, as long as it exists.
using FileIdentity = std::pair<dev_t, ino_t>;
std::optional<FileIdentity> file_identity(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return std::nullopt;
  return FileIdentity(info.st_dev, info.st_ino);
}

/// Whether the write-ahead log lacks its header, because it was truncated and later writes follow a
/// hole. A log that is empty or absent was moved into the file.
bool is_log_cut(const std::string& path) {
  constexpr std::array<uint8_t, 3> kMagic = {0x37, 0x7f, 0x06};  // and 0x82 or 0x83
  const UniqueFd log(
      open_database_file((path + "-wal").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::array<uint8_t, kMagic.size()> head{};
  return log.valid() && pread(log.get(), head.data(), head.size(), 0) == std::ssize(head) &&
         head != kMagic;
}

/// By default the log grows to 4 MiB before it is moved into the file. On a nearly full disk it
/// could take the last room, and leave none for the file.
void keep_log_small(Connection& connection) {
  (void)connection.execute("PRAGMA wal_autocheckpoint = 128").ok();
}
bool room_is_scarce(const std::string& path) {
  constexpr uint64_t kScarceBytes = 64u << 20;
  struct statvfs info {};
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < kScarceBytes) return true;
  return statvfs(path.c_str(), &info) == 0 &&
         uint64_t{info.f_bavail} * uint64_t{info.f_frsize} < kScarceBytes;
}

bool are_equal(const LossInterval& a, const LossInterval& b) {
  bool equal = true;
  LossInterval::for_each_number([&](const Number&, auto member) {
    equal = equal && std::invoke(member, a) == std::invoke(member, b);
  });
  return equal;
}

bool is_out_of_room(const Error& error) { return may_pass(error) && error.os_errno != EBUSY; }

class SqliteRunWriter final : public RunWriter {
 public:
  SqliteRunWriter(std::unique_ptr<Connection> connection, TickStatements statements,
                  FlowWriter flows, int64_t run, const WriterOptions& options)
      : connection_(std::move(connection)),
        statements_(std::move(statements)),
        flows_(std::move(flows)),
        run_(run),
        file_(file_identity(connection_->path())),
        max_thread_rows_(std::min(options.max_thread_rows, kMostRows)),
        max_socket_rows_(std::min(options.max_socket_rows, kMostRows)),
        folds_(options.folds) {}

  ~SqliteRunWriter() override;

  Status append(const Sample& sample) override { return append_all({&sample, 1}); }
  Status append(std::vector<Sample> samples) override { return append_all(samples); }
  LossInterval take_losses() override { return std::exchange(untold_losses_, {}); }
  Status set_start(int64_t wall_ns, int64_t monotonic_ns) override;
  Status add_event(int64_t elapsed_ns, std::string_view text) override;
  Status put_stage(uint64_t position, const RunStage& stage) override;
  Status put_load(const LoadResult& load) override;
  Status finish(const RunEnd& end) override;
  Status check_place() override;

 private:
  struct ThreadSums {
    std::optional<uint64_t> cpu_ns, run_queue_wait_ns, run_queue_waits;
    uint64_t weight() const { return cpu_ns.value_or(0) + run_queue_wait_ns.value_or(0); }
  };
  struct ThreadSlot {
    uint32_t number;  // within the run
    ThreadSums sums;  // when last stored
  };

  Status append_all(std::span<const Sample> samples);
  void undo();
  Status refuse(Error error);
  Status store_tick(const Sample& sample);
  Status store_threads(const Sample& sample, uint64_t& unstored);
  Status store_thread(uint32_t number, const ThreadRow& thread);
  Status store_thread_ticks(uint64_t tick);
  Status store_owners(const std::vector<FlowOwner>& owners);
  Status store_sockets(const std::vector<SocketRow>& sockets, uint64_t& unstored);
  Status store_syscalls(const std::vector<SyscallRow>& syscalls);
  Status store_cpu_holders(const std::vector<CpuHolderRow>& holders);
  Status store_stacks(const std::vector<StackRow>& stacks);
  Status store_sleep_stacks(const std::vector<SleepStackRow>& stacks);
  Status store_stretches(const std::vector<BusyStretch>& stretches);
  Status store_called(const std::vector<CalledRow>& addresses);
  Status store_slow_replies(const Sample& sample);
  void fold_flows();
  Status store_end(const RunEnd& end);
  Status store_folds();
  int64_t row_key(uint32_t number) const { return (run_ << 32) | number; }

  std::unique_ptr<Connection> connection_;
  std::optional<TickStatements> statements_;  // gone once finished
  std::optional<FlowWriter> flows_;           // likewise
  const int64_t run_;
  const std::optional<FileIdentity> file_;
  const uint64_t max_thread_rows_;
  const uint64_t max_socket_rows_;
  std::unordered_map<ThreadIdentity, ThreadSlot, ThreadIdentityHash> threads_;
  std::unordered_map<uint64_t, uint32_t> sockets_;  // cookie -> number within the run
  // The previous values of what the open transaction changed above. Nodes of a map do not move.
  std::vector<std::pair<ThreadSlot*, ThreadSlot>> threads_before_;
  std::vector<uint64_t> slow_replies_;  // how long each stored reply took, by its number
  std::vector<uint64_t> slow_replies_before_;
  KeptStretches stretches_;
  KeptStretches stretches_before_;
  // Of the tick being stored:
  std::vector<ThreadSlot> thread_ticks_;   // with the sums of the tick
  const std::shared_ptr<RunFolds> folds_;  // may be null
  int64_t ticks_ = 0;
  LossInterval losses_;         // of all stored ticks
  LossInterval batch_losses_;   // counted by the writer in the open transaction
  LossInterval untold_losses_;  // counted in transactions committed since take_losses()
  int64_t events_ = 0;
  std::optional<Error> failed_;  // after this no tick is accepted
  bool finished_ = false;
};

/// Without finish(), the run is marked as interrupted at once, if the disk allows it.
SqliteRunWriter::~SqliteRunWriter() {
  if (finished_) return;
  fold_flows();
  statements_.reset();
  (void)mark_interrupted(*connection_, run_).ok();
  leave_wal_mode(*connection_);
}

Status SqliteRunWriter::append_all(std::span<const Sample> samples) {
  CHECK(!finished_);
  if (failed_) return *failed_;
  const auto store = [&]() -> Status {
    TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(*connection_));
    batch_losses_ = {};
    for (const Sample& sample : samples) TOPSPIN_TRY(store_tick(sample));
    return transaction.commit();
  };
  flows_->begin();
  threads_before_.clear();
  slow_replies_before_ = slow_replies_;
  stretches_before_ = stretches_;
  Status stored = store();
  if (!stored.ok() && is_out_of_room(stored.error())) {
    // The log has a copy of a page for each write, so moving it into the file frees space.
    undo();
    keep_log_small(*connection_);
    (void)connection_->execute("PRAGMA wal_checkpoint(TRUNCATE)").ok();
    stored = store();
  }
  if (!stored.ok()) {
    undo();
    return refuse(stored.error());
  }
  ticks_ += static_cast<int64_t>(samples.size());
  for (const Sample& sample : samples) losses_.merge(sample.losses);
  losses_.merge(batch_losses_);
  untold_losses_.merge(batch_losses_);
  return {};
}

/// The transaction was rolled back, so the rows that it had stored are gone.
void SqliteRunWriter::undo() {
  flows_->undo();
  for (auto at = threads_before_.rbegin(); at != threads_before_.rend(); ++at)
    *at->first = at->second;
  threads_before_.clear();
  slow_replies_ = slow_replies_before_;
  stretches_ = stretches_before_;
}

Status SqliteRunWriter::refuse(Error error) {
  if (!may_pass(error)) failed_ = error;
  return error;
}

Status SqliteRunWriter::check_place() {
  if (!connection_ || !file_) return {};
  if (file_identity(connection_->path()) == file_) {
    if (!is_log_cut(connection_->path())) return {};
    return make_error(ErrorCode::kOutput,
                      fmt::format("{0}-wal was truncated while it was recorded into: the run is "
                                  "damaged, and so may be the other runs in {0}",
                                  connection_->path()));
  }
  return make_error(ErrorCode::kOutput,
                    fmt::format("{} was deleted, renamed or replaced while it was recorded into: "
                                "the run is not in it",
                                connection_->path()));
}

Status SqliteRunWriter::store_tick(const Sample& sample) {
  LossInterval own;
  TOPSPIN_TRY(flows_->store(sample, own.flow_rows_unstored));
  TOPSPIN_TRY(store_threads(sample, own.thread_rows_unstored));
  TOPSPIN_TRY(store_owners(sample.changed_owners));
  TOPSPIN_TRY(store_sockets(sample.changed_sockets, own.socket_rows_unstored));
  TOPSPIN_TRY(store_syscalls(sample.changed_syscalls));
  TOPSPIN_TRY(store_cpu_holders(sample.changed_cpu_holders));
  TOPSPIN_TRY(store_stacks(sample.changed_stacks));
  TOPSPIN_TRY(store_sleep_stacks(sample.changed_sleep_stacks));
  TOPSPIN_TRY(store_stretches(sample.long_stretches));
  TOPSPIN_TRY(store_called(sample.changed_called));
  TOPSPIN_TRY(store_slow_replies(sample));
  batch_losses_.merge(own);
  LossInterval losses = sample.losses;
  losses.merge(own);
  return statements_->tick.insert(run_, sample, losses);
}

Status SqliteRunWriter::store_threads(const Sample& sample, uint64_t& unstored) {
  const auto grown = [](const std::optional<uint64_t>& now, const std::optional<uint64_t>& before) {
    return now ? std::optional(*now - std::min(before.value_or(0), *now)) : std::nullopt;
  };
  thread_ticks_.clear();
  for (const ThreadRow& thread : sample.changed_threads) {
    const ThreadIdentity identity{thread.pid, thread.tid, thread.start_time_ns};
    auto found = threads_.find(identity);
    if (found == threads_.end()) {
      if (threads_.size() >= max_thread_rows_) {
        ++unstored;
        continue;
      }
      const auto number = static_cast<uint32_t>(threads_.size());
      found = threads_.emplace(identity, ThreadSlot{number, {}}).first;
    }
    ThreadSlot& slot = found->second;
    threads_before_.emplace_back(&slot, slot);
    const ThreadSums now{thread.cpu_ns, thread.run_queue_wait_ns, thread.run_queue_waits};
    const ThreadSums before = std::exchange(slot.sums, now);
    const ThreadSums sums{grown(now.cpu_ns, before.cpu_ns),
                          grown(now.run_queue_wait_ns, before.run_queue_wait_ns),
                          grown(now.run_queue_waits, before.run_queue_waits)};
    if (sums.weight() > 0) thread_ticks_.push_back({slot.number, sums});
    TOPSPIN_TRY(store_thread(slot.number, thread));
  }
  return store_thread_ticks(sample.tick);
}

Status SqliteRunWriter::store_thread(uint32_t number, const ThreadRow& thread) {
  ParameterBinder bind(statements_->whole_thread);
  for_each_thread_column(thread,
                         [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
  std::vector<std::string> encoded;  // until the row is stored
  encoded.reserve(2);
  for_each_thread_histogram(thread, [&](auto, const auto& histogram) {
    if (histogram)
      bind.bind_blob(encoded.emplace_back(histogram->encode()));
    else
      bind.bind(std::optional<int64_t>());
  });
  bind.bind(row_key(number));
  return statements_->whole_thread.run();
}

Status SqliteRunWriter::store_thread_ticks(uint64_t tick) {
  keep_foremost(thread_ticks_, kThreadTicksKept, [](const ThreadSlot& a, const ThreadSlot& b) {
    const uint64_t of_a = a.sums.weight(), of_b = b.sums.weight();
    return std::tie(of_b, a.number) < std::tie(of_a, b.number);
  });
  for (const ThreadSlot& moment : thread_ticks_) {
    TOPSPIN_TRY(run_with(statements_->thread_tick, run_, tick, moment.number, moment.sums.cpu_ns,
                         moment.sums.run_queue_wait_ns, moment.sums.run_queue_waits));
  }
  return {};
}

Status SqliteRunWriter::store_owners(const std::vector<FlowOwner>& owners) {
  for (const FlowOwner& owner : owners) {
    const std::string quality(owner_quality_name(owner.quality));
    ParameterBinder bind(statements_->whole_owner);
    for_each_owner_column(owner,
                          [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
    bind.bind(quality);
    bind.bind(row_key(owner.number));
    TOPSPIN_TRY(statements_->whole_owner.run());
  }
  return {};
}

Status SqliteRunWriter::store_sockets(const std::vector<SocketRow>& sockets, uint64_t& unstored) {
  for (const SocketRow& socket : sockets) {
    auto found = sockets_.find(socket.cookie);
    if (found == sockets_.end()) {
      if (sockets_.size() >= max_socket_rows_) {
        ++unstored;
        continue;
      }
      found = sockets_.emplace(socket.cookie, static_cast<uint32_t>(sockets_.size())).first;
    }
    const std::string address = format_address(socket.local, socket.ip_version);
    ParameterBinder bind(statements_->whole_socket);
    for_each_socket_column(socket,
                           [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
    bind.bind(address);
    bind.bind(static_cast<int64_t>(socket.cookie));
    bind.bind(row_key(found->second));
    TOPSPIN_TRY(statements_->whole_socket.run());
  }
  return {};
}

Status SqliteRunWriter::store_syscalls(const std::vector<SyscallRow>& syscalls) {
  for (const SyscallRow& syscall : syscalls) {
    const std::string latency = syscall.latency.encode();
    Statement& insert = statements_->whole_syscall;
    ParameterBinder bind(insert);
    int parameters = 0;
    for_each_syscall_column(syscall, [&](auto prefix, auto name, const auto& v) {
      bind(prefix, name, v);
      ++parameters;
    });
    insert.bind_blob(parameters + 1, latency);
    insert.bind_int(parameters + 2, run_);
    TOPSPIN_TRY(insert.run());
  }
  return {};
}

Status SqliteRunWriter::store_cpu_holders(const std::vector<CpuHolderRow>& holders) {
  for (const CpuHolderRow& holder : holders) {
    Statement& insert = statements_->whole_cpu_holder;
    const std::string_view kind = cpu_holder_name(holder.kind);
    ParameterBinder bind(insert);
    int parameters = 0;
    for_each_cpu_holder_column(holder, [&](auto prefix, auto name, const auto& v) {
      bind(prefix, name, v);
      ++parameters;
    });
    insert.bind_int(parameters + 1, run_);
    insert.bind_text(parameters + 2, kind);
    TOPSPIN_TRY(insert.run());
  }
  return {};
}

Status SqliteRunWriter::store_sleep_stacks(const std::vector<SleepStackRow>& stacks) {
  for (const SleepStackRow& stack : stacks) {
    Statement& insert = statements_->whole_sleep_stack;
    ParameterBinder bind(insert);
    int parameters = 0;
    for_each_sleep_stack_column(stack, [&](auto prefix, auto name, const auto& v) {
      bind(prefix, name, v);
      ++parameters;
    });
    insert.bind_int(parameters + 1, run_);
    insert.bind_text(parameters + 2, blocked_by_name(stack.reason));
    TOPSPIN_TRY(insert.run());
  }
  return {};
}

Status SqliteRunWriter::store_stretches(const std::vector<BusyStretch>& stretches) {
  for (const BusyStretch& stretch : stretches) {
    const auto number = stretches_.keep(stretch.tid, stretch.length_ns);
    if (!number) continue;
    ParameterBinder bind(statements_->whole_stretch);
    for_each_busy_stretch_column(
        stretch, [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
    bind.bind(run_);
    bind.bind(*number);
    TOPSPIN_TRY(statements_->whole_stretch.run());
    ParameterBinder of(statements_->no_stretch_stacks);
    of.bind(run_);
    of.bind(*number);
    TOPSPIN_TRY(statements_->no_stretch_stacks.run());
    for (const StretchStack& stack : stretch.stacks) {
      ParameterBinder one(statements_->stretch_stack);
      one.bind(run_);
      one.bind(*number);
      one.bind(stack.stack);
      one.bind(stack.samples);
      TOPSPIN_TRY(statements_->stretch_stack.run());
    }
  }
  return {};
}

Status SqliteRunWriter::store_stacks(const std::vector<StackRow>& stacks) {
  for (const StackRow& stack : stacks) {
    ParameterBinder bind(statements_->whole_stack);
    for_each_stack_column(stack,
                          [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
    bind.bind(row_key(stack.number));
    TOPSPIN_TRY(statements_->whole_stack.run());
  }
  return {};
}

Status SqliteRunWriter::store_called(const std::vector<CalledRow>& addresses) {
  for (const CalledRow& called : addresses) {
    const std::string address = format_address(called.address, called.ip_version);
    const std::string latency = called.latency.encode();
    Statement& insert = statements_->whole_called;
    ParameterBinder bind(insert);
    for_each_called_column(called,
                           [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
    bind.bind(address);
    bind.bind_blob(latency);
    bind.bind(run_);
    TOPSPIN_TRY(insert.run());
  }
  return {};
}

/// A run keeps its slowest replies. A slower one replaces the least slow one.
Status SqliteRunWriter::store_slow_replies(const Sample& sample) {
  for (const SlowReply& reply : sample.slowest_replies) {
    auto place = std::min_element(slow_replies_.begin(), slow_replies_.end());
    if (slow_replies_.size() < kSlowRepliesARun)
      place = slow_replies_.insert(slow_replies_.end(), reply.total_ns);
    else if (reply.total_ns > *place)
      *place = reply.total_ns;
    else
      continue;
    const std::string local = format_address(reply.local, reply.ip_version);
    const std::string remote = format_address(reply.remote, reply.ip_version);
    ParameterBinder bind(statements_->whole_slow_reply);
    for_each_slow_reply_column(
        reply, [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
    bind.bind(local);
    bind.bind(remote);
    bind.bind(row_key(static_cast<uint32_t>(place - slow_replies_.begin())));
    TOPSPIN_TRY(statements_->whole_slow_reply.run());
  }
  return {};
}

Status SqliteRunWriter::set_start(int64_t wall_ns, int64_t monotonic_ns) {
  CHECK(ticks_ == 0);
  TOPSPIN_ASSIGN(Statement update,
                 connection_->prepare("UPDATE run SET started_wall_ns = ?2,"
                                      " started_monotonic_ns = ?3 WHERE run = ?1"));
  update.bind_int(1, run_);
  update.bind_int(2, wall_ns);
  update.bind_int(3, monotonic_ns);
  return update.run();
}

Status SqliteRunWriter::add_event(int64_t elapsed_ns, std::string_view text) {
  CHECK(!finished_);
  if (failed_) return *failed_;
  TOPSPIN_ASSIGN(Statement insert,
                 connection_->prepare("INSERT INTO event VALUES (?1, ?2, ?3, ?4)"));
  insert.bind_int(1, run_);
  insert.bind_int(2, events_);
  insert.bind_int(3, elapsed_ns);
  insert.bind_text(4, text);
  TOPSPIN_TRY(insert.run());
  ++events_;
  return {};
}

Status SqliteRunWriter::put_stage(uint64_t position, const RunStage& stage) {
  CHECK(!finished_);
  if (failed_) return *failed_;
  TOPSPIN_TRY(upsert_stage(*connection_, run_, position, stage));
  if (folds_) folds_->put_stage(position, stage);
  return {};
}

Status SqliteRunWriter::put_load(const LoadResult& load) {
  CHECK(!finished_);
  if (failed_) return *failed_;
  TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(*connection_));
  TOPSPIN_TRY(insert_load(*connection_, run_, load));
  return transaction.commit();
}

/// Moves the changes of flows that wait into their rows. If that fails, as on a full disk, they
/// stay where readers find them too.
void SqliteRunWriter::fold_flows() {
  const auto fold = [&]() -> Status {
    TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(*connection_));
    TOPSPIN_TRY(flows_->fold_all());
    return transaction.commit();
  };
  // The room that the changes took is given back.
  if (flows_ && !failed_ && fold().ok()) (void)flows_->shrink().ok();
  flows_.reset();
}

Status SqliteRunWriter::store_end(const RunEnd& end) {
  TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(*connection_));
  TOPSPIN_ASSIGN(Statement update,
                 connection_->prepare("UPDATE run SET status = ?2, duration_ns = ?3, ticks = ?4,"
                                      " exit_status = ?5 WHERE run = ?1"));
  update.bind_int(1, run_);
  update.bind_text(2, run_status_name(end.status));
  update.bind_int(3, end.duration_ns);
  update.bind_int(4, ticks_);
  if (end.exit_status)
    update.bind_int(5, *end.exit_status);
  else
    update.bind_null(5);
  TOPSPIN_TRY(update.run());
  TOPSPIN_TRY(insert_list(*connection_, "INSERT INTO invalid_reason VALUES (?1, ?2, ?3)", run_,
                          end.invalid_reasons));
  TOPSPIN_TRY(insert_list(*connection_, "INSERT INTO doubt VALUES (?1, ?2, ?3)", run_, end.doubts));
  TOPSPIN_TRY(store_folds());
  return transaction.commit();
}

/// Stores the folds only if they equal the sum of the stored ticks. If ticks were dropped, or
/// losses were reported after their tick, a reader folds the ticks instead.
Status SqliteRunWriter::store_folds() {
  if (!folds_ || !folds_->exact()) return {};
  const RunFold& whole = folds_->whole();
  if (whole.ticks != static_cast<uint64_t>(ticks_) || !are_equal(whole.merged.losses, losses_))
    return {};
  TOPSPIN_TRY(insert_fold(*connection_, run_, RunPart::kWhole, whole));
  const RunFold* measured = folds_->measured();
  return measured != nullptr ? insert_fold(*connection_, run_, RunPart::kMeasured, *measured)
                             : Status();
}

Status SqliteRunWriter::finish(const RunEnd& end) {
  CHECK(!finished_);
  fold_flows();
  statements_.reset();
  Status stored = store_end(end);
  if (!stored.ok()) {
    // On a full disk the log may hold pages for which the file has room. Move them and try again.
    (void)connection_->execute("PRAGMA wal_checkpoint(TRUNCATE)").ok();
    stored = store_end(end);
  }
  if (!stored.ok() && may_pass(stored.error())) return stored;
  finished_ = true;
  if (const Status place = check_place(); stored.ok()) stored = place;
  leave_wal_mode(*connection_);
  connection_.reset();
  return stored;
}

}  // namespace

Status RunWriter::check(const std::string& path, const WriterOptions& options) {
  TOPSPIN_ASSIGN([[maybe_unused]] const auto connection,
                 open_for_writing(path, FileOwner{options.owner_uid, options.owner_gid}));
  return {};
}

Result<std::unique_ptr<RunWriter>> RunWriter::create(const std::string& path, const RunInfo& run,
                                                     const WriterOptions& options) {
  TOPSPIN_ASSIGN(auto connection,
                 open_for_writing(path, FileOwner{options.owner_uid, options.owner_gid}));
  const auto start = [&]() -> Result<int64_t> {
    TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(*connection));
    TOPSPIN_TRY(mark_runs_of_dead_writers(*connection));
    TOPSPIN_ASSIGN(const int64_t number, insert_run(*connection, run));
    TOPSPIN_TRY(transaction.commit());
    return number;
  };
  TOPSPIN_ASSIGN(auto statements, TickStatements::prepare(*connection));
  TOPSPIN_ASSIGN(const int64_t number, start());
  TOPSPIN_ASSIGN(auto flows, FlowWriter::prepare(*connection, number,
                                                 std::min(options.max_flow_rows, kMostRows)));
  connection->set_busy_timeout(options.busy_timeout_ms);
  if (room_is_scarce(path)) keep_log_small(*connection);
  return std::unique_ptr<RunWriter>(std::make_unique<SqliteRunWriter>(
      std::move(connection), std::move(statements), std::move(flows), number, options));
}

}  // namespace topspin
