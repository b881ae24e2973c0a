// `topspin doctor --prove`: known faults, inflicted one after another on a small server of our own
// that is recorded like any subject. What topspin measured is compared with the server's own
// account, and its first finding with the fault. This is a calibration for one host and kernel.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "report/model/doctor_report.h"

namespace topspin {

/// The faults that can be inflicted, in their order.
std::vector<std::string_view> fault_names();

/// Inflicts the named faults (all if none is named). Each takes about ten seconds, and all traffic
/// is on loopback. `say_progress` gets a line before each. If a fault is not possible on this host,
/// its proof has `skipped`. An error means that no proof could be made: kUsage for an unknown
/// fault, kPermission without the rights to record.
Result<ProofReport> prove(const std::vector<std::string>& faults,
                          const std::function<void(const std::string&)>& say_progress);

}  // namespace topspin
