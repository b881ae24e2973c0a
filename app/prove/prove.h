// `topspin doctor --prove`: known faults, inflicted one after another on a small server of our own
// that is recorded as any subject is. What topspin measured is held against the server's own
// account, and its first finding against the fault. This is the calibration of one host and kernel.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "report/model/doctor_report.h"

namespace topspin {

/// The faults that can be inflicted, in the order in which they are.
std::vector<std::string_view> fault_names();

/// Inflicts the named faults (none named: all), which takes about ten seconds each; all traffic is
/// on loopback. `say_progress` gets a line before each. A fault that this host cannot have is a
/// proof with `skipped`. An error means that no proof could be made: kUsage for a fault that there
/// is not, kPermission without the rights to record.
Result<ProofReport> prove(const std::vector<std::string>& faults,
                          const std::function<void(const std::string&)>& say_progress);

}  // namespace topspin
