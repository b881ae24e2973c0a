// Model: everything that the screens show. It gets one Sample per tick.
//
// The Samples are the stored ones. The model keeps them in the form that views need: headline
// numbers per tick, the current flow rows and thread rows, and liveness. It counts nothing itself;
// for example, the number of active flows is that of the Sample, not that of the rows.
// It is a value, and a copy is a frozen picture. Time is a parameter. Lives on the session's
// thread.
#pragma once

#include <any>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/run/growth.h"
#include "core/run/run.h"
#include "core/tick/sample.h"
#include "tui/model/failed_work.h"
#include "tui/model/flow_packets.h"
#include "tui/model/history.h"
#include "tui/model/interface_table.h"
#include "tui/model/liveness.h"
#include "tui/model/names.h"
#include "tui/model/process_table.h"
#include "tui/model/recent_latency.h"
#include "tui/model/recent_ticks.h"

namespace topspin {

struct ModelLimits {
  size_t max_ticks = 3600;
  size_t max_flow_rows = 1'000'000;  // later flows have no row until there is room
  size_t max_thread_rows = 65'536;
  size_t max_socket_rows = 65'536;
  size_t max_slow_replies = kSlowRepliesARun;  // as many as a run keeps
  uint64_t ended_linger_ticks = 10;            // how long an ended flow or thread stays
  int64_t silent_drop_ns = 60'000'000'000;     // a flow silent for this long is removed; 0: never
};

/// The text of a finding (ci/findings).
struct CauseText {
  std::string sentence, evidence, refuted_by, next_step;
  bool stands_out = true;  // false: it says that nothing stands out
};

/// Facts that do not change during an observation, except for the subject's state.
struct Scene {
  std::string source;  // "lo", "any", a file's name, "run 0192..."
  std::string filter;
  std::string subject;        // "node server.js", "pid 123", "cgroup /x"; empty: none
  std::string subject_state;  // "running", "exited 0", ...
  std::vector<ProbeStatus> probes;
  std::optional<int64_t> period_ns;  // declared with --period
  int64_t reply_timeout_ns = 0;      // 0: not known
  std::string note;                  // "REPLAY 1x paused", "FILE": shown in the title bar
  // In a replay of stored ticks, rows of flows and sockets have the counts of the run's end.
  bool flows_are_final = false;
  // The findings of the last minute, the worst first; empty if not computed yet.
  std::vector<CauseText> causes;
};

/// Aligned to cache lines, so that no value of a row lies in two of them.
struct alignas(64) FlowEntry {
  FlowRow row;
  uint64_t changed_tick = 0;  // the tick that last brought this row
  uint64_t tick_packets = 0;  // in that tick, both directions
  uint64_t tick_bytes = 0;
  std::array<uint64_t, 2> tick_bytes_of{};  // by sender: [0] initiator, [1] responder
};

/// What every tick and the usual orders read of each flow, packed, because with a million flows the
/// time goes into reading their rows.
struct FlowPulse {
  int64_t last_ns = 0;
  int64_t period_ns = 0;  // 0: none
  int64_t lateness_max_ns = 0;
  uint64_t bytes = 0;  // both directions
  uint64_t changed_tick = 0;
  Liveness tick_liveness = Liveness::kQuiet;  // as judged in that tick
  bool has_lateness = false;
  bool ended = false;
  bool silent = false;
};

struct ThreadEntry {
  ThreadRow row;
  uint64_t changed_tick = 0;
  // Growth in that tick; absent if the counter is, or if the thread is seen for the first time.
  std::optional<uint64_t> tick_cpu_ns;
  std::optional<uint64_t> tick_wait_ns;
  std::optional<uint64_t> tick_switches;
};

struct SyscallEntry {
  SyscallRow row;
  uint64_t changed_tick = 0;
  uint64_t tick_count = 0;  // in that tick
  uint64_t tick_ns = 0;     // time inside, in that tick
};

struct SocketEntry {
  SocketRow row;
  uint64_t changed_tick = 0;
};

class Model {
 public:
  explicit Model(ModelLimits limits = {}) : limits_(limits), history_(limits.max_ticks) {}

  /// Adds a tick. REQUIRES: ticks come in order.
  void add(const Sample& sample);

  /// Removes the rows of flows, but not the counts. A row returns with its flow's next packet.
  void purge_flows();

  /// Replaces the history that add() made. Nothing else depends on it.
  void set_history(TickHistory history) {
    history_ = std::move(history);
    growth_.reset();
  }

  Scene scene;
  // Data that the owner of the screen looks up in addition to the Samples; nothing here is counted.
  NameTable names;
  InterfaceTable interfaces;
  FlowPackets packets;
  ProcessTable processes;

  const TickHistory& history() const { return history_; }
  /// The cost of a flow, headroom and leak, from the stored ticks. It is computed on the
  /// first call after a tick, which takes some milliseconds.
  const Growth& growth_of_run() const;
  /// In order of id, which is the order of first packets.
  const std::vector<FlowEntry>& flows() const { return flows_; }
  /// One for each of flows(), and always of its row.
  const std::vector<FlowPulse>& pulses() const { return pulses_; }
  /// The liveness of the flow at this index of flows().
  const LivenessHistory& liveness(size_t flow_index) const { return liveness_[flow_index]; }
  /// The index of the flow with this id.
  std::optional<size_t> find_flow(uint64_t id) const;
  const std::vector<ThreadEntry>& threads() const { return threads_; }
  const OwnerTable& owners() const { return owners_; }
  /// By number.
  const std::vector<SyscallEntry>& syscalls() const { return syscalls_; }
  /// The addresses that the subject called, by number.
  const std::vector<CalledRow>& called() const { return called_; }
  /// Who had the CPUs while the subject waited for them, by number.
  const std::vector<CpuHolderRow>& cpu_holders() const { return cpu_holders_; }
  /// The slowest of all ticks, the slowest first.
  const std::vector<SlowReply>& slowest_replies() const { return slowest_replies_; }
  /// By cookie.
  const std::vector<SocketEntry>& sockets() const { return sockets_; }

  uint64_t tick() const { return tick_; }
  /// The end of the last tick on the clock of the flow rows' times.
  int64_t flow_now_ns() const { return flow_now_ns_; }
  /// Changes with every add() and purge. Anything that was derived from the rows is then stale.
  uint64_t version() const { return version_; }

  /// What a screen derived from the rows, kept until they change: most frames show the same rows as
  /// the one before. make() is called if nothing is kept under this name with an equal key. The
  /// result must depend on the rows, owners and the key alone.
  template <typename Key, typename Make>
  const auto& derived(std::string_view name, const Key& key, Make make) const {
    using Kept = std::pair<Key, std::invoke_result_t<Make>>;
    std::any& slot = derived_[name];
    const Kept* kept = std::any_cast<Kept>(&slot);
    if (kept == nullptr || !(kept->first == key)) kept = &slot.emplace<Kept>(key, make());
    return kept->second;
  }

  uint64_t packets_total() const { return packets_total_; }
  uint64_t bytes_total() const { return bytes_total_; }
  uint64_t flows_total() const { return flows_total_; }
  /// Whether some flow has or had a period. If so, lateness, missed ticks and silence are shown.
  bool has_periods() const { return scene.period_ns.has_value() || had_periods_; }
  uint64_t missed_total() const { return missed_total_; }
  uint64_t unanswered_total() const { return unanswered_total_; }
  const FailedWork& failed() const { return failed_; }
  /// The number of requests so far that were never answered.
  uint64_t never_answered_total() const { return unanswered_total_ - late_replies_total_; }
  /// The numbers of the last tick, and those of all ticks together (core/tick/numbers.h); no rows.
  const Sample& last() const { return last_; }
  const Sample& whole() const { return whole_; }
  /// The last minute (recent_ticks.h).
  RunFold recent_ticks() const { return recent_ticks_.fold(); }
  const LossInterval& losses_total() const { return losses_total_; }

  /// The bytes of a flow in the last tick; 0 if it had none.
  uint64_t bytes_now(const FlowEntry& flow) const {
    return flow.changed_tick == tick_ ? flow.tick_bytes : 0;
  }
  uint64_t packets_now(const FlowEntry& flow) const {
    return flow.changed_tick == tick_ ? flow.tick_packets : 0;
  }

 private:
  using ThreadKey = std::tuple<int32_t, int32_t, int64_t>;

  void add_flows(const Sample& sample);
  void sort_new_flows();
  void judge_and_drop_flows();
  void rows_changed();
  void add_threads(const Sample& sample);
  void drop_threads();
  void add_syscalls(const Sample& sample);
  void add_sockets(const Sample& sample);
  void add_slowest(const Sample& sample);

  ModelLimits limits_;
  TickHistory history_;
  mutable std::optional<Growth> growth_;  // of the ticks so far, if it was requested
  mutable std::map<std::string_view, std::any> derived_;
  std::vector<FlowEntry> flows_;           // by id
  std::vector<uint64_t> ids_;              // of flows_; compact, to make the search fast
  std::vector<FlowPulse> pulses_;          // one for each of flows_
  std::vector<LivenessHistory> liveness_;  // likewise
  std::vector<ThreadEntry> threads_;
  std::map<ThreadKey, size_t> thread_index_;
  OwnerTable owners_;
  std::vector<SyscallEntry> syscalls_;
  std::vector<SocketEntry> sockets_;
  uint64_t tick_ = 0;
  int64_t flow_now_ns_ = 0;
  uint64_t version_ = 0;
  uint64_t packets_total_ = 0;
  uint64_t bytes_total_ = 0;
  uint64_t flows_total_ = 0;
  uint64_t missed_total_ = 0;
  uint64_t unanswered_total_ = 0;
  uint64_t late_replies_total_ = 0;  // never more than unanswered_total_
  bool had_periods_ = false;
  RecentLatencies recent_;
  FailedWork failed_;
  LossInterval losses_total_;
  Sample last_, whole_;
  RecentTicks recent_ticks_;
  std::vector<CalledRow> called_;
  std::vector<CpuHolderRow> cpu_holders_;
  std::vector<SlowReply> slowest_replies_;
};

}  // namespace topspin
