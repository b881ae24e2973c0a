#include "probes/owners/flow_owner.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
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

constexpr size_t kMaxEventsKept = 65'536;                 // in each of two halves
constexpr int64_t kEventsTurnNs = 10 * kNanosPerSecond;   // an event is kept one to two turns
constexpr int64_t kForgetFlowNs = 120 * kNanosPerSecond;  // silent so long, when room is short

/// What is known of one end.
struct Finding {
  const SocketProcess* process = nullptr;
  OwnerQuality quality = OwnerQuality::kSnapshot;
  bool settled = true;  // by both ends of the flow: the next walk can add nothing
};

/// The owners of a run and their numbers.
class OwnerRegister {
 public:
  explicit OwnerRegister(uint32_t max_owners) : max_owners_(max_owners) {}

  /// The number of `process` in this quality, new if need be; nullopt if there is no room. What is
  /// new or renamed is added to `changed`.
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
  std::map<std::tuple<int32_t, int64_t, OwnerQuality>, uint32_t> numbers_;  // to indexes
  std::vector<FlowOwner> owners_;
};

/// The latest connections made, by the end that each event tells of. Two halves, of which the older
/// is dropped at each turn: bounded, and no event goes before kEventsTurnNs unless there are more
/// than kMaxEventsKept.
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

class OpenFlowOwners final : public FlowOwners {
 public:
  explicit OpenFlowOwners(const FlowOwnerLimits& limits)
      : limits_(limits),
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
    if (status_.rung == Rung::kProc && !sees_all_)
      status_.reason +=
          "; without cap_sys_ptrace it sees the sockets of this user's processes only";
  }

  const ProbeStatus& status() const override { return status_; }

  std::vector<int> capabilities_needed() const override {
    return walk_ ? walk_->capabilities_needed() : std::vector<int>{};
  }

  void resolve(Sample& sample) override {
    if (!walk_) return;
    const int64_t now_ns = monotonic_now_ns();
    take_events(now_ns);

    // First who is asked about, so that one walk serves all; then the answers.
    asked_.clear();
    bool wants_walk = false;
    for (FlowRow& row : sample.changed_flows) {
      Flow* flow = remember(row, now_ns);
      asked_.push_back(flow);
      if (flow) wants_walk |= !flow->settled && flow->wanted_walk > walks_done_;
    }
    const bool stale = now_ns - walk_began_ns_ >= limits_.refresh_ns;
    if (walking_ || (!asked_.empty() && (wants_walk || stale))) walk(now_ns);

    for (size_t index = 0; index < asked_.size(); ++index) {
      FlowRow& row = sample.changed_flows[index];
      Flow* flow = asked_[index];
      if (!flow) continue;
      // Until its walk has come, an event may tell.
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
    bool settled = false;              // another walk would only notice a change of hands
    bool looked_up = false;
    bool initiator_is_low = false;
    bool counted = false;      // as one whose owner was missed
    uint32_t wanted_walk = 0;  // the first walk that began after the flow was seen
    uint32_t seen_walk = 0;    // whose sockets were looked at
    int64_t asked_ns = 0;
  };

  void take_events(int64_t now_ns) {
    events_.turn_if_due(now_ns);
    taken_events_.clear();
    walk_->take_events(taken_events_);
    for (SocketEvent& event : taken_events_) events_.add(std::move(event));
    const uint64_t events_missed = walk_->events_missed();
    missed_ += events_missed - events_missed_;
    events_missed_ = events_missed;
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
    // The SYN came to light late, or was seen late: the ends change places, and so their owners.
    if (flow.looked_up && flow.initiator_is_low != row.initiator_is_low)
      std::swap(flow.owners[0], flow.owners[1]);
    flow.initiator_is_low = row.initiator_is_low;
    return &flow;
  }

  bool forget_silent(int64_t now_ns) {
    if (now_ns == forgot_ns_) return false;  // once in a resolve() is enough
    forgot_ns_ = now_ns;
    return std::erase_if(flows_, [&](const auto& entry) {
             return now_ns - entry.second.asked_ns > kForgetFlowNs;
           }) > 0;
  }

  /// Walks on for as long as it may. What a walk costs decides how soon the next may begin.
  void walk(int64_t now_ns) {
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
    const auto complete = walk_->advance(next_sockets_, begin_ns + limits_.walk_ns_per_resolve);
    const int64_t end_ns = monotonic_now_ns();
    walk_cost_ns_ += end_ns - begin_ns;
    if (complete.ok() && !*complete) return;
    walking_ = false;
    next_walk_ns_ = end_ns + walk_cost_ns_ * limits_.walk_share;
    if (!complete.ok()) return;  // the sockets of the last good walk stay
    std::swap(sockets_, next_sockets_);
    missed_ += sockets_.missed();
    walks_done_ = walks_begun_;
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
      // What was seen exactly stays exact while the same process has it.
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

  /// A flow counts as missed, once, if an end of it is on this host, must have had a socket, and
  /// has no owner although a walk began after it was seen, or it ended before one could.
  void count_missing(const FlowRow& row, Flow& flow) {
    if (flow.counted || !sees_all_ || (!row.ended && flow.seen_walk < flow.wanted_walk)) return;
    for (size_t side = 0; side < flow.owners.size(); ++side) {
      // Who sends first has a socket; who never answers may have none, and a refusal is the
      // kernel's.
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

  /// Whose open socket stands at just this flow, else who was seen to connect it, else who has the
  /// port, else who had it at the listen() that the connection came from.
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

  /// A TCP connection found by its listener may yet be accepted by another process.
  static bool is_settled(const FlowEnd& end, const SocketTable::Match& match) {
    return match.connected || end.protocol != kProtocolTcp;
  }

  FlowOwnerLimits limits_;
  ProbeStatus status_;
  bool sees_all_ = false;  // other users' sockets too
  std::unique_ptr<SocketWalk> walk_;
  SocketTable sockets_;       // of the last complete walk
  SocketTable next_sockets_;  // of the one under way
  LocalAddresses local_;
  RecentEvents events_;
  std::vector<SocketEvent> taken_events_;
  OwnerRegister register_;
  std::unordered_map<uint64_t, Flow> flows_;
  std::vector<Flow*> asked_;  // of the sample at hand, a row each
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
  auto owners = std::make_unique<OpenFlowOwners>(limits);
  owners->open(subject, options);
  return owners;
}

}  // namespace topspin
