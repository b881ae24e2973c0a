#include "probes/resources.h"

#include <algorithm>

#include "core/clock.h"

namespace topspin {
namespace {

constexpr int64_t kReadBudgetNs = 200 * kNanosPerMilli;
constexpr int64_t kWalkBudgetNs = 100 * kNanosPerMilli;
constexpr int64_t kWalkShare = 50;      // the walks take at most one part in this of the time
constexpr int64_t kWalkNsPerPage = 20;  // measured 5 to 15
constexpr int64_t kPageBytes = 4096;

void add(std::optional<int64_t>& sum, std::optional<int64_t> value) {
  if (value) sum = sum.value_or(0) + *value;
}

/// A sum that needs a part from every living process: one that may not be read makes it absent.
class CompleteSum {
 public:
  void add(std::optional<int64_t> value, int32_t pid, ProcReader& proc) {
    if (value) {
      sum_ = sum_.value_or(0) + *value;
      return;
    }
    const auto stat = proc.stat(pid);
    if (stat && !stat->ended()) complete_ = false;
  }
  std::optional<int64_t> value() const { return complete_ ? sum_ : std::nullopt; }

 private:
  std::optional<int64_t> sum_;
  bool complete_ = true;
};

}  // namespace

ResourceReading ResourceProbe::read(const std::vector<int32_t>& processes, int64_t now_ns) {
  ResourceReading reading;
  reading.processes = static_cast<int64_t>(processes.size());
  int64_t minor_faults = 0;
  int64_t major_faults = 0;
  CompleteSum fds;
  for (const int32_t pid : processes) {
    if (monotonic_now_ns() - now_ns > kReadBudgetNs) {
      ResourceReading partial;
      partial.processes = reading.processes;
      return partial;
    }
    if (const auto status = proc_.status(pid)) {
      add(reading.rss_bytes, status->rss_bytes);
      add(reading.anonymous_bytes, status->anonymous_bytes);
      add(reading.vsz_bytes, status->vsz_bytes);
      add(reading.swap_bytes, status->swap_bytes);
      add(reading.threads, status->threads);
    }
    if (const auto stat = proc_.stat(pid)) {
      minor_faults += static_cast<int64_t>(stat->minor_faults + stat->reaped_minor_faults);
      major_faults += static_cast<int64_t>(stat->major_faults + stat->reaped_major_faults);
    }
    fds.add(proc_.fds(pid), pid, proc_);
  }
  reading.fds = fds.value();
  minor_faults_ = std::max(minor_faults_, minor_faults);
  major_faults_ = std::max(major_faults_, major_faults);
  reading.minor_faults = minor_faults_;
  reading.major_faults = major_faults_;

  const int64_t begin_ns = monotonic_now_ns();
  const int64_t estimate_ns = reading.rss_bytes.value_or(0) / kPageBytes * kWalkNsPerPage;
  if (begin_ns < next_walk_ns_ || estimate_ns > kWalkBudgetNs) return reading;
  CompleteSum pss;
  CompleteSum mappings;
  bool in_time = true;
  const int64_t deadline_ns = begin_ns + kWalkBudgetNs;
  for (const int32_t pid : processes) {
    mappings.add(proc_.mappings(pid, deadline_ns), pid, proc_);
    pss.add(proc_.pss_bytes(pid), pid, proc_);
    in_time = monotonic_now_ns() <= deadline_ns;
    if (!in_time) break;
  }
  if (in_time) {
    reading.pss_bytes = pss.value();
    reading.mappings = mappings.value();
  }
  const int64_t end_ns = monotonic_now_ns();
  next_walk_ns_ = end_ns + (end_ns - begin_ns) * kWalkShare;
  return reading;
}

}  // namespace topspin
