// Playback: Samples that are there already (a stored run, a capture file) shown as they went.
//
// The same screens as live. Space pauses, arrows step, + and - change the speed. Ticks are read as
// they are shown: what is kept of them does not grow with their number (rewind.h). Lives on the
// main thread, with a loop of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "app/options/observe_options.h"
#include "app/screen/look.h"
#include "app/screen/rewind.h"
#include "core/base/result.h"
#include "core/flow/packet_copy.h"

namespace topspin {

struct Recorded {
  Scene scene;
  size_t ticks = 0;  // how many there are
  ReadTicks read;
  /// The last packets of a flow until a moment on its clock; empty: none are kept.
  std::function<Result<PacketCopies>(const FlowKey& flow, int64_t until_ns)> packets_of;
};

/// Shows it until the person leaves. Returns the process's exit code.
int play(Recorded recorded, const LookOptions& look);

/// Reads a capture file, up to so many packets that match the filter, into ticks and plays them.
int play_file(const std::string& file, const ObserveOptions& observe, const LookOptions& look,
              uint64_t max_packets);

}  // namespace topspin
