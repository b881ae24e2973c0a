// FlowWriter: stores the flows of a run's ticks. Private to store.
//
// A new flow is inserted at once. Changes of few flows are written into their rows, unless earlier
// changes wait. Changes of many wait as blobs (flow_changes.h). When the blobs have grown to
// kFoldBytes, or wait for kFoldTicks, they are folded: the last change of each flow is written into
// its row, in the order of the rows, by a part in each of the next ticks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "store/flows/flow_changes.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

class FlowWriter {
 public:
  /// So many changes of a tick are written into their rows.
  static constexpr size_t kFewChanges = 256;
  static constexpr size_t kFoldBytes = size_t{8} << 20;
  static constexpr size_t kFoldTicks = 30;
  /// A fold takes at most kFoldSteps ticks, and each writes kFoldRows rows or more.
  static constexpr size_t kFoldSteps = 8;
  static constexpr size_t kFoldRows = 10'000;

  /// `connection` must outlive the writer.
  static Result<FlowWriter> prepare(Connection& connection, int64_t run, uint64_t max_rows);

  /// Call this at the beginning of each transaction, and undo() if it was rolled back.
  void begin();
  void undo();

  /// Stores what changed in a tick, in the caller's transaction. Adds the flows for which there is
  /// no row to `unstored`.
  Status store(const Sample& sample, uint64_t& unstored);

  /// Writes all waiting changes into their rows, in the caller's transaction.
  Status fold_all();
  /// Gives back the room of the file that waiting changes took, outside of a transaction.
  Status shrink();

 private:
  struct Slot {
    uint32_t number;  // within the run
    bool initiator_is_low;
    bool stored;                 // the whole row is stored, so changes suffice
    uint64_t initiator_packets;  // when last stored
  };
  struct LateMoment {
    uint32_t number;  // of the flow
    int64_t time_ns, lateness_ns;
  };
  struct OrderedFlow {
    uint64_t order;  // the sort key of the flows of a tick
    const FlowRow* flow;
    Slot* slot;
  };
  /// Which blobs wait: those from `first` to before `end`. Those before `newer` are being folded.
  struct Waiting {
    uint32_t first = 0, newer = 0, end = 0;
    size_t newer_bytes = 0;  // of those from `newer` on
    size_t most_bytes = 0;   // that ever waited
    size_t folding_bytes = 0;
    std::shared_ptr<const FlowChanges> folding;
    size_t folded = 0;  // how many flows of `folding` are in their rows
  };

  FlowWriter(Connection& connection, int64_t run, uint64_t max_rows, Statement whole,
             Statement changed, Statement late, Statement change)
      : connection_(&connection),
        run_(run),
        max_rows_(max_rows),
        whole_(std::move(whole)),
        changed_(std::move(changed)),
        late_message_(std::move(late)),
        change_(std::move(change)) {}

  void order(const Sample& sample, uint64_t& unstored);
  Status store_whole(Slot& slot, const FlowRow& flow);
  Status store_changed(const NumberedFlow& changed);
  Status store_changes();
  Status fold_on();
  Status begin_fold();
  Status end_fold();
  void note_late(const LateMoment& late);
  Status store_late_messages(uint64_t tick);
  int64_t row_key(uint32_t number) const { return (run_ << 32) | number; }

  Connection* connection_;
  int64_t run_;
  uint64_t max_rows_;
  Statement whole_, changed_, late_message_, change_;
  std::unordered_map<uint64_t, Slot> slots_;  // by the flow's id
  Waiting waiting_;
  // What the open transaction changed of the above. Nodes of a map do not move.
  std::vector<std::pair<Slot*, Slot>> slots_before_;
  Waiting waiting_before_;
  // Of the tick being stored:
  std::vector<OrderedFlow> ordered_;
  std::vector<NumberedFlow> changes_;
  std::vector<LateMoment> late_messages_;
};

}  // namespace topspin
