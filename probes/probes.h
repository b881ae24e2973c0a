// Probes: measures what the kernel did with the subject's threads, and what the subject holds. This
// is the public header of the folder; owners/flow_owner.h is the second one.
//
// It opens every probe of the list (all.cc) on one subject and reads them together. Lives on the
// session's thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "probes/probe.h"

namespace topspin {

class Probes {
 public:
  virtual ~Probes() = default;

  /// Fails only if the subject does not exist (kUsage) or may not be seen at all (kPermission).
  static Result<std::unique_ptr<Probes>> open(const SubjectSpec& subject,
                                              const ProbeOptions& options);

  virtual const std::vector<ProbeStatus>& status() const = 0;

  /// What the probes measured since the previous call, or since open().
  virtual ProbeInterval take_interval() = 0;

  /// The subject's processes, ascending, as of the last interval.
  virtual const std::vector<int32_t>& processes() const = 0;

  /// Messages about the subject since the last call, one sentence each.
  virtual std::vector<std::string> take_events() = 0;

  /// Readable when handle_events() should be called, soon: some probes cost nothing until the
  /// subject gives them something to see. -1: never. take_interval() handles events too.
  virtual int event_fd() const = 0;
  virtual void handle_events() = 0;

  /// Sums since open, up to the last interval.
  virtual std::optional<SchedulerSelfTest> self_test() const = 0;

  /// Why numbers of the run may be wrong, up to the last interval, one sentence each. `is_command`:
  /// the subject is a command of ours, whose usage the kernel counts. `usage` is that usage, if the
  /// command had ended before the interval.
  virtual std::vector<std::string> doubts(bool is_command,
                                          const std::optional<CommandUsage>& usage) const = 0;

  /// What the end of the run cuts off, as of the last interval: waits still open (right-censored).
  /// To be merged into the losses of the last tick, and of no other.
  virtual LossInterval end_losses() const = 0;

  /// The Linux capabilities (CAP_* numbers) that must be kept after opening for take_interval() to
  /// work.
  virtual std::vector<int> capabilities_needed() const = 0;
};

/// The names for --probe and a plan's [probes], in the order of the list.
std::vector<std::string> probe_names();

/// Whether this can be the value of --runtime: "auto", "none", names and files. kUsage if not.
Status check_runtimes(const std::string& wanted);

/// For `doctor`: whether each rung of each probe works on this host, in the order of the list.
std::vector<RungReport> examine_probes();

std::string bpf_library_version();

}  // namespace topspin
