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

  /// The packet with this index will be written soon, and the other thread read its place last.
  void prefetch_to_write(size_t at) {
    const char* const begin = reinterpret_cast<const char*>(&packets[at]);
    for (size_t line = 0; line < sizeof(ParsedPacket); line += 64) {
#ifdef __x86_64__
      // The compiler gives a prefetch for reading, unless it may assume processors that have this.
      asm volatile("prefetchw %0" : : "m"(begin[line]));
#else
      __builtin_prefetch(begin + line, 1);
#endif
    }
  }
  /// It will be read soon, and the other thread has written it.
  void prefetch_to_read(size_t at) const {
    const char* const begin = reinterpret_cast<const char*>(&packets[at]);
    for (size_t line = 0; line < sizeof(ParsedPacket); line += 64) __builtin_prefetch(begin + line);
    __builtin_prefetch(&lookups[at]);
  }

  bool is_full() const { return size == kPacketsMax; }
  void clear() {
    size = 0;
    guessed = false;
    marks.clear();
    end.reset();
  }
};

}  // namespace topspin
