#include "probes/resources/resources.h"

#include <algorithm>
#include <utility>

#include "core/base/clock.h"

namespace topspin {
namespace {

constexpr int64_t kReadBudgetNs = 200 * kNanosPerMilli;
constexpr int64_t kWalkBudgetNs = 100 * kNanosPerMilli;
constexpr size_t kLeastProcesses = 16;
constexpr int64_t kWalkShare = 50;      // each walk takes at most 1/50 of the time
constexpr int64_t kWalkNsPerPage = 20;  // measured 5 to 15
constexpr int64_t kPageBytes = 4096;
constexpr int64_t kLimitsRefreshNs = 10 * kNanosPerSecond;

/// The address space that a process gets by default. The kernel gives higher addresses only to
/// processes that pass one as a hint (five-level tables, 52-bit addresses).
constexpr std::optional<int64_t> address_space_of_architecture() {
#if defined(__x86_64__)
  return (int64_t{1} << 47) - kPageBytes;
#elif defined(__aarch64__)
  return int64_t{1} << 48;
#else
  return std::nullopt;
#endif
}

/// Whether a walk over processes still has time after `read` of them. A few are always read,
/// because on a busy host time passes while we do not run.
bool may_go_on(size_t read, size_t all, int64_t begin_ns) {
  return read == all || read < kLeastProcesses || monotonic_now_ns() <= begin_ns + kWalkBudgetNs;
}

void add(std::optional<int64_t>& sum, std::optional<int64_t> value) {
  if (value) sum = sum.value_or(0) + *value;
}

/// Keeps the one of two that has used the greater part of its limit.
void keep_nearer(LimitUse& nearest, std::optional<int64_t> used, std::optional<int64_t> limit) {
  if (!used || !limit || *limit <= 0) return;
  const auto share = [](int64_t u, int64_t l) {
    return static_cast<double>(u) / static_cast<double>(l);
  };
  if (!nearest.used || share(*used, *limit) > share(*nearest.used, *nearest.limit))
    nearest = {used, limit};
}

/// A sum that needs a value from every living process. If one may not be read, the sum is absent.
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

std::optional<uint64_t> growth(std::optional<uint64_t> now, std::optional<uint64_t> before) {
  if (!now || !before || *now < *before) return std::nullopt;
  return *now - *before;
}

StallInterval growth(const StallInterval& now, const StallInterval& before) {
  StallInterval interval;
  interval.cpu_some_ns = growth(now.cpu_some_ns, before.cpu_some_ns);
  interval.memory_some_ns = growth(now.memory_some_ns, before.memory_some_ns);
  interval.memory_full_ns = growth(now.memory_full_ns, before.memory_full_ns);
  interval.io_some_ns = growth(now.io_some_ns, before.io_some_ns);
  interval.io_full_ns = growth(now.io_full_ns, before.io_full_ns);
  return interval;
}

StallInterval read_host_stalls(ProcReader& proc) {
  StallInterval stalls;
  stalls.cpu_some_ns = proc.pressure("cpu").value_or(ProcPressure{}).some_ns;
  const ProcPressure memory = proc.pressure("memory").value_or(ProcPressure{});
  stalls.memory_some_ns = memory.some_ns;
  stalls.memory_full_ns = memory.full_ns;
  const ProcPressure io = proc.pressure("io").value_or(ProcPressure{});
  stalls.io_some_ns = io.some_ns;
  stalls.io_full_ns = io.full_ns;
  return stalls;
}

void add_status(const ProcStatus& status, const std::optional<ProcLimits>& limits,
                ResourceReading& reading) {
  add(reading.rss_bytes, status.rss_bytes);
  add(reading.anonymous_bytes, status.anonymous_bytes);
  add(reading.file_bytes, status.file_bytes);
  add(reading.shared_bytes, status.shared_bytes);
  add(reading.page_table_bytes, status.page_table_bytes);
  add(reading.vsz_bytes, status.vsz_bytes);
  add(reading.swap_bytes, status.swap_bytes);
  add(reading.threads, status.threads);
  std::optional<int64_t> address_space = address_space_of_architecture();
  if (address_space && limits && limits->address_space_bytes)
    address_space = std::min(*address_space, *limits->address_space_bytes);
  keep_nearer(reading.address_space_bytes, status.vsz_bytes, address_space);
}

/// Sets the values for a cgroup that is empty but may fill again.
void hold_nothing(ResourceReading& reading) {
  for (auto member :
       {&ResourceReading::rss_bytes, &ResourceReading::anonymous_bytes,
        &ResourceReading::file_bytes, &ResourceReading::shared_bytes,
        &ResourceReading::page_table_bytes, &ResourceReading::vsz_bytes,
        &ResourceReading::swap_bytes, &ResourceReading::threads, &ResourceReading::fds})
    reading.*member = 0;
}

}  // namespace

ResourceProbe::ResourceProbe(ProcReader& proc, std::string cgroup_directory)
    : proc_(proc),
      watches_cgroup_(!cgroup_directory.empty()),
      cgroup_(proc, std::move(cgroup_directory)) {}

void ResourceProbe::Paced::took(int64_t begin_ns, int64_t end_ns) {
  next_ns = end_ns + (end_ns - begin_ns) * kWalkShare;
}

const std::optional<ProcLimits>& ResourceProbe::limits_of(int32_t pid, int64_t now_ns) {
  auto [found, is_new] = limits_.try_emplace(pid);
  Limits& known = found->second;
  if (is_new) known.first_read_ns = now_ns;
  // A program sets its limits when it starts, or its shell sets them just before.
  const bool has_just_started = now_ns - known.first_read_ns < kLimitsRefreshNs;
  if (is_new || has_just_started || now_ns - known.read_ns > kLimitsRefreshNs) {
    known.limits = proc_.limits(pid);
    known.read_ns = now_ns;
  }
  return known.limits;
}

ResourceReading ResourceProbe::read(const std::vector<int32_t>& processes, int64_t now_ns) {
  ResourceReading reading;
  reading.processes = static_cast<int64_t>(processes.size());
  std::erase_if(limits_, [&](const auto& entry) {
    return !std::binary_search(processes.begin(), processes.end(), entry.first);
  });
  int64_t minor_faults = 0;
  int64_t major_faults = 0;
  CompleteSum fds;
  size_t read = 0;
  for (const int32_t pid : processes) {
    if (++read > kLeastProcesses && monotonic_now_ns() - now_ns > kReadBudgetNs) {
      ResourceReading partial;
      partial.processes = reading.processes;
      return partial;
    }
    const std::optional<ProcLimits>& limits = limits_of(pid, now_ns);
    // A process that exits releases its memory before its descriptors. So if its memory is still
    // there after the descriptors were counted, the count is complete; otherwise some may be gone.
    const auto count = proc_.fds(pid);
    const auto status = proc_.status(pid);
    if (!status || status->vsz_bytes) {
      fds.add(count, pid, proc_);
      if (limits) keep_nearer(reading.process_fds, count, limits->open_files);
    }
    if (status) add_status(*status, limits, reading);
    if (const auto stat = proc_.stat(pid)) {
      minor_faults += static_cast<int64_t>(stat->minor_faults + stat->reaped_minor_faults);
      major_faults += static_cast<int64_t>(stat->major_faults + stat->reaped_major_faults);
    }
  }
  reading.fds = fds.value();
  if (processes.empty() && watches_cgroup_) hold_nothing(reading);
  minor_faults_ = std::max(minor_faults_, minor_faults);
  major_faults_ = std::max(major_faults_, major_faults);
  reading.minor_faults = minor_faults_;
  reading.major_faults = major_faults_;
  read_surroundings(processes, reading);
  read_mappings(processes, reading);
  read_fd_kinds(processes, reading);
  read_pss(processes, reading);
  set_memory_use(reading);
  return reading;
}

/// Pages that several processes share must count once, so with several processes only PSS gives
/// their sum. For one process it is the RSS.
void ResourceProbe::set_memory_use(ResourceReading& reading) const {
  if (!memory_room_bytes_ || !reading.rss_bytes) return;
  std::optional<int64_t> held;
  if (reading.processes == 1)
    held = *reading.rss_bytes + reading.swap_bytes.value_or(0);
  else if (reading.pss_bytes && swap_share_bytes_)
    held = *reading.pss_bytes + *swap_share_bytes_;
  if (!held) return;
  const int64_t used = *held + reading.page_table_bytes.value_or(0);
  reading.memory_bytes = {used, used + *memory_room_bytes_};
}

void ResourceProbe::begin_pressure(int32_t pid) {
  ResourceReading ignored;
  read_surroundings({pid}, ignored);
}

/// Reads host and cgroup: the memory that is left, and the stalls for lack of a resource.
void ResourceProbe::read_surroundings(const std::vector<int32_t>& processes,
                                      ResourceReading& reading) {
  reading.ephemeral_ports = proc_.ephemeral_ports();
  pressure_ = {};
  const StallInterval stalls = read_host_stalls(proc_);
  if (host_stalls_) pressure_.host = growth(stalls, *host_stalls_);
  host_stalls_ = stalls;

  std::optional<int64_t> room = proc_.memory().available_bytes;
  if (!processes.empty()) {
    CgroupReading now = cgroup_.read(processes.front());
    reading.cgroup_bytes = now.memory_bytes;
    if (now.memory_room_bytes) room = std::min(room.value_or(INT64_MAX), *now.memory_room_bytes);
    if (cgroup_reading_ && cgroup_reading_->name == now.name) {
      pressure_.cgroup = growth(now.stalls, cgroup_reading_->stalls);
      if (now.quota && cgroup_reading_->quota) {
        const CpuQuotaUse& before = *cgroup_reading_->quota;
        pressure_.cpu_quota_periods = growth(now.quota->periods, before.periods);
        pressure_.throttled_periods =
            growth(now.quota->throttled_periods, before.throttled_periods);
        pressure_.throttled_ns = growth(now.quota->throttled_ns, before.throttled_ns);
      }
    }
    cgroup_reading_ = std::move(now);
  }
  memory_room_bytes_ = room;
}

void ResourceProbe::read_mappings(const std::vector<int32_t>& processes, ResourceReading& reading) {
  const int64_t begin_ns = monotonic_now_ns();
  if (!mappings_.due(begin_ns)) return;
  const auto limit = proc_.max_map_count();
  LimitUse nearest;
  CompleteSum sum;
  bool in_time = true;
  size_t read = 0;
  for (const int32_t pid : processes) {
    const auto count = proc_.mappings(pid, begin_ns + kWalkBudgetNs);
    sum.add(count, pid, proc_);
    keep_nearer(nearest, count, limit);
    in_time = may_go_on(++read, processes.size(), begin_ns);
    if (!in_time) break;
  }
  if (in_time) {
    reading.mappings = sum.value();
    if (reading.mappings) reading.process_mappings = nearest;
  }
  mappings_.took(begin_ns, monotonic_now_ns());
}

void ResourceProbe::read_fd_kinds(const std::vector<int32_t>& processes, ResourceReading& reading) {
  const int64_t begin_ns = monotonic_now_ns();
  if (!fd_kinds_.due(begin_ns)) return;
  FdKinds sum;
  CompleteSum complete;
  bool in_time = true;
  size_t read = 0;
  for (const int32_t pid : processes) {
    const auto kinds = proc_.fd_kinds(pid, begin_ns + kWalkBudgetNs);
    complete.add(kinds ? std::optional<int64_t>(0) : std::nullopt, pid, proc_);
    if (kinds) {
      sum.sockets += kinds->sockets;
      sum.pipes += kinds->pipes;
      sum.files += kinds->files;
      sum.anonymous += kinds->anonymous;
      sum.others += kinds->others;
    }
    in_time = may_go_on(++read, processes.size(), begin_ns);
    if (!in_time) break;
  }
  if (in_time && complete.value()) {
    reading.socket_fds = sum.sockets;
    reading.pipe_fds = sum.pipes;
    reading.file_fds = sum.files;
    reading.anonymous_fds = sum.anonymous;
    reading.other_fds = sum.others;
  }
  fd_kinds_.took(begin_ns, monotonic_now_ns());
}

void ResourceProbe::read_pss(const std::vector<int32_t>& processes, ResourceReading& reading) {
  const int64_t begin_ns = monotonic_now_ns();
  const int64_t estimate_ns = reading.rss_bytes.value_or(0) / kPageBytes * kWalkNsPerPage;
  if (!pss_.due(begin_ns) || estimate_ns > kWalkBudgetNs) return;
  CompleteSum sum;
  CompleteSum swap;
  bool in_time = true;
  size_t read = 0;
  for (const int32_t pid : processes) {
    const auto share = proc_.share(pid);
    sum.add(share ? std::optional(share->pss_bytes) : std::nullopt, pid, proc_);
    swap.add(share ? std::optional(share->swap_bytes) : std::nullopt, pid, proc_);
    in_time = may_go_on(++read, processes.size(), begin_ns);
    if (!in_time) break;
  }
  if (in_time) reading.pss_bytes = sum.value();
  if (in_time) swap_share_bytes_ = swap.value();
  pss_.took(begin_ns, monotonic_now_ns());
}

}  // namespace topspin
