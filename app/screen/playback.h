// Playback: shows the Samples of a stored run or a capture file in the time in which they were
// made.
//
// It has the same screens as live. Space pauses, the arrow keys step, + and - change the speed.
// Ticks are read as they are shown, so the memory does not grow with their number (rewind.h). It
// runs a loop of its own on the main thread.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "app/options/observe_options.h"
#include "app/screen/look.h"
#include "app/screen/rewind.h"
#include "core/base/result.h"
#include "core/flow/packet_copy.h"
#include "core/run/run.h"

namespace topspin {

struct Recorded {
  RunInfo run;
  Scene scene;
  size_t ticks = 0;  // how many there are
  ReadTicks read;
  /// Returns the last packets of a flow before a moment on its clock. Empty if packets are not
  /// kept.
  std::function<Result<PacketCopies>(const FlowKey& flow, int64_t until_ns)> packets_of;
};

/// Shows the Samples until the user quits. Returns the process's exit code. `name_process` is what
/// start_name_process() returned, for a screen.
int play(Recorded recorded, const LookOptions& look, UniqueFd name_process);

/// Reads a capture file into ticks, up to this many packets that match the filter, and plays them.
int play_file(const std::string& file, const ObserveOptions& observe, const LookOptions& look,
              uint64_t max_packets, UniqueFd name_process);

}  // namespace topspin
