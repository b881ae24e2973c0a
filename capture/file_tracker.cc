// FlowTracker on a file. The flow table runs on the packets' wall clock (FileClock), and flows
// expire only if the caller sets an idle timeout. Lives on the capture thread.
#include <atomic>
#include <iterator>
#include <optional>
#include <utility>

#include "capture/file_packets.h"
#include "capture/flow_tracker.h"
#include "capture/interval_cutter.h"
#include "capture/parse_ahead.h"
#include "capture/source/packet_source.h"
#include "core/base/check.h"

namespace topspin {
namespace {

class FileTracker final : public FlowTracker {
 public:
  FileTracker(std::unique_ptr<std::atomic<bool>> stop, std::unique_ptr<FileSource> source,
              std::unique_ptr<FlowTable> table, KeyMode key, const FileOptions& file)
      : stop_(std::move(stop)),
        source_(std::move(source)),
        cutter_(std::move(table), source_->link_type(), key, file.interval_ns),
        interval_ns_(file.interval_ns),
        packets_(file.max_packets),
        key_(key),
        threads_(file.threads),
        link_type_(source_->link_type()) {
    cutter_.set_silent_max(kSilentMax);
    cutter_.set_last_rows_max(file.max_rows_at_end);
    cutter_.set_before_rows([this](int64_t length_ns, bool last) {
      // If this one is not merged into it, nothing can change the interval that is held back.
      if (!last || !is_short(length_ns)) hand_over_held();
    });
  }

  ~FileTracker() override { stop_->store(true, std::memory_order_relaxed); }

  void start_at(int64_t) override {}  // a file begins with its first packet

  Result<StepOutcome> step(const IntervalSink& sink) override {
    set_sink(sink);
    if (threads_ > 1) return step_behind(sink);
    cutter_.set_tap(tap_.exchange() ? &tap_ : nullptr);
    if (stop_->load(std::memory_order_relaxed) || packets_.all_taken()) {
      finish(0, sink);
      return StepOutcome::kEnd;
    }
    cutter_.set_link_type(source_->link_type());
    auto outcome = source_->read(
        [](void* context, const PacketView& packet) {
          auto* self = static_cast<FileTracker*>(context);
          self->packets_.add(packet, self->cutter_);
        },
        this);
    cutter_.flush();
    if (packets_.all_taken() || stop_->load(std::memory_order_relaxed)) {
      outcome = StepOutcome::kEnd;  // max_packets were read, or the reading was stopped
    }
    if (outcome.ok() && *outcome == StepOutcome::kEnd) finish(0, sink);
    return outcome;
  }

  void finish(int64_t, const IntervalSink& sink) override {
    if (std::exchange(finished_, true)) return;
    set_sink(sink);
    cutter_.flush();
    if (interval_ns_ == 0) return cutter_.close_last(cutter_.table().now_ns());
    if (!cutter_.begun()) return;  // there was no packet
    cutter_.set_sink([&](ClosedInterval&& last) { keep_last(std::move(last)); });
    cutter_.close_last(cutter_.table().now_ns());
    hand_over_held();
  }

  FileNotes notes() const override { return ahead_ ? notes_ : source_->notes(); }

  void request_stop(int64_t) override { stop_->store(true, std::memory_order_relaxed); }
  void watch_packets(const std::optional<FlowKey>& flow) override { tap_.select(flow); }
  PacketCopies take_packets() override { return tap_.take(); }
  void switch_interface(const std::string&) override {}
  const FlowInterval& totals() const override { return cutter_.table().totals(); }
  void for_each_flow(const std::function<void(const FlowRow&)>& visit) const override {
    cutter_.table().for_each_flow(visit);
  }
  std::string link_type() const override { return link_type_name(static_cast<int>(link_type_)); }

 private:
  /// step(), behind another thread that reads and parses.
  Result<StepOutcome> step_behind(const IntervalSink& sink) {
    if (!ahead_) ahead_.emplace(*source_, key_, cutter_.table(), packets_, tap_, *stop_);
    if (ended_) return *ended_;
    PacketBatch& batch = ahead_->next();
    cutter_.add(batch);
    notes_ = batch.notes;
    if (!batch.end) return StepOutcome::kMore;
    ended_ = batch.end;
    if (ended_->ok()) finish(0, sink);
    return *ended_;
  }

  /// A longer silence becomes one interval, because a file has no pause between intervals.
  static constexpr int64_t kSilentMax = 10;

  /// Holds back the latest interval, because the file's last, short interval may be merged into it.
  void set_sink(const IntervalSink& sink) {
    sink_ = &sink;
    cutter_.set_sink([this](ClosedInterval&& closed) {
      if (interval_ns_ == 0) return (*sink_)(std::move(closed));
      held_ = std::move(closed);
    });
  }

  void hand_over_held() {
    if (!held_) return;
    any_handed_over_ = true;
    (*sink_)(std::move(*std::exchange(held_, std::nullopt)));
  }

  bool is_short(int64_t length_ns) const { return length_ns < interval_ns_ / kShortest; }

  /// Ends the last interval at the last packet. If that leaves it too short for a meaningful rate,
  /// it is merged into the one before. If it is the only one and has no length, it becomes a whole
  /// interval.
  void keep_last(ClosedInterval&& last) {
    FlowInterval& flows = last.flows;
    if (!held_) {
      if (!any_handed_over_ && flows.end_ns - flows.begin_ns <= 1)
        flows.end_ns = flows.begin_ns + interval_ns_;
      held_ = std::move(last);
      return;
    }
    held_->number = last.number;
    held_->flows.merge(flows);
    held_->changed.insert(held_->changed.end(), std::make_move_iterator(last.changed.begin()),
                          std::make_move_iterator(last.changed.end()));
    held_->changed_left = 0;
    held_->rows_lost += last.rows_lost;
    held_->ends_guessed += last.ends_guessed;
  }
  static constexpr int64_t kShortest = 10;  // a tenth of an interval

  std::unique_ptr<std::atomic<bool>> stop_;  // the source refers to it
  std::unique_ptr<FileSource> source_;
  IntervalCutter cutter_;
  int64_t interval_ns_;
  FilePackets packets_;
  KeyMode key_;
  int threads_;
  const IntervalSink* sink_ = nullptr;  // of the call that is under way
  std::optional<ClosedInterval> held_;
  bool any_handed_over_ = false;
  PacketTap tap_;
  LinkType link_type_;
  bool finished_ = false;
  // With a thread that parses: of what was observed.
  FileNotes notes_;
  std::optional<Result<StepOutcome>> ended_;
  std::optional<ParseAhead> ahead_;  // begun with the first step; last, as it refers to the others
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
    reading.link = source->link_type();
    const auto outcome = source->read(
        [](void* context, const PacketView& packet) {
          auto* self = static_cast<Reading*>(context);
          if (packet.stamp_ns >= self->until_ns) {
            self->past =
                true;  // stamps may go back a little, so the rest of the batch is still read
            return;
          }
          self->tap.offer(packet, parse_packet(self->link, self->mode, packet));
        },
        &reading);
    // A truncated file is shown up to where it ends.
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
  auto stop = std::make_unique<std::atomic<bool>>(false);
  TOPSPIN_ASSIGN(auto source,
                 open_file_source(file.path, file.filter, FileReader::kFastest, stop.get()));
  TOPSPIN_ASSIGN(auto flows,
                 FlowTable::create(table, file.max_rows_per_interval,
                                   file.seed ? HashSeed::fixed(*file.seed) : HashSeed::random()));
  return std::unique_ptr<FlowTracker>(std::make_unique<FileTracker>(
      std::move(stop), std::move(source), std::move(flows), table.key, file));
}

}  // namespace topspin
