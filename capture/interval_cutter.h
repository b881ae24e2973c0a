// IntervalCutter is the part that files and live capture share. It parses packets, passes them to
// the flow table in batches, and closes intervals by the packets' time. Lives on the capture
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "capture/flow_tracker.h"
#include "capture/flows/flow_table.h"
#include "capture/flows/seen_twice.h"
#include "capture/packet/packet_parser.h"
#include "capture/packet/packet_tap.h"
#include "capture/packet_batch.h"

namespace topspin {

class IntervalCutter {
 public:
  /// With `interval_ns` 0 there is one interval, which close() closes.
  IntervalCutter(std::unique_ptr<FlowTable> table, LinkType link, KeyMode key, int64_t interval_ns)
      : table_(std::move(table)),
        key_(key),
        interval_ns_(interval_ns),
        seen_twice_(table_->seed()) {
    set_link_type(link);
  }

  IntervalCutter(const IntervalCutter&) = delete;
  IntervalCutter& operator=(const IntervalCutter&) = delete;

  /// Each packet is also offered to `tap`; nullptr: to none. REQUIRES: no add() is under way.
  void set_tap(PacketTap* tap) { tap_ = tap; }

  void set_link_type(LinkType link) {
    link_ = link;
    may_be_repeated_ = SeenTwice::can_be(link);
  }

  /// A silence of more intervals than this becomes one long interval. REQUIRES: set before add().
  void set_silent_max(int64_t intervals) { silent_max_ = intervals; }

  /// The last interval hands over at most this many rows; the others count in rows_lost.
  void set_last_rows_max(uint64_t rows) { last_rows_max_ = rows; }

  /// Closed intervals go to `sink`. REQUIRES: set before add().
  void set_sink(std::function<void(ClosedInterval&&)> sink) { sink_ = std::move(sink); }

  /// Called before an interval's rows are taken from the table, with the interval's length, so that
  /// the rows of the one before need not be in memory at the same time.
  void set_before_rows(std::function<void(int64_t length_ns, bool last)> before_rows) {
    before_rows_ = std::move(before_rows);
  }

  /// Sets where the first interval begins. Without it, the interval begins at the first packet.
  void begin(int64_t begin_ns) {
    begun_ = true;
    first_begin_ns_ = begin_ns_ = begin_ns;
    end_ns_ = interval_ns_ > 0 ? begin_ns + interval_ns_ : INT64_MAX;
    table_->begin(begin_ns);
  }
  bool begun() const { return begun_; }

  /// False: the packet does not count, because it was seen before on another interface.
  bool add(const PacketView& packet) {
    open_interval_of(packet.stamp_ns);
    Group& group = *filling_;
    const size_t at = group.size;
    ParsedPacket& parsed = group.packets[at];
    parse_packet(link_, key_, packet, parsed);
    if (may_be_repeated_ && seen_twice_.is_repeated(link_, packet, parsed)) [[unlikely]] {
      table_->count_duplicate();
      return false;
    }
    if (tap_ != nullptr) [[unlikely]]
      tap_->offer(packet, parsed);
    table_->prepare(parsed, group.lookups[at]);
    // One by one, to spread their memory accesses evenly.
    Group& waiting = *waiting_;
    if (at < waiting.size) table_->locate(waiting.packets[at], waiting.lookups[at]);
    group.size = at + 1;
    if (at + 1 == kGroup) turn();
    return true;
  }

  /// Adds packets that another thread has parsed. REQUIRES: no packet was added the other way.
  void add(PacketBatch& batch) {
    BatchWalk walk{batch};
    for (const PacketBatch::Mark& mark : batch.marks) {
      observe(walk, mark.packet);
      switch (mark.kind) {
        case PacketBatch::Mark::kTimeStep: note_time_step(mark.shift_ns); break;
        case PacketBatch::Mark::kJumpAhead: note_jump_ahead(); break;
        case PacketBatch::Mark::kDuplicate:
          open_interval_of(batch.packets[walk.observed].stamp_ns);
          table_->count_duplicate();
          ++walk.observed;
          break;
      }
    }
    observe(walk, batch.size);
  }

  /// The source's clock was set before the next packet: from here on, time = stamp + shift.
  void note_time_step(int64_t shift_ns) {
    flush();
    table_->note_time_step();
    table_->set_wall_offset(-shift_ns);
  }
  void note_jump_ahead() {
    flush();
    table_->note_jump_ahead();
  }

  /// Passes all packets added so far to the table.
  void flush() {
    observe(*located_);
    locate(*waiting_);
    observe(*waiting_);
    locate(*filling_);
    observe(*filling_);
  }

  /// Closes every interval that ends by `now_ns`. A long silence becomes one interval, so a stamp
  /// from another century costs nothing.
  void close_until(int64_t now_ns) {
    if (!begun_ || now_ns < end_ns_) return;
    flush();
    close(end_ns_);
    const int64_t silent = (now_ns - begin_ns_) / interval_ns_;
    if (silent > silent_max_) close(begin_ns_ + silent * interval_ns_);
    while (now_ns >= end_ns_) close(end_ns_);
  }

  /// Closes the open interval at `end_ns`, where the next one begins.
  void close(int64_t end_ns) { close(end_ns, false); }

  /// Closes the last interval, with all flow rows that still wait. Its length is never 0, even if
  /// `end_ns` is where it begins because the last packet was stamped there.
  void close_last(int64_t end_ns) { close(end_ns, true); }

  int64_t first_begin_ns() const { return first_begin_ns_; }
  int64_t begin_ns() const { return begin_ns_; }
  int64_t end_ns() const { return end_ns_; }  // of the open interval
  FlowTable& table() { return *table_; }
  const FlowTable& table() const { return *table_; }

 private:
  void close(int64_t end_ns, bool last) {
    flush();
    ClosedInterval closed;
    if (last) table_->finish(end_ns);
    closed.flows = table_->take_interval(end_ns);
    closed.number = number_of(end_ns);
    closed.ends_guessed = table_->take_ends_guessed();
    closed.calls = table_->take_calls();
    closed.changed_called = table_->take_changed_called();
    if (before_rows_) before_rows_(std::max<int64_t>(end_ns - begin_ns_, 1), last);
    if (last) {
      const uint64_t left = table_->take_all_changed(closed.changed, last_rows_max_);
      closed.rows_lost = table_->take_rows_lost() + left;
      if (interval_ns_ > 0) closed.flows.end_ns = std::max(end_ns, closed.flows.begin_ns + 1);
    } else {
      closed.changed_left = table_->take_changed(closed.changed);
      closed.rows_lost = table_->take_rows_lost();
    }
    begin_ns_ = end_ns;
    end_ns_ = interval_ns_ > 0 ? end_ns + interval_ns_ : INT64_MAX;
    sink_(std::move(closed));
  }

  /// The number, from 0, of the interval that ends at `end_ns`. Skipped silent ones count too.
  uint64_t number_of(int64_t end_ns) const {
    if (interval_ns_ == 0 || end_ns <= first_begin_ns_) return 0;
    return static_cast<uint64_t>((end_ns - first_begin_ns_ - 1) / interval_ns_);
  }

  // Packets go through the table's three stages in groups, and each stage is one group behind the
  // one before. So a prefetch has the time of one group to arrive.
  static constexpr size_t kGroup = 16;
  struct Group {
    std::array<ParsedPacket, kGroup> packets;
    std::array<FlowTable::Lookup, kGroup> lookups;
    size_t size = 0;
  };

  void open_interval_of(int64_t stamp_ns) {
    if (stamp_ns < end_ns_) [[likely]]
      return;
    if (!begun_) begin(FlowTable::clamp_stamp(stamp_ns));
    close_until(FlowTable::clamp_stamp(stamp_ns));
  }

  /// How far each stage is with the packets of a batch.
  struct BatchWalk {
    PacketBatch& batch;
    size_t coming = 0;
    size_t prefetched = 0;
    size_t located = 0;
    size_t observed = 0;
  };
  /// The packets before the one with this index reach the table, each in its interval.
  void observe(BatchWalk& walk, size_t until) {
    const PacketBatch& batch = walk.batch;
    while (walk.observed < until) {
      look_ahead(walk);
      open_interval_of(batch.packets[walk.observed].stamp_ns);
      const size_t most = std::min(walk.observed + kGroup, until);
      size_t end = walk.observed + 1;  // whatever the first one's stamp, its interval is open now
      while (end < most && batch.packets[end].stamp_ns < end_ns_) ++end;
      table_->observe(std::span(batch.packets).first(end).subspan(walk.observed),
                      std::span(batch.lookups).subspan(walk.observed));
      walk.observed = end;
    }
  }
  /// As the groups below: each stage a group ahead of the next.
  void look_ahead(BatchWalk& walk) {
    PacketBatch& batch = walk.batch;
    const size_t to_locate = std::min(walk.observed + 2 * kGroup, batch.size);
    const size_t to_prefetch = std::min(walk.observed + 3 * kGroup, batch.size);
    const size_t to_come = std::min(walk.observed + 5 * kGroup, batch.size);
    for (; walk.coming < to_come; ++walk.coming) batch.prefetch_to_read(walk.coming);
    const auto is_guessed = [&](size_t i) {
      return batch.guessed && batch.lookups[i].candidate != SilenceWheel::kNone;
    };
    for (; walk.prefetched < to_prefetch; ++walk.prefetched) {
      if (!is_guessed(walk.prefetched)) table_->prefetch_index(batch.lookups[walk.prefetched]);
    }
    for (; walk.located < to_locate; ++walk.located) {
      const size_t i = walk.located;
      if (is_guessed(i)) {
        table_->fetch(batch.packets[i], batch.lookups[i]);
      } else {
        table_->locate(batch.packets[i], batch.lookups[i]);
      }
    }
  }

  /// The newest group is full: each moves on by a stage.
  void turn() {
    Group* const oldest = located_;
    located_ = waiting_;
    waiting_ = filling_;
    filling_ = oldest;
    observe(*oldest);
  }
  void locate(Group& group) {
    for (size_t i = 0; i < group.size; ++i) table_->locate(group.packets[i], group.lookups[i]);
  }
  void observe(Group& group) {
    table_->observe(std::span(group.packets).first(group.size), group.lookups);
    group.size = 0;
  }

  std::unique_ptr<FlowTable> table_;
  LinkType link_;
  bool may_be_repeated_ = false;
  KeyMode key_;
  int64_t interval_ns_;
  SeenTwice seen_twice_;
  PacketTap* tap_ = nullptr;
  std::function<void(ClosedInterval&&)> sink_;
  std::function<void(int64_t, bool)> before_rows_;
  std::array<Group, 3> groups_;
  Group* filling_ = &groups_[0];  // its packets are being parsed
  Group* waiting_ = &groups_[1];  // to be located, one with each packet that is parsed
  Group* located_ = &groups_[2];  // waiting to be observed
  int64_t silent_max_ = 3600;
  uint64_t last_rows_max_ = UINT64_MAX;
  bool begun_ = false;
  int64_t first_begin_ns_ = 0;
  int64_t begin_ns_ = 0;
  int64_t end_ns_ = INT64_MIN;  // so the first packet begins an interval
};

}  // namespace topspin
