// FlowTracker on a live interface. The flow table runs on CLOCK_MONOTONIC. The ring is drained
// without blocking, with waits in between. An interval is closed by a later packet, or by the clock
// once every packet stamped before its end must have been handed over.
//
// If the interface goes down, disappears or is replaced, that is an event and a counted gap. The
// interface is checked four times a second, and opened again with back-off. Lives on the capture
// thread.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "capture/flow_tracker.h"
#include "capture/interval_cutter.h"
#include "capture/packet/packet_ring.h"
#include "capture/source/interface_watch.h"
#include "capture/source/packet_file.h"
#include "capture/source/packet_source.h"
#include "capture/source/stamp_clock.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr int kPacketsAtATime = 8192;
constexpr int64_t kWaitNs = LiveSource::kBlockTimeoutMs * kNanosPerMilli;
/// The kernel hands over a block within its timeout, rounded up to the kernel's tick, and somewhat
/// later on a busy machine. After this long, all packets with earlier stamps are in the part of the
/// ring that we can read.
constexpr int64_t kHandOverNs = 3 * kWaitNs;
constexpr int64_t kLookNs = 250 * kNanosPerMilli;
constexpr int64_t kBackOffMinNs = 100 * kNanosPerMilli;
constexpr int64_t kBackOffMaxNs = 2 * kNanosPerSecond;
constexpr size_t kEventsMax = 64;  // per interval: a flapping interface must not fill the memory

/// Stamps are converted to the monotonic clock a moment after they were made. Slewing, and reading
/// the two clocks one after the other, cause a smaller error than this.
constexpr int64_t kStampSlackNs = kNanosPerSecond;

class LiveTracker final : public FlowTracker {
 public:
  LiveTracker(const LiveOptions& options, int snaplen, std::unique_ptr<LiveSource> source,
              std::unique_ptr<FlowTable> table, KeyMode key)
      : options_(options),
        snaplen_(snaplen),
        source_(std::move(source)),
        cutter_(std::move(table), source_->link_type(), key, options.interval_ns),
        key_(key),
        packets_left_(options.max_packets) {
    cutter_.set_last_rows_max(options.max_rows_at_end);
    note_state(watch_.look(options_.interface));
  }

  void start_at(int64_t monotonic_ns) override {
    clock_.anchor(take_clock_anchor());
    cutter_.table().set_wall_offset(clock_.offset_ns());
    cutter_.begin(monotonic_ns);
    cutter_.table().note_capture_began();
    start_ns_ = monotonic_ns;
    if (file_ != nullptr) file_->begin(source_->link_type(), snaplen_);
    if (ring_ != nullptr) ring_->begin(source_->link_type(), key_, snaplen_);
    (void)source_->take_losses();  // ignore losses from before the start
  }

  Result<StepOutcome> step(const IntervalSink& sink) override {
    set_sink(sink);
    const ClockAnchor anchor = take_clock_anchor();
    const int64_t now_ns = anchor.monotonic_ns;
    if (!cutter_.begun()) start_at(now_ns);
    clock_.anchor(anchor);
    known_now_ns_ = now_ns;
    cutter_.table().set_wall_offset(clock_.offset_ns());
    stop_ns_ = asked_stop_ns_.load(std::memory_order_relaxed);
    cutter_.set_tap(tap_.exchange() ? &tap_ : nullptr);
    if (switch_asked_.exchange(false, std::memory_order_acquire)) move_over(now_ns);

    if (now_ns >= next_look_ns_) look(now_ns);
    bool drained = true;
    int packets = 0;
    if (has_all_packets()) {
      // The rest stays in the ring.
    } else if (reading()) {
      const auto got = drain();
      if (got.ok()) {
        packets = *got;
        drained = packets < kPacketsAtATime;
      } else {
        look(now_ns);  // this finds out why
        lose(now_ns, fmt::format("interface {} cannot be read: {}", options_.interface,
                                 got.error().message));
      }
    } else if (now_ns >= next_open_ns_) {
      reopen(now_ns);
    }
    // now_ns was read before the drain, so packets stamped long enough before it have been seen. If
    // the ring never empties, the packets' stamps show how far it has been read.
    const bool all_seen = (drained || !reading()) && now_ns - kHandOverNs >= stop_ns_;
    if (all_seen || past_stop_) {
      finish(stop_ns_, sink);
      return StepOutcome::kEnd;
    }
    if (drained) cutter_.close_until(std::min(now_ns - kHandOverNs, stop_ns_));
    if (packets == 0) rest(now_ns);
    return StepOutcome::kMore;
  }

  void finish(int64_t monotonic_ns, const IntervalSink& sink) override {
    if (std::exchange(finished_, true)) return;
    set_sink(sink);
    if (!cutter_.begun()) start_at(monotonic_ns);
    // An interval that ends exactly here is the last one; no empty interval follows it.
    cutter_.close_until(monotonic_ns - 1);
    cutter_.close_last(std::max(monotonic_ns, cutter_.begin_ns() + 1));
  }

  void request_stop(int64_t end_ns) override {
    int64_t none = kNever;
    asked_stop_ns_.compare_exchange_strong(none, end_ns, std::memory_order_relaxed);
    wake();
  }
  void write_packets_to(PacketFile* file) override { file_ = file; }
  void keep_packets_in(PacketRing* ring) override { ring_ = ring; }
  int snaplen() const override { return snaplen_; }
  bool has_all_packets() const override { return packets_left_ == 0; }
  void watch_packets(const std::optional<FlowKey>& flow) override {
    tap_.select(flow);
    wake();
  }
  PacketCopies take_packets() override { return tap_.take(); }
  void switch_interface(const std::string& name) override {
    {
      const std::lock_guard lock(switch_mutex_);
      switch_to_ = name;
    }
    switch_asked_.store(true, std::memory_order_release);
    wake();
  }
  const FlowInterval& totals() const override { return cutter_.table().totals(); }
  void for_each_flow(const std::function<void(const FlowRow&)>& visit) const override {
    cutter_.table().for_each_flow(visit);
  }
  std::string link_type() const override {
    return link_type_name(static_cast<int>(source_->link_type()));
  }

 private:
  /// "any" is not an interface, so it cannot go away.
  bool is_watched() const { return options_.interface != "any"; }
  bool reading() const { return gap_from_ns_ < 0; }

  void set_sink(const IntervalSink& sink) {
    cutter_.set_sink([this, &sink](ClosedInterval&& closed) {
      if (!has_all_packets()) closed.losses = source_->take_losses();
      closed.losses.kernel_drops += carried_.kernel_drops;
      closed.losses.interface_drops += carried_.interface_drops;
      carried_ = {};
      if (gap_from_ns_ >= 0) {
        const int64_t end_ns = closed.flows.end_ns;
        gap_ns_ += std::max<int64_t>(end_ns - gap_from_ns_, 0);
        gap_from_ns_ = std::max(end_ns, gap_from_ns_);
      }
      closed.losses.gap_ns = static_cast<uint64_t>(std::exchange(gap_ns_, 0));
      closed.events = std::exchange(events_, {});
      closed.interface = std::exchange(moved_to_, std::nullopt);
      if (ring_ != nullptr) ring_->hand_over();
      sink(std::move(closed));
    });
  }

  Result<int> drain() {
    const bool keeps = file_ != nullptr || ring_ != nullptr || options_.max_packets != UINT64_MAX;
    auto got = source_->drain(keeps ? visit_and_keep : visit, this, kPacketsAtATime);
    cutter_.flush();
    if (has_all_packets()) {
      // From now on the kernel's losses do not count, because the capture is complete.
      const CaptureLosses last = source_->take_losses();
      carried_.kernel_drops += last.kernel_drops;
      carried_.interface_drops += last.interface_drops;
    }
    if (file_ != nullptr) {
      if (auto failure = file_->hand_over()) note(*std::move(failure));
    }
    if (ring_ != nullptr) ring_->hand_over();
    return got;
  }

  static void visit(void* context, const PacketView& packet) {
    int64_t ignored_ns = 0;
    (void)static_cast<LiveTracker*>(context)->take(packet, ignored_ns);
  }

  /// The visitor for a capture with a packet file, a ring or max_packets.
  static void visit_and_keep(void* context, const PacketView& packet) {
    auto* self = static_cast<LiveTracker*>(context);
    int64_t stamp_ns = 0;
    if (self->has_all_packets() || !self->take(packet, stamp_ns)) return;
    --self->packets_left_;
    if (self->file_ != nullptr) self->file_->add(packet);
    // The interval that is open now is the one that counts it.
    if (self->ring_ != nullptr) self->ring_->add(packet, stamp_ns, self->cutter_.begin_ns());
  }

  /// Whether the packet counts, and its stamp on the monotonic clock.
  bool take(const PacketView& packet, int64_t& stamp_ns) {
    // A single stamp from the future would set the table's time there for good.
    if (!clock_.covers(packet.stamp_ns)) [[unlikely]]
      clock_.anchor(take_clock_anchor());
    PacketView tied = packet;
    tied.stamp_ns = clock_.to_monotonic(packet.stamp_ns);
    // Captured while everything else was being opened, before the run began.
    if (tied.stamp_ns < start_ns_ && tied.stamp_ns >= opened_ns_) [[unlikely]]
      return false;
    tied.stamp_ns = within_time(tied.stamp_ns);
    if (tied.stamp_ns >= stop_ns_) [[unlikely]] {
      past_stop_ |= tied.stamp_ns - stop_ns_ >= kHandOverNs;
      return false;
    }
    stamp_ns = tied.stamp_ns;
    return cutter_.add(tied);
  }

  /// A stamp must lie between the start and now. One outside was made before the wall clock was
  /// set, which happened before the first anchor. It is moved to the nearer of the two, and counted
  /// as a step of the clock.
  int64_t within_time(int64_t stamp_ns) {
    if (stamp_ns < cutter_.first_begin_ns() - kStampSlackNs) [[unlikely]] {
      cutter_.table().note_time_step();
      return cutter_.first_begin_ns();
    }
    if (stamp_ns <= known_now_ns_ + kStampSlackNs) [[likely]]
      return stamp_ns;
    known_now_ns_ = monotonic_now_ns();  // the batch takes long, or we were stopped within it
    if (stamp_ns <= known_now_ns_ + kStampSlackNs) return stamp_ns;
    cutter_.table().note_time_step();
    return known_now_ns_;
  }

  /// Waits for packets, until an interval can be closed or the interface is looked at, or until
  /// another thread wants something.
  void rest(int64_t now_ns) {
    int64_t due_ns = next_look_ns_;
    const int64_t end_ns = std::min(cutter_.end_ns(), stop_ns_);
    if (end_ns < due_ns) due_ns = std::min(due_ns, end_ns + kHandOverNs);
    const bool waits_for_packets = reading() && !has_all_packets();
    if (!reading()) due_ns = std::min(due_ns, next_open_ns_);
    const int64_t wait_ms = (due_ns - now_ns + kNanosPerMilli - 1) / kNanosPerMilli;
    const int timeout_ms =
        static_cast<int>(std::clamp<int64_t>(wait_ms, 1, kLookNs / kNanosPerMilli));
    pollfd wake{wake_.get(), POLLIN, 0};
    const bool woken =
        waits_for_packets ? source_->wait(timeout_ms, wake_.get()) : poll(&wake, 1, timeout_ms) > 0;
    uint64_t ignored = 0;
    if (woken) (void)!read(wake_.get(), &ignored, sizeof ignored);
  }

  void wake() const {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one);  // if it is full, it is readable anyway
  }

  void note_state(const InterfaceState& state) {
    state_ = state;
    // 0 means not known, as on `any`. The MTU of the previous interface must not stay then.
    cutter_.table().set_mtu(state.mtu != 0 ? state.mtu : UINT32_MAX);
  }

  void note(std::string event) {
    if (events_.size() < kEventsMax) events_.push_back(std::move(event));
  }

  /// Notes that the interface is away from now on.
  void lose(int64_t now_ns, std::string event) {
    if (!reading()) return;
    note(std::move(event));
    gap_from_ns_ = now_ns;
    lost_at_ns_ = now_ns;
    back_off_ns_ = kBackOffMinNs;
    next_open_ns_ = now_ns + back_off_ns_;
    last_failure_.clear();
  }

  void look(int64_t now_ns) {
    next_look_ns_ = now_ns + kLookNs;
    if (!is_watched()) return;
    const InterfaceState state = watch_.look(options_.interface);
    if (state == state_) return;
    if (state.index == state_.index && state.up == state_.up) return note_state(state);
    const std::string& name = options_.interface;
    if (state.index == 0) {
      const std::string renamed = watch_.name_of(state_.index);
      if (!renamed.empty()) {
        note(fmt::format("interface {} is called {} now", name, renamed));
        options_.interface = renamed;
        note_state(watch_.look(renamed));
        if (reading() && !state_.up) lose(now_ns, fmt::format("interface {} went down", renamed));
        return;
      }
      lose(now_ns, fmt::format("interface {} is gone", name));
    } else if (state.index != state_.index) {
      if (reading()) lose(now_ns, fmt::format("interface {} was replaced", name));
      next_open_ns_ = now_ns;
    } else if (!state.up) {
      lose(now_ns, fmt::format("interface {} went down", name));
    } else {
      next_open_ns_ = now_ns;  // it came up
    }
    // Keep the index while the interface is away, because it may come back under another name.
    note_state({state.index != 0 ? state.index : state_.index, state.up, state.mtu});
  }

  void reopen(int64_t now_ns) {
    back_off_ns_ = std::min(back_off_ns_ * 2, kBackOffMaxNs);
    next_open_ns_ = now_ns + back_off_ns_;
    if (is_watched()) {
      const InterfaceState state = watch_.look(options_.interface);
      if (state.index == 0 || !state.up) return;
      note_state(state);
    }
    auto opened = LiveSource::open(options_, snaplen_);
    if (!opened.ok()) {
      // Only once for each reason, to avoid a flood of events.
      if (opened.error().message != last_failure_) note(opened.error().message);
      last_failure_ = opened.error().message;
      return;
    }
    const CaptureLosses last = source_->take_losses();
    carried_.kernel_drops += last.kernel_drops;
    carried_.interface_drops += last.interface_drops;
    source_ = std::move(opened).value();
    follow_link_type();
    gap_ns_ += now_ns - gap_from_ns_;
    gap_from_ns_ = -1;
    note(fmt::format("interface {} is back after {}", options_.interface,
                     format_duration(now_ns - lost_at_ns_)));
  }

  /// For a source that was opened again.
  void follow_link_type() {
    cutter_.set_link_type(source_->link_type());
    if (file_ != nullptr) file_->set_link_type(source_->link_type());
    if (ring_ != nullptr) ring_->set_link_type(source_->link_type());
  }

  /// Switches to the requested interface, unless it cannot be opened.
  void move_over(int64_t now_ns) {
    LiveOptions other = options_;
    {
      const std::lock_guard lock(switch_mutex_);
      other.interface = switch_to_;
    }
    if (other.interface == options_.interface) return;
    auto opened = LiveSource::open(other, snaplen_);
    if (!opened.ok()) {
      note(fmt::format("the capture stays on {}: {}", options_.interface, opened.error().message));
      return;
    }
    const CaptureLosses last = source_->take_losses();
    carried_.kernel_drops += last.kernel_drops;
    carried_.interface_drops += last.interface_drops;
    if (gap_from_ns_ >= 0) gap_ns_ += std::max<int64_t>(now_ns - gap_from_ns_, 0);
    gap_from_ns_ = -1;
    note(fmt::format("the capture moved from {} to {}", options_.interface, other.interface));
    options_.interface = other.interface;
    source_ = std::move(opened).value();
    follow_link_type();
    cutter_.table().clear();
    note_state(watch_.look(options_.interface));
    moved_to_ = options_.interface;
  }

  LiveOptions options_;
  int snaplen_;
  std::unique_ptr<LiveSource> source_;
  IntervalCutter cutter_;
  KeyMode key_;
  uint64_t packets_left_;       // how many more may count
  PacketFile* file_ = nullptr;  // packets that count are also written here
  PacketRing* ring_ = nullptr;  // and kept here
  StampClock clock_;
  int64_t known_now_ns_ = 0;
  InterfaceWatch watch_;
  InterfaceState state_;
  int64_t next_look_ns_ = 0;
  const int64_t opened_ns_ = monotonic_now_ns();
  int64_t start_ns_ = 0;

  int64_t gap_from_ns_ =
      -1;  // since when the interface has been away, minus what is in gap_ns_; -1: it is there
  int64_t lost_at_ns_ = 0;
  int64_t gap_ns_ = 0;  // the time away that this interval has counted so far
  int64_t back_off_ns_ = 0;
  int64_t next_open_ns_ = 0;
  std::string last_failure_;
  CaptureLosses carried_;  // losses of a source that was replaced
  std::vector<std::string> events_;

  PacketTap tap_;
  std::mutex switch_mutex_;
  std::string switch_to_;  // guarded by switch_mutex_
  std::atomic<bool> switch_asked_{false};
  std::optional<std::string> moved_to_;  // in the open interval

  bool finished_ = false;
  static constexpr int64_t kNever = INT64_MAX;
  std::atomic<int64_t> asked_stop_ns_{kNever};
  int64_t stop_ns_ = kNever;  // the requested end, as read at the start of this step
  const UniqueFd wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};  // another thread wants something
  bool past_stop_ = false;  // a packet came that was stamped well after stop_ns_
};

}  // namespace

Result<std::unique_ptr<FlowTracker>> FlowTracker::open_live(const LiveOptions& live,
                                                            const FlowTableOptions& table) {
  if (live.interval_ns < kNanosPerMilli) {
    return make_error(ErrorCode::kUsage, "the interval (--interval) must be at least 1 ms");
  }
  const int snaplen = live.snaplen > 0 ? live.snaplen : parser_snaplen(table.key);
  LiveOptions options = live;
  options.keep_vlan_tags = table.key == KeyMode::kVlan;
  TOPSPIN_ASSIGN(auto source, LiveSource::open(options, snaplen));
  TOPSPIN_ASSIGN(auto flows,
                 FlowTable::create(table, live.max_rows_per_interval, HashSeed::random()));
  return std::unique_ptr<FlowTracker>(std::make_unique<LiveTracker>(
      options, snaplen, std::move(source), std::move(flows), table.key));
}

}  // namespace topspin
