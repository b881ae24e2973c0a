#include "probes/owners/flow_owner.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <linux/capability.h>

#include "core/base/clock.h"
#include "probes/bpf/capabilities.h"
#include "probes/inet/local_addresses.h"
#include "probes/inet/socket_table.h"
#include "probes/owners/socket_walk.h"
#include "probes/proc/subject.h"

namespace topspin {
namespace {

constexpr size_t kMaxEventsKept = 65'536;                // in each half
constexpr int64_t kEventsTurnNs = 10 * kNanosPerSecond;  // an event is kept for one to two turns
/// If there is no room, a flow that has been silent for this long is dropped.
constexpr int64_t kForgetFlowNs = 120 * kNanosPerSecond;

/// What is known about one end.
struct Finding {
  const SocketProcess* process = nullptr;
  OwnerQuality quality = OwnerQuality::kSnapshot;
  bool settled = true;  // found by both ends of the flow, so the next walk adds nothing
};

/// The owners of a run and their numbers.
class OwnerRegister {
 public:
  explicit OwnerRegister(uint32_t max_owners) : max_owners_(max_owners) {}

  /// The number of `process` with this quality, which may be a new number; nullopt if there is no
  /// room. Adds the owner to `changed` if it is new or renamed.
  std::optional<uint32_t> number_of(const SocketProcess& process, OwnerQuality quality,
                                    std::vector<FlowOwner>& changed) {
    const auto [place, fresh] = numbers_.try_emplace({process.pid, process.start_time_ns, quality},
                                                     static_cast<uint32_t>(owners_.size()));
    if (fresh) {
      if (owners_.size() >= max_owners_) {
        numbers_.erase(place);
        return std::nullopt;
      }
      owners_.push_back({static_cast<uint32_t>(owners_.size() + 1), process.pid,
                         process.start_time_ns, process.name, quality});
      changed.push_back(owners_.back());
      return owners_.back().number;
    }
    FlowOwner& owner = owners_[place->second];
    if (owner.name != process.name) {
      owner.name = process.name;
      changed.push_back(owner);
    }
    return owner.number;
  }

  const FlowOwner& operator[](uint32_t number) const { return owners_[number - 1]; }

 private:
  uint32_t max_owners_;
  std::map<std::tuple<int32_t, int64_t, OwnerQuality>, uint32_t> numbers_;  // values are indexes
  std::vector<FlowOwner> owners_;
};

/// The latest connections, by the end that each event describes. There are two halves, and each
/// turn drops the older one. So the size is bounded, and no event is dropped before kEventsTurnNs
/// unless there are more than kMaxEventsKept.
class RecentEvents {
 public:
  void add(SocketEvent event) {
    if (newer_.size() >= kMaxEventsKept) turn();
    const FlowEnd end = socket_end(event.socket);
    newer_.insert_or_assign(end, std::move(event));
  }
  const SocketEvent* find(const FlowEnd& end) const {
    for (const auto* half : {&newer_, &older_}) {
      if (const auto found = half->find(end); found != half->end()) return &found->second;
    }
    return nullptr;
  }
  void turn_if_due(int64_t now_ns) {
    if (now_ns < next_turn_ns_) return;
    next_turn_ns_ = now_ns + kEventsTurnNs;
    turn();
  }

 private:
  using Half = std::unordered_map<FlowEnd, SocketEvent, FlowEndHash>;
  void turn() {
    older_ = std::move(newer_);
    newer_.clear();
  }
  Half newer_;
  Half older_;
  int64_t next_turn_ns_ = 0;
};

/// Knows which processes are the subject's. Processes that started since the last list are
/// recognised by their ancestors.
class SubjectProcesses {
 public:
  explicit SubjectProcesses(const std::string& proc_root) : proc_(proc_root) {}

  void set_subject(Subject subject) { subject_ = std::move(subject); }
  bool has_subject() const { return subject_.kind != SubjectSpec::Kind::kNone; }

  void note(const std::vector<int32_t>& processes) {
    ++lists_;
    if (processes == listed_) return;
    listed_ = processes;
    others_.clear();
  }

  /// nullopt: not known yet, or not any more.
  std::optional<bool> contains(const SocketProcess& process) {
    if (std::binary_search(listed_.begin(), listed_.end(), process.pid)) return true;
    if (others_.size() > kOthersMax) others_.clear();
    const auto [found, is_new] =
        others_.try_emplace({process.pid, process.start_time_ns}, Other{lists_, false});
    Other& other = found->second;
    if (other.is_certain) return false;
    if (subject_.kind == SubjectSpec::Kind::kCgroup) {
      other.is_certain = other.asked_at < lists_;  // it is in no list made since then
      return other.is_certain ? std::optional(false) : std::nullopt;
    }
    const auto descends = is_descendant(process.pid);
    if (descends == true) {
      others_.erase(found);
    } else {
      other.is_certain = descends.has_value();
    }
    return descends;
  }

 private:
  static constexpr size_t kOthersMax = 65'536;
  static constexpr int kGenerationsMax = 64;
  struct Other {
    uint64_t asked_at;  // the value of lists_ at that time
    bool is_certain;
  };

  std::optional<bool> is_descendant(int32_t pid) {
    for (int generation = 0; pid > 1 && generation < kGenerationsMax; ++generation) {
      if (pid == subject_.own_pid && pid != subject_.pid) return false;
      const auto stat = proc_.stat(pid);
      if (!stat) return std::nullopt;
      if (pid == subject_.pid) return stat->start_ticks == subject_.start_ticks;
      if (std::binary_search(listed_.begin(), listed_.end(), pid)) return true;
      pid = stat->parent_pid;
    }
    return false;
  }

  Subject subject_;
  ProcReader proc_;
  std::vector<int32_t> listed_;
  uint64_t lists_ = 0;
  std::map<std::pair<int32_t, int64_t>, Other> others_;  // not of the subject, as far as known
};

class OpenFlowOwners final : public FlowOwners {
 public:
  OpenFlowOwners(const FlowOwnerLimits& limits, const std::string& proc_root)
      : limits_(limits),
        processes_(proc_root),
        sockets_(limits.max_sockets),
        next_sockets_(limits.max_sockets),
        register_(limits.max_owners) {}

  void open(const SubjectSpec& spec, const ProbeOptions& options) {
    status_.name = "owners";
    const auto forced = options.forced.find("owners");
    if (forced != options.forced.end() && forced->second == Rung::kNone) {
      status_.reason = "turned off";
      return;
    }
    ProcReader proc(options.proc_root);
    auto subject = resolve_subject(spec, proc);
    status_ = climb("owners", kOwnersLadder, options, [&](Rung rung) -> Status {
      TOPSPIN_ASSIGN(walk_, rung == Rung::kTpBtf
                                ? open_bpf_socket_walk()
                                : open_proc_socket_walk(subject.ok() ? *subject : Subject{},
                                                        options.proc_root));
      return {};
    });
    sees_all_ = status_.rung == Rung::kTpBtf || has_effective_capability(CAP_SYS_PTRACE);
    if (subject.ok()) processes_.set_subject(std::move(subject).value());
    if (status_.rung == Rung::kProc && !sees_all_)
      status_.reason +=
          "; without cap_sys_ptrace it sees the sockets of this user's processes only";
  }

  const ProbeStatus& status() const override { return status_; }

  std::vector<int> capabilities_needed() const override {
    return walk_ ? walk_->capabilities_needed() : std::vector<int>{};
  }

  bool knows_parts() const override { return walk_ != nullptr && processes_.has_subject(); }

  void note_processes(const std::vector<int32_t>& processes) override {
    const std::lock_guard lock(mutex_);
    processes_.note(processes);
  }

  void look_around() override {
    if (!walk_) return;
    constexpr int64_t kPatienceNs = kNanosPerSecond;
    std::unique_lock lock(mutex_);
    const int64_t deadline_ns = monotonic_now_ns() + kPatienceNs;
    do {
      walk(monotonic_now_ns(), lock);
    } while (walking_ && monotonic_now_ns() < deadline_ns);
  }

  SubjectPart part_in(const FlowKey& flow, bool initiator_is_low) override {
    const std::lock_guard lock(mutex_);
    if (!walk_) return SubjectPart::kUnknown;
    take_events(monotonic_now_ns());
    const FlowEnd low{flow.ip_version, flow.protocol, flow.low, flow.high};
    const FlowEnd high{flow.ip_version, flow.protocol, flow.high, flow.low};
    const FlowEnd& initiator = initiator_is_low ? low : high;
    const auto responds = is_of_subject(initiator_is_low ? high : low);
    if (responds == true) return SubjectPart::kServes;
    const auto asks = is_of_subject(initiator);
    // The ends of a connection joined midway may be swapped.
    const bool was_accepted = flow.protocol == kProtocolTcp && sockets_.has_listener(initiator);
    if (asks == true) return was_accepted ? SubjectPart::kNone : SubjectPart::kCalls;
    const bool is_from_here = local_.contains(initiator.ip_version, initiator.local.address);
    if (is_from_here && !asks) return SubjectPart::kUnknown;
    return responds ? SubjectPart::kNone : SubjectPart::kPerhapsServes;
  }

  std::vector<OpenedConnection> take_opened() override {
    const std::lock_guard lock(mutex_);
    return std::exchange(opened_, {});
  }

  void resolve(Sample& sample) override {
    if (!walk_) return;
    std::unique_lock lock(mutex_);
    const int64_t now_ns = monotonic_now_ns();
    take_events(now_ns);

    // First collect all flows that need a walk, so that one walk serves all; then look them up.
    asked_.clear();
    bool wants_walk = false;
    for (FlowRow& row : sample.changed_flows) {
      Flow* flow = remember(row, now_ns);
      asked_.push_back(flow);
      if (flow) wants_walk |= !flow->settled && flow->wanted_walk > walks_done_;
    }
    const bool stale = now_ns - walk_began_ns_ >= limits_.refresh_ns;
    const bool is_asked = !asked_.empty() || processes_.has_subject();
    if (walking_ || wants_walk || (is_asked && stale)) walk(now_ns, lock);

    for (size_t index = 0; index < asked_.size(); ++index) {
      FlowRow& row = sample.changed_flows[index];
      Flow* flow = asked_[index];
      if (!flow) continue;
      // Until its walk is complete, an event may show the owner.
      const bool waits = !flow->settled && flow->wanted_walk > walks_done_;
      if (!flow->looked_up || flow->seen_walk != walks_done_ || waits)
        look_up(row, *flow, sample.changed_owners);
      for (size_t side = 0; side < row.owners.size(); ++side) {
        if (flow->owners[side] != 0) row.owners[side] = flow->owners[side];
      }
      count_missing(row, *flow);
    }
    for (const FlowRow& row : sample.changed_flows) {
      if (row.ended) flows_.erase(row.id);
    }
    sample.losses.flow_owners_missed += std::exchange(missed_, 0);
  }

 private:
  struct Flow {
    std::array<uint32_t, 2> owners{};  // numbers; 0: none
    bool settled = false;              // another walk would only notice a change of owner
    bool looked_up = false;
    bool initiator_is_low = false;
    bool counted = false;      // already counted as a flow without an owner
    uint32_t wanted_walk = 0;  // the first walk that began after the flow was seen
    uint32_t seen_walk = 0;    // the walk whose sockets were searched last
    int64_t asked_ns = 0;
  };

  void take_events(int64_t now_ns) {
    events_.turn_if_due(now_ns);
    taken_events_.clear();
    walk_->take_events(taken_events_);
    for (SocketEvent& event : taken_events_) {
      if (!event.accepted && processes_.has_subject())
        note_opened(socket_end(event.socket), event.process);
      events_.add(std::move(event));
    }
    const uint64_t events_missed = walk_->events_missed();
    missed_ += events_missed - events_missed_;
    events_missed_ = events_missed;
  }

  void note_opened(const FlowEnd& end, const SocketProcess& process) {
    if (opened_.size() >= kOpenedKept || processes_.contains(process) != true) return;
    const FlowEnd other{end.ip_version, end.protocol, end.remote, end.local};
    if (is_of_subject(other) == true) return;
    opened_.push_back({end, local_.contains(end.ip_version, end.remote.address)});
  }

  /// Notes the connections that only the walk just completed has found.
  void note_opened_of_walk() {
    if (!processes_.has_subject()) return;
    std::unordered_set<FlowEnd, FlowEndHash> open;
    sockets_.for_each_opened([&](const FlowEnd& end, const SocketProcess& process) {
      if (processes_.contains(process) != true) return;
      open.insert(end);
      if (!open_before_.contains(end) && events_.find(end) == nullptr) note_opened(end, process);
    });
    open_before_ = std::move(open);
  }

  /// nullopt: no owner is known, or not whether the owner is in the subject.
  std::optional<bool> is_of_subject(const FlowEnd& end) {
    const Finding found = find(end);
    return found.process ? processes_.contains(*found.process) : std::nullopt;
  }

  /// nullptr if there is no room.
  Flow* remember(const FlowRow& row, int64_t now_ns) {
    auto found = flows_.find(row.id);
    if (found == flows_.end()) {
      if (flows_.size() >= limits_.max_flows && !forget_silent(now_ns)) {
        ++missed_;
        return nullptr;
      }
      found = flows_.try_emplace(row.id).first;
      found->second.wanted_walk = walks_begun_ + 1;
    }
    Flow& flow = found->second;
    flow.asked_ns = now_ns;
    // The initiator turned out to be the other end, so the owners change places.
    if (flow.looked_up && flow.initiator_is_low != row.initiator_is_low)
      std::swap(flow.owners[0], flow.owners[1]);
    flow.initiator_is_low = row.initiator_is_low;
    return &flow;
  }

  bool forget_silent(int64_t now_ns) {
    if (now_ns == forgot_ns_) return false;  // once per resolve() is enough
    forgot_ns_ = now_ns;
    return std::erase_if(flows_, [&](const auto& entry) {
             return now_ns - entry.second.asked_ns > kForgetFlowNs;
           }) > 0;
  }

  /// Continues the walk for its allowed time. The cost of a walk decides how soon the next one may
  /// begin. The lock is released meanwhile, so the capture does not wait.
  void walk(int64_t now_ns, std::unique_lock<std::mutex>& lock) {
    if (!walking_) {
      if (now_ns < next_walk_ns_) return;
      walking_ = true;
      walk_began_ns_ = now_ns;
      walk_cost_ns_ = 0;
      ++walks_begun_;
      next_sockets_.clear();
      local_ = LocalAddresses::read();
    }
    const int64_t begin_ns = monotonic_now_ns();
    lock.unlock();
    const auto complete = walk_->advance(next_sockets_, begin_ns + limits_.walk_ns_per_resolve);
    lock.lock();
    const int64_t end_ns = monotonic_now_ns();
    walk_cost_ns_ += end_ns - begin_ns;
    if (complete.ok() && !*complete) return;
    walking_ = false;
    next_walk_ns_ = end_ns + walk_cost_ns_ * limits_.walk_share;
    if (!complete.ok()) return;  // keep the sockets of the last good walk
    std::swap(sockets_, next_sockets_);
    missed_ += sockets_.missed();
    walks_done_ = walks_begun_;
    note_opened_of_walk();
  }

  void look_up(const FlowRow& row, Flow& flow, std::vector<FlowOwner>& changed) {
    flow.looked_up = true;
    flow.seen_walk = walks_done_;
    flow.settled = true;
    for (size_t side = 0; side < flow.owners.size(); ++side) {
      const Finding found = find(flow_end(row, side));
      if (!found.process || !found.settled) flow.settled = false;
      if (!found.process) continue;
      uint32_t& owner = flow.owners[side];
      // A quality of kExact stays while the same process holds the socket.
      if (owner != 0 && found.quality == OwnerQuality::kSnapshot) {
        const FlowOwner& known = register_[owner];
        if (known.quality == OwnerQuality::kExact && known.pid == found.process->pid &&
            known.start_time_ns == found.process->start_time_ns)
          continue;
      }
      if (const auto number = register_.number_of(*found.process, found.quality, changed))
        owner = *number;
      else
        ++missed_;
    }
  }

  /// Counts a flow as missed, once, if an end on this host must have had a socket but has no owner,
  /// although a walk began after the flow was seen or the flow ended before one could.
  void count_missing(const FlowRow& row, Flow& flow) {
    if (flow.counted || !sees_all_ || (!row.ended && flow.seen_walk < flow.wanted_walk)) return;
    for (size_t side = 0; side < flow.owners.size(); ++side) {
      // An end that sends first has a socket. An end that never answers may have none, and a
      // refusal comes from the kernel.
      const bool has_socket = side == 0 ? row.packets[0] > 0 : row.payload_bytes[1].value_or(0) > 0;
      const FlowEnd end = flow_end(row, side);
      if (flow.owners[side] != 0 || !has_socket ||
          !local_.contains(end.ip_version, end.local.address))
        continue;
      flow.counted = true;
      ++missed_;
      return;
    }
  }

  /// The process whose open socket has exactly this flow; else the one that was seen to connect it;
  /// else the one that has the port; else the one that called listen() for it.
  Finding find(const FlowEnd& end) const {
    const auto open = sockets_.find(end, local_.contains(end.ip_version, end.local.address));
    const SocketEvent* event = end.protocol == kProtocolTcp ? events_.find(end) : nullptr;
    const SocketProcess* connector = event && !event->accepted ? &event->process : nullptr;
    if (open && (open->connected || !connector)) {
      if (open->shared) return {open->process, OwnerQuality::kShared, is_settled(end, *open)};
      const bool exact = connector && connector->same_as(*open->process);
      return {open->process, exact ? OwnerQuality::kExact : OwnerQuality::kSnapshot,
              is_settled(end, *open)};
    }
    if (connector) return {connector, OwnerQuality::kExact, true};
    if (event) return {&event->process, OwnerQuality::kSnapshot, false};
    return {};
  }

  /// A TCP connection found by its listener may still be accepted by another process.
  static bool is_settled(const FlowEnd& end, const SocketTable::Match& match) {
    return match.connected || end.protocol != kProtocolTcp;
  }

  FlowOwnerLimits limits_;
  ProbeStatus status_;
  std::mutex mutex_;  // guards all members below; not held during a walk, which changes only walk_
                      // and next_sockets_
  SubjectProcesses processes_;
  std::vector<OpenedConnection> opened_;
  std::unordered_set<FlowEnd, FlowEndHash> open_before_;  // the subject's, at the last walk
  bool sees_all_ = false;                                 // includes other users' sockets
  std::unique_ptr<SocketWalk> walk_;
  SocketTable sockets_;       // of the last complete walk
  SocketTable next_sockets_;  // of the current walk
  LocalAddresses local_;
  RecentEvents events_;
  std::vector<SocketEvent> taken_events_;
  OwnerRegister register_;
  std::unordered_map<uint64_t, Flow> flows_;
  std::vector<Flow*> asked_;  // of the current sample, one per row
  bool walking_ = false;
  uint32_t walks_begun_ = 0;
  uint32_t walks_done_ = 0;  // the number of the last complete one
  int64_t walk_began_ns_ = std::numeric_limits<int64_t>::min() / 2;
  int64_t walk_cost_ns_ = 0;
  int64_t next_walk_ns_ = 0;
  int64_t forgot_ns_ = 0;
  uint64_t events_missed_ = 0;
  uint64_t missed_ = 0;
};

}  // namespace

std::unique_ptr<FlowOwners> FlowOwners::open(const SubjectSpec& subject,
                                             const ProbeOptions& options,
                                             const FlowOwnerLimits& limits) {
  auto owners = std::make_unique<OpenFlowOwners>(limits, options.proc_root);
  owners->open(subject, options);
  return owners;
}

}  // namespace topspin
