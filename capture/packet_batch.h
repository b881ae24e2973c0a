// PacketBatch: packets of a file that were parsed on a thread of their own, in their order, on the
// way to the flow table. Plain values; filled by ParseAhead, emptied by IntervalCutter, and in one
// of their hands at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "capture/flow_tracker.h"
#include "capture/flows/flow_table.h"
#include "capture/packet/packet.h"
#include "core/base/result.h"

namespace topspin {

struct PacketBatch {
  static constexpr size_t kPacketsMax = 512;  // 57 KB: a few batches stay in a cache

  /// What happened just before a packet.
  struct Mark {
    enum Kind : uint8_t { kTimeStep, kJumpAhead, kDuplicate };
    size_t packet = 0;  // index
    Kind kind = kTimeStep;
    int64_t shift_ns = 0;  // kTimeStep: FileClock::shift_ns() from here on
  };

  std::array<ParsedPacket, kPacketsMax> packets;
  std::array<FlowTable::Lookup, kPacketsMax> lookups;
  size_t size = 0;
  bool guessed = false;                    // the lookups have their candidates
  std::vector<Mark> marks;                 // kDuplicate: the packet itself does not count
  FileNotes notes;                         // of the file up to here
  std::optional<Result<StepOutcome>> end;  // what ended the reading, if it did

  bool is_full() const { return size == kPacketsMax; }
  void clear() {
    size = 0;
    guessed = false;
    marks.clear();
    end.reset();
  }
};

}  // namespace topspin
