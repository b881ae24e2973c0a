// FlowTracker on a file: the flow table runs on the packets' wall clock (FileClock), and flows
// never expire unless asked to. Lives on the capture thread.
#include <atomic>
#include <utility>

#include "capture/file_clock.h"
#include "capture/flow_tracker.h"
#include "capture/interval_cutter.h"
#include "capture/packet_source.h"
#include "core/check.h"

namespace topspin {
namespace {

class FileTracker final : public FlowTracker {
 public:
  FileTracker(std::unique_ptr<FileSource> source, std::unique_ptr<FlowTable> table, KeyMode key,
              int64_t interval_ns)
      : source_(std::move(source)),
        cutter_(std::move(table), source_->link_type(), key, interval_ns) {}

  void start_at(int64_t) override {}  // a file begins with its first packet

  Result<StepOutcome> step(const IntervalSink& sink) override {
    cutter_.set_sink(sink);
    cutter_.set_tap(tap_.exchange() ? &tap_ : nullptr);
    if (stop_.load(std::memory_order_relaxed)) {
      finish(0, sink);
      return StepOutcome::kEnd;
    }
    auto outcome = source_->read(
        [](void* context, const PacketView& packet) {
          static_cast<FileTracker*>(context)->add(packet);
        },
        this);
    cutter_.flush();
    if (outcome.ok() && *outcome == StepOutcome::kEnd) finish(0, sink);
    return outcome;
  }

  void finish(int64_t, const IntervalSink& sink) override {
    if (std::exchange(finished_, true)) return;
    cutter_.set_sink(sink);
    cutter_.flush();
    cutter_.close_last(cutter_.table().now_ns());
  }

  void request_stop(int64_t) override { stop_.store(true, std::memory_order_relaxed); }
  void watch_packets(const std::optional<FlowKey>& flow) override { tap_.select(flow); }
  PacketCopies take_packets() override { return tap_.take(); }
  void switch_interface(const std::string&) override {}
  const FlowInterval& totals() const override { return cutter_.table().totals(); }
  void for_each_flow(const std::function<void(const FlowRow&)>& visit) const override {
    cutter_.table().for_each_flow(visit);
  }
  std::string link_type() const override {
    return link_type_name(static_cast<int>(source_->link_type()));
  }

 private:
  void add(const PacketView& packet) {
    if (clock_.is_time(packet.stamp_ns)) [[likely]]
      return cutter_.add(packet);
    const FileClock::Time time = clock_.read(FlowTable::clamp_stamp(packet.stamp_ns));
    if (time.stepped) [[unlikely]] {
      cutter_.flush();
      cutter_.table().note_time_step();
      cutter_.table().set_wall_offset(-clock_.shift_ns());
    }
    PacketView timed = packet;
    timed.stamp_ns = time.ns;
    cutter_.add(timed);
  }

  std::unique_ptr<FileSource> source_;
  IntervalCutter cutter_;
  FileClock clock_;
  PacketTap tap_;
  bool finished_ = false;
  std::atomic<bool> stop_{false};
};

}  // namespace

Result<PacketCopies> read_packets_of(const FileOptions& file, KeyMode mode, const FlowKey& flow,
                                     int64_t until_ns) {
  TOPSPIN_ASSIGN(auto source, open_file_source(file.path, file.filter));
  struct Reading {
    LinkType link;
    KeyMode mode;
    int64_t until_ns;
    PacketTap tap;
    bool past = false;
  } reading{source->link_type(), mode, until_ns, {}};
  reading.tap.select(flow);
  CHECK(reading.tap.exchange());
  while (!reading.past) {
    const auto outcome = source->read(
        [](void* context, const PacketView& packet) {
          auto* self = static_cast<Reading*>(context);
          if (packet.stamp_ns >= self->until_ns) {
            self->past =
                true;  // stamps may go back a little: what is left of the batch is looked at
            return;
          }
          self->tap.offer(packet, parse_packet(self->link, self->mode, packet));
        },
        &reading);
    // A file that breaks off is shown as far as it goes.
    if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
  }
  reading.tap.exchange();
  return reading.tap.take();
}

Result<std::unique_ptr<FlowTracker>> FlowTracker::open_file(const FileOptions& file,
                                                            const FlowTableOptions& table) {
  if (file.interval_ns < 0) {
    return make_error(ErrorCode::kUsage, "the interval (--interval) must not be negative");
  }
  TOPSPIN_ASSIGN(auto source, open_file_source(file.path, file.filter));
  TOPSPIN_ASSIGN(auto flows,
                 FlowTable::create(table, file.max_rows_per_interval, HashSeed::random()));
  return std::unique_ptr<FlowTracker>(std::make_unique<FileTracker>(
      std::move(source), std::move(flows), table.key, file.interval_ns));
}

}  // namespace topspin
