// FilePackets: which packets of a file count, and on which clock: at most so many of them, with the
// time of FileClock. Pure, one thread.
#pragma once

#include <cstdint>

#include "capture/flows/flow_table.h"
#include "capture/packet/packet.h"
#include "capture/source/file_clock.h"

namespace topspin {

class FilePackets {
 public:
  explicit FilePackets(uint64_t packets_max) : left_(packets_max) {}

  /// Those that were asked for have come.
  bool all_taken() const { return left_ == 0; }

  /// Hands the packet on, unless all have been taken: `to` has add(packet), and is told before it
  /// of a clock that was set, by note_time_step(shift_ns) or note_jump_ahead().
  template <typename To>
  void add(const PacketView& packet, To& to) {
    if (left_ == 0) [[unlikely]]
      return;
    --left_;
    if (clock_.is_time(packet.stamp_ns)) [[likely]] {
      (void)to.add(packet);
      return;
    }
    const FileClock::Time time = clock_.read(FlowTable::clamp_stamp(packet.stamp_ns));
    if (time.stepped) [[unlikely]] {
      to.note_time_step(clock_.shift_ns());
    } else if (time.jumped) [[unlikely]] {
      to.note_jump_ahead();
    }
    PacketView timed = packet;
    timed.stamp_ns = time.ns;
    (void)to.add(timed);
  }

 private:
  FileClock clock_;
  uint64_t left_;
};

}  // namespace topspin
