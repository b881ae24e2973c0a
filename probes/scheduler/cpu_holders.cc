#include "probes/scheduler/cpu_holders.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/read_file.h"
#include "probes/bpf/bpf_object.h"
#include "probes/proc/cgroup_reader.h"

namespace topspin {
namespace {

constexpr size_t kMostRows = 1000;
constexpr size_t kForgetFrom = 3072;  // the map has room for 4,096 elements
constexpr uint32_t kElementsAtOnce = 512;
constexpr int kReadings = 8;
constexpr uint64_t kWorthALookNs = 1'000'000;

static_assert(kCpuHolderCount == TOPSPIN_HOLDERS);

/// The text of a file of /proc/PID, without the line end; "": the process has ended, or is not
/// visible.
std::string process_file(const std::string& proc_root, int32_t pid, const char* name) {
  if (pid <= 0) return "";
  auto text = read_file(proc_root + "/" + std::to_string(pid) + "/" + name, 64 << 10);
  if (!text.ok()) return "";
  if (text->ends_with('\n')) text->pop_back();
  return std::move(*text);
}

/// The cgroup of version 2; if the process is in its root, that of version 1.
std::string cgroup_of(const std::string& proc_root, int32_t pid) {
  const std::string text = process_file(proc_root, pid, "cgroup");
  const auto path = find_cgroup_path(text, "");
  if (path && *path != "/") return *path;
  return find_cgroup_path(text, "cpu").value_or(path.value_or(""));
}

/// The slots_changed stamps of all CPUs. A slot changed in between if two readings differ, or is
/// being changed if one is odd.
std::vector<uint32_t> slot_stamps(const MappedBpfArray<topspin_cpu>& cpus) {
  std::vector<uint32_t> stamps(cpus.size());
  for (uint32_t i = 0; i < cpus.size(); ++i)
    stamps[i] = __atomic_load_n(&cpus[i].queue.slots_changed, __ATOMIC_ACQUIRE);
  return stamps;
}

}  // namespace

/// exec changes the name of a process, and the BPF side has the name from when the process took its
/// slot. For kernel threads, /proc also shows what they work on.
std::string CpuHolders::name_of(const topspin_holder& holder) const {
  std::string name;
  if (holder.kind != TOPSPIN_HELD_BY_KERNEL_THREAD)
    name = process_file(proc_root_, holder.pid, "comm");
  if (name.empty()) name.assign(holder.comm, ::strnlen(holder.comm, sizeof(holder.comm)));
  return name;
}

void CpuHolders::read(const MappedBpfArray<topspin_cpu>& cpus, SchedulerReading& reading) {
  std::vector<bool> changed(rows_.size());
  // A slot that changes hands in the meantime could be counted twice. Then read again, or in the
  // next tick.
  for (int i = 0; i < kReadings; ++i) {
    if (!read_processes(cpus)) continue;
    for (auto& [tgid, process] : processes_) count(process, changed);
    forget_idle();
    break;
  }
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (changed[i]) reading.changed_cpu_holders.push_back(rows_[i]);
  }
  SchedulerInterval& totals = reading.totals;
  for (size_t kind = 0; kind < kCpuHolderCount; ++kind) {
    uint64_t held_ns = held_ns_[kind];
    for (uint32_t i = 0; i < cpus.size(); ++i) held_ns += cpus[i].queue.held_ns[kind];
    totals.waited_behind[kind] = held_ns;
  }
  totals.cpu_holders_missed = 0;
  for (uint32_t i = 0; i < cpus.size(); ++i) *totals.cpu_holders_missed += cpus[i].queue.no_room;
}

/// False: a slot changed hands in the meantime, and the result cannot be used.
bool CpuHolders::read_processes(const MappedBpfArray<topspin_cpu>& cpus) {
  const std::vector<uint32_t> before = slot_stamps(cpus);
  std::unordered_map<uint32_t, uint64_t> in_slots;
  for (uint32_t i = 0; i < cpus.size(); ++i) {
    for (const topspin_holder_slot& slot : cpus[i].queue.slots)
      if (slot.tgid != 0) in_slots[slot.tgid] += slot.held_ns;
  }
  const auto elements = read_elements();
  const bool moved = std::ranges::any_of(before, [](uint32_t stamp) { return stamp % 2 != 0; }) ||
                     slot_stamps(cpus) != before;
  if (moved) return false;
  for (const auto& [tgid, element] : elements) {
    Process& process = processes_[tgid];
    const auto slot = in_slots.find(tgid);
    process.seen = element;
    process.in_slot = slot != in_slots.end();
    if (process.in_slot) process.seen.held_ns += slot->second;
  }
  return true;
}

std::vector<std::pair<uint32_t, topspin_holder>> CpuHolders::read_elements() const {
  std::vector<std::pair<uint32_t, topspin_holder>> elements;
  std::vector<uint32_t> keys(kElementsAtOnce);
  std::vector<topspin_holder> values(kElementsAtOnce);
  uint32_t in = 0, out = 0;
  for (bool first = true;; first = false) {
    uint32_t count = kElementsAtOnce;
    const int error = bpf_map_lookup_batch(map_fd_, first ? nullptr : &in, &out, keys.data(),
                                           values.data(), &count, nullptr);
    if (error != 0 && errno != ENOENT) return elements;
    for (uint32_t i = 0; i < count; ++i) elements.emplace_back(keys[i], values[i]);
    if (error != 0) return elements;
    in = out;
  }
}

/// Adds what the process has held since the previous reading to the row with its name.
void CpuHolders::count(Process& process, std::vector<bool>& changed) {
  if (process.seen.held_ns <= process.counted_ns) return;
  const uint64_t grown_ns = process.seen.held_ns - process.counted_ns;
  std::string name = process.name;
  if (name.empty() || grown_ns > kWorthALookNs) name = name_of(process.seen);
  if (name != process.name) {
    process.name = std::move(name);
    process.row = row_of(process);
    ++rows_[process.row].processes;
  }
  process.counted_ns = process.seen.held_ns;
  CpuHolderRow& row = rows_[process.row];
  row.pid = process.seen.pid;
  row.held_ns += grown_ns;
  held_ns_[static_cast<size_t>(row.kind)] += grown_ns;
  changed.resize(rows_.size());
  changed[process.row] = true;
}

size_t CpuHolders::row_of(const Process& process) {
  const auto kind =
      static_cast<CpuHolder>(std::min<uint32_t>(process.seen.kind, TOPSPIN_HELD_BY_KERNEL_THREAD));
  std::string name = process.name;
  std::string cgroup =
      kind == CpuHolder::kKernelThread ? "" : cgroup_of(proc_root_, process.seen.pid);
  if (rows_.size() >= kMostRows && !places_.contains({kind, name, cgroup})) name = cgroup = "";
  const auto [place, fresh] = places_.try_emplace({kind, name, cgroup}, rows_.size());
  if (fresh) {
    CpuHolderRow& row = rows_.emplace_back();
    row.number = static_cast<uint32_t>(rows_.size());
    row.kind = kind;
    row.name = std::move(name);
    row.cgroup = std::move(cgroup);
  }
  return place->second;
}

/// Makes room in the map: removes the processes that have held nothing since the previous reading.
void CpuHolders::forget_idle() {
  if (processes_.size() < kForgetFrom) return;
  std::erase_if(processes_, [&](const auto& entry) {
    const auto& [tgid, process] = entry;
    if (process.in_slot) return false;
    topspin_holder now{};
    if (bpf_map_lookup_elem(map_fd_, &tgid, &now) == 0 && now.held_ns != process.seen.held_ns)
      return false;
    return bpf_map_delete_elem(map_fd_, &tgid) == 0;
  });
}

}  // namespace topspin
