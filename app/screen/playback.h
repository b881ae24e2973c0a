// Playback: Samples that are there already (a stored run, a capture file) shown as they went.
//
// The same screens as live. Space pauses, arrows step, + and - change the speed. Lives on the main
// thread, with a loop of its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/options/observe_options.h"
#include "app/screen/look.h"
#include "core/packet_copy.h"
#include "core/result.h"
#include "core/sample.h"

namespace topspin {

struct Recorded {
  Scene scene;
  std::vector<Sample> ticks;  // in order
  /// The last packets of a flow until a moment on its clock; empty: none are kept.
  std::function<Result<PacketCopies>(const FlowKey& flow, int64_t until_ns)> packets_of;
};

/// Shows it until the person leaves. Returns the process's exit code.
int play(Recorded recorded, const LookOptions& look);

/// Reads a capture file into ticks and plays them.
int play_file(const std::string& file, const ObserveOptions& observe, const LookOptions& look);

}  // namespace topspin
