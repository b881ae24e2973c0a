#include "probes/bpf/bpf_object.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probes/bpf/capabilities.h"

namespace topspin {
namespace {

constexpr size_t kLogLimit = 16 << 10;
constexpr const char* kKernelBtf = "/sys/kernel/btf/vmlinux";
thread_local std::string log_text;

[[gnu::format(printf, 2, 0)]] int keep_log(libbpf_print_level level, const char* format,
                                           va_list arguments) {
  if (level == LIBBPF_DEBUG || log_text.size() > kLogLimit) return 0;
  char line[1024];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  if (length > 0) log_text.append(line, std::min(static_cast<size_t>(length), sizeof(line) - 1));
  return length;
}

/// The first line that libbpf warned with, without its prefix: later ones follow from it.
std::string first_warning() {
  std::string line = log_text.substr(0, log_text.find('\n'));
  if (line.starts_with("libbpf: ")) line.erase(0, 8);
  return line;
}

size_t mapped_bytes(uint32_t cpus) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return (cpus * sizeof(topspin_cpu) + page - 1) / page * page;
}

Histogram read_cells(const topspin_cells& cells) {
  return Histogram::from_cells(
      std::span(reinterpret_cast<const uint64_t*>(cells.cells), TOPSPIN_HISTOGRAM_BUCKETS),
      cells.sum, cells.max);
}

}  // namespace

BpfLog::BpfLog() : previous_(libbpf_set_print(keep_log)) { log_text.clear(); }
BpfLog::~BpfLog() { libbpf_set_print(previous_); }

Error BpfLog::error(std::string_view what, int os_errno, bool needs_btf) const {
  if (needs_btf && ::access("/sys/kernel", F_OK) != 0)
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("{}: /sys is not mounted; mount -t sysfs sysfs /sys", what),
                      os_errno);
  if (needs_btf && ::access(kKernelBtf, R_OK) != 0)
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("{}: there is no {}; it needs a kernel with "
                                  "CONFIG_DEBUG_INFO_BTF",
                                  what, kKernelBtf),
                      os_errno);
  const bool permitted =
      has_effective_capability(CAP_SYS_ADMIN) ||
      (has_effective_capability(CAP_BPF) && has_effective_capability(CAP_PERFMON));
  if ((os_errno == EPERM || os_errno == EACCES) && !permitted)
    return make_error(ErrorCode::kPermission,
                      fmt::format("{}: needs cap_bpf and cap_perfmon; run with sudo", what),
                      os_errno);
  const std::string warning = first_warning();
  return make_error(os_errno == EPERM ? ErrorCode::kPermission : ErrorCode::kUnsupported,
                    fmt::format("{}: {}{}{}{}", what, std::strerror(os_errno),
                                warning.empty() ? "" : " (", warning, warning.empty() ? "" : ")"),
                    os_errno);
}

Result<CpuArray> CpuArray::map(int map_fd, uint32_t cpus) {
  void* address = ::mmap(nullptr, mapped_bytes(cpus), PROT_READ, MAP_SHARED, map_fd, 0);
  if (address == MAP_FAILED)
    return make_error(ErrorCode::kInternal,
                      fmt::format("cannot map the per-CPU histograms: {}", std::strerror(errno)),
                      errno);
  return CpuArray(static_cast<const topspin_cpu*>(address), cpus);
}

CpuArray::CpuArray(const topspin_cpu* cpus, uint32_t count)
    : cpus_(cpus), count_(count), copies_(count) {}

CpuArray::CpuArray(CpuArray&& other) noexcept
    : cpus_(std::exchange(other.cpus_, nullptr)),
      count_(other.count_),
      with_timers_(other.with_timers_),
      copies_(std::move(other.copies_)) {}

CpuArray::~CpuArray() {
  if (cpus_) ::munmap(const_cast<topspin_cpu*>(cpus_), mapped_bytes(count_));
}

void CpuArray::read(SchedulerReading& reading) {
  SchedulerInterval& totals = reading.totals;
  for (auto histogram :
       {&totals.queue_wait, &totals.preemption_wait, &totals.wake_delivery, &totals.on_cpu})
    histogram->emplace();
  for (Preemptions& by : totals.preempted_by) by = {0, 0};
  for (OffCpuTime& off : totals.off_cpu) off = {0, 0};
  for (uint32_t index = 0; index < count_; ++index) {
    const topspin_cpu& cpu = cpus_[index];
    Copy& copy = copies_[index];
    const uint64_t events = __atomic_load_n(&cpu.events, __ATOMIC_ACQUIRE);
    if (events != copy.events) {
      copy.events = events;
      copy.queue_wait = read_cells(cpu.queue_wait);
      copy.preemption_wait = read_cells(cpu.preemption_wait);
      copy.wake_delivery = read_cells(cpu.wake_delivery);
      copy.on_cpu = read_cells(cpu.on_cpu);
      copy.timer_oversleep = read_cells(cpu.timer_oversleep);
      copy.timer_slack = read_cells(cpu.timer_slack);
      copy.timer_late = read_cells(cpu.timer_late);
      copy.timer_queueing = read_cells(cpu.timer_queueing);
    }
    totals.queue_wait->merge(copy.queue_wait);
    totals.preemption_wait->merge(copy.preemption_wait);
    totals.wake_delivery->merge(copy.wake_delivery);
    totals.on_cpu->merge(copy.on_cpu);
    if (with_timers_) {
      const auto merge = [](std::optional<Histogram>& sum, const Histogram& part) {
        if (!sum) sum.emplace();
        sum->merge(part);
      };
      merge(totals.timer_oversleep, copy.timer_oversleep);
      merge(totals.timer_slack, copy.timer_slack);
      merge(totals.timer_late_expiry, copy.timer_late);
      merge(totals.timer_queueing, copy.timer_queueing);
    }
    for (size_t by = 0; by < kPreemptorCount; ++by) {
      *totals.preempted_by[by].count += cpu.preempted[by].count;
      *totals.preempted_by[by].wait_ns += cpu.preempted[by].ns;
    }
    for (size_t state = 0; state < kOffCpuStateCount; ++state) {
      *totals.off_cpu[state].count += cpu.off_cpu[state].count;
      *totals.off_cpu[state].ns += cpu.off_cpu[state].ns;
    }
    reading.losses.scheduler_left_censored += cpu.left_censored;
    reading.losses.scheduler_hidden_switches += cpu.hidden;
    take_row(index, totals.cpus);
  }
  totals.run_queue_latency = totals.queue_wait;
  totals.run_queue_latency->merge(*totals.preemption_wait);
  totals.run_queue_wait_ns = totals.run_queue_latency->sum();
}

/// What this CPU did since the previous reading: its run queue's greatest length has no meaning
/// over more than an interval.
void CpuArray::take_row(uint32_t index, std::vector<CpuScheduling>& rows) {
  const topspin_cpu& cpu = cpus_[index];
  Copy& copy = copies_[index];
  CpuScheduling now;
  now.switches = cpu.switches;
  now.waits = copy.queue_wait.count() + copy.preemption_wait.count();
  now.wait_ns = copy.queue_wait.sum() + copy.preemption_wait.sum();
  CpuScheduling row;
  row.cpu = static_cast<int32_t>(index);
  row.switches = now.switches - copy.row.switches;
  row.waits = now.waits - copy.row.waits;
  row.wait_ns = now.wait_ns - copy.row.wait_ns;
  copy.row = now;
  for (uint32_t length = 0; length < TOPSPIN_QUEUE_LENGTHS; ++length) {
    const uint64_t samples = cpu.queue_lengths[length];
    const uint64_t fresh = samples - copy.queue_lengths[length];
    if (fresh == 0) continue;
    copy.queue_lengths[length] = samples;
    row.queue_samples += fresh;
    row.queue_length_sum += fresh * length;
    row.queue_length_max = length;
  }
  if (row.switches > 0 || row.queue_samples > 0) rows.push_back(row);
}

void RowQueue::push(ThreadRow row) {
  const Identity identity{row.tid, row.start_time_ns};
  if (rows_.size() >= kBacklog * limit_ && !places_.contains(identity)) {
    ++dropped_;
    return;
  }
  const auto [place, fresh] = places_.try_emplace(identity, rows_.size());
  if (fresh)
    rows_.push_back(std::move(row));
  else
    rows_[place->second] = std::move(row);
}

std::vector<ThreadRow> RowQueue::take() {
  if (rows_.size() <= limit_) {
    places_.clear();
    return std::exchange(rows_, {});
  }
  const auto end = rows_.begin() + static_cast<std::ptrdiff_t>(limit_);
  std::vector<ThreadRow> taken(std::make_move_iterator(rows_.begin()),
                               std::make_move_iterator(end));
  rows_.erase(rows_.begin(), end);
  places_.clear();
  for (size_t index = 0; index < rows_.size(); ++index)
    places_[{rows_[index].tid, rows_[index].start_time_ns}] = index;
  return taken;
}

ThreadRow make_row(const topspin_record& record, const topspin_times& times) {
  ThreadRow row;
  row.pid = record.pid;
  row.tid = record.tid;
  row.start_time_ns = static_cast<int64_t>(record.start_boottime_ns);
  row.name.assign(record.comm, ::strnlen(record.comm, sizeof(record.comm)));
  row.exited = (record.flags & TOPSPIN_RECORD_EXITED) != 0;
  row.cpu_ns = record.since_joining.cpu_ns;
  row.run_queue_wait_ns = times.wait_ns;
  row.voluntary_switches = record.since_joining.voluntary_switches;
  row.involuntary_switches = record.since_joining.involuntary_switches;
  row.migrations = record.since_joining.migrations;
  row.run_queue_wait = CoarseHistogram::from_cells(times.waits, times.wait_ns, times.wait_ns_max);
  row.run_queue_waits = row.run_queue_wait->count();
  row.run_queue_wait_max_ns = times.wait_ns_max;
  row.on_cpu = CoarseHistogram::from_cells(times.slices, times.slice_ns, times.slice_ns_max);
  for (size_t by = 0; by < kPreemptorCount; ++by) row.preempted_by[by] = times.preempted[by];
  return row;
}

std::optional<ThreadRow> make_exit_row(const void* data, size_t size) {
  constexpr size_t kHead = offsetof(topspin_exit, entries);
  topspin_exit entry{};
  if (size < kHead) return std::nullopt;
  std::memcpy(&entry, data, std::min(size, sizeof(entry)));
  topspin_times times{};
  times.wait_ns = entry.wait_ns;
  times.wait_ns_max = entry.wait_ns_max;
  times.slice_ns = entry.slice_ns;
  times.slice_ns_max = entry.slice_ns_max;
  std::copy_n(entry.preempted, TOPSPIN_PREEMPTORS, times.preempted);
  const uint32_t used = std::min(entry.entries_used, TOPSPIN_EXIT_ENTRIES);
  for (uint32_t index = 0; index < used; ++index) {
    const auto cell = static_cast<uint32_t>(entry.entries[index] >> 32);
    const auto count = static_cast<uint32_t>(entry.entries[index]);
    if (cell < TOPSPIN_COARSE_CELLS)
      times.waits[cell] = count;
    else if (cell < 2 * TOPSPIN_COARSE_CELLS)
      times.slices[cell - TOPSPIN_COARSE_CELLS] = count;
  }
  return make_row(entry.record, times);
}

void add_counters(SchedulerReading& reading, const topspin_counters& counters) {
  const auto add = [](std::optional<uint64_t>& sum, uint64_t value) {
    sum = sum.value_or(0) + value;
  };
  add(reading.totals.cpu_ns, counters.cpu_ns);
  add(reading.totals.kernel_run_delay_ns, counters.run_delay_ns);
  add(reading.totals.voluntary_switches, counters.voluntary_switches);
  add(reading.totals.involuntary_switches, counters.involuntary_switches);
  add(reading.totals.migrations, counters.migrations);
  add(reading.minor_faults, counters.minor_faults);
  add(reading.major_faults, counters.major_faults);
}

void add_program_stats(SchedulerReading& reading, std::span<const int> program_fds) {
  int64_t run_ns = 0;
  for (const int fd : program_fds) {
    bpf_prog_info info{};
    __u32 length = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) continue;
    reading.losses.scheduler_missed_runs += info.recursion_misses;
    run_ns += static_cast<int64_t>(info.run_time_ns);
  }
  if (run_ns > 0) reading.bpf_ns = run_ns;
}

}  // namespace topspin
