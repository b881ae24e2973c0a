#include "capture/parse_ahead.h"

#include <algorithm>
#include <utility>

#include <pthread.h>

#include "capture/flows/seen_twice.h"

namespace topspin {

class ParseAhead::Parser {
 public:
  Parser(ParseAhead& owner, FileSource& source, KeyMode key, FlowTable& table, FilePackets& packets,
         PacketTap& tap)
      : owner_(owner),
        source_(source),
        key_(key),
        table_(table),
        packets_(packets),
        tap_(tap),
        seen_twice_(table.seed()),
        filling_(&owner.batch(0)) {}

  void run() {
    bool at_end = false;
    while (!at_end && filling_ != nullptr) {
      tapped_ = tap_.exchange();
      link_ = source_.link_type();
      may_be_repeated_ = SeenTwice::can_be(link_);
      Result<StepOutcome> outcome = StepOutcome::kEnd;
      const bool is_over = owner_.stop_.load(std::memory_order_relaxed) || packets_.all_taken();
      if (!is_over) {
        outcome = source_.read(
            [](void* context, const PacketView& packet) {
              auto* self = static_cast<Parser*>(context);
              self->packets_.add(packet, *self);
            },
            this);
        if (packets_.all_taken() || owner_.stop_.load(std::memory_order_relaxed)) {
          outcome = StepOutcome::kEnd;  // max_packets were read, or the reading was stopped
        }
      }
      if (filling_ == nullptr) return;
      at_end = !outcome.ok() || *outcome == StepOutcome::kEnd;
      if (at_end) filling_->end = outcome;
      if (at_end || filling_->size != 0) hand_over(true);
    }
  }

  // FilePackets calls these three.
  void note_time_step(int64_t shift_ns) { mark(PacketBatch::Mark::kTimeStep, shift_ns); }
  void note_jump_ahead() { mark(PacketBatch::Mark::kJumpAhead, 0); }
  void add(const PacketView& packet) {
    if (filling_ == nullptr) [[unlikely]]
      return;  // the rest of what was read is not wanted
    PacketBatch& batch = *filling_;
    const size_t at = batch.size;
    ParsedPacket& parsed = batch.packets[at];
    if (at + kWriteAhead < PacketBatch::kPacketsMax) batch.prefetch_to_write(at + kWriteAhead);
    parse_packet(link_, key_, packet, parsed);
    if (may_be_repeated_ && seen_twice_.is_repeated(link_, packet, parsed)) [[unlikely]] {
      mark(PacketBatch::Mark::kDuplicate, 0);
    } else if (tapped_) [[unlikely]] {
      tap_.offer(packet, parsed);
    }
    if (batch.guessed) {
      table_.prepare(parsed, batch.lookups[at]);
      if (at >= kGuessBehind) guess(batch, at - kGuessBehind);
    } else if (parsed.in_flow()) {
      batch.lookups[at].hash = table_.hash(parsed.key);
    }
    batch.size = at + 1;
    if (batch.is_full()) hand_over(false);
  }

 private:
  static constexpr size_t kWriteAhead = 12;
  static constexpr size_t kGuessBehind = 16;  // packets: the time for the index's line to come

  void mark(PacketBatch::Mark::Kind kind, int64_t shift_ns) {
    if (filling_ != nullptr) filling_->marks.push_back({filling_->size, kind, shift_ns});
  }
  void guess(PacketBatch& batch, size_t at) { table_.guess(batch.packets[at], batch.lookups[at]); }
  void hand_over(bool hurry) {
    PacketBatch& batch = *filling_;
    if (batch.guessed) {
      for (size_t at = batch.size - std::min(batch.size, kGuessBehind); at < batch.size; ++at)
        guess(batch, at);
    }
    batch.notes = source_.notes();
    filling_ = owner_.hand_over(hurry);
    if (filling_ != nullptr && filling_->guessed) make_ready();
  }

  /// The table grows on as it has since the last batch, as far as is known.
  void make_ready() {
    const uint32_t used = table_.slots_used();
    const uint64_t grown = used - std::exchange(slots_used_, used);
    if (grown != 0) table_.make_ready(used + grown * kBatches);
  }

  ParseAhead& owner_;
  FileSource& source_;
  KeyMode key_;
  FlowTable& table_;
  FilePackets& packets_;
  PacketTap& tap_;
  bool tapped_ = false;
  LinkType link_{};
  bool may_be_repeated_ = false;
  SeenTwice seen_twice_;
  uint32_t slots_used_ = 0;
  PacketBatch* filling_;  // nullptr: no more is wanted
};

ParseAhead::ParseAhead(FileSource& source, KeyMode key, FlowTable& table, FilePackets& packets,
                       PacketTap& tap, const std::atomic<bool>& stop)
    : stop_(stop) {
  for (size_t i = 0; i < kBatches; ++i) batches_.push_back(std::make_unique<PacketBatch>());
  parser_ = std::make_unique<Parser>(*this, source, key, table, packets, tap);
  thread_ = std::thread([this] { parser_->run(); });
  pthread_setname_np(thread_.native_handle(), "topspin-parse");
}

ParseAhead::~ParseAhead() {
  {
    const std::lock_guard lock(mutex_);
    unwanted_ = true;
    emptied_changed_.notify_one();
  }
  thread_.join();
}

PacketBatch& ParseAhead::next() {
  std::unique_lock lock(mutex_);
  if (std::exchange(taken_, false)) {
    batch(emptied_).clear();
    ++emptied_;
    if (filled_ - emptied_ == kBatches / 2) emptied_changed_.notify_one();
  }
  if (filled_ == emptied_) {
    hurry_ = false;
    filled_changed_.wait(lock, [this] { return hurry_ || filled_ - emptied_ >= kBatches / 4; });
  }
  taken_ = true;
  return batch(emptied_);
}

PacketBatch* ParseAhead::hand_over(bool hurry) {
  std::unique_lock lock(mutex_);
  ++filled_;
  hurry_ |= hurry;
  if (hurry || filled_ - emptied_ == kBatches / 4) filled_changed_.notify_one();
  if (filled_ - emptied_ == kBatches) {
    emptied_changed_.wait(lock, [this] { return unwanted_ || filled_ - emptied_ <= kBatches / 2; });
  }
  if (unwanted_) return nullptr;
  PacketBatch& empty = batch(filled_);
  empty.guessed = filled_ - emptied_ >= kBatches / 2;
  return &empty;
}

}  // namespace topspin
