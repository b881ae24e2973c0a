#include "probes/stacks/cpu_stacks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probes/perf/perf_event.h"
#include "probes/proc/code_mappings.h"

namespace topspin {
namespace {

constexpr size_t kMostStacks = 65'536;
constexpr size_t kMostProcesses = 4096;  // whose code is kept; beyond this, all are dropped
constexpr size_t kMostComms = 65'536;
constexpr size_t kMostFiles = 512;
constexpr int64_t kLargestJitMap = 64 << 20;
constexpr uint64_t kFormatLost = 1u << 4;  // PERF_FORMAT_LOST, which older headers lack

CodeMap read_code_maps(const ProcReader& proc, int32_t pid) {
  std::ifstream file(fmt::format("{}/{}/maps", proc.root(), pid), std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_code_maps(text.str());
}

std::string base_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

}  // namespace

void CodeMap::add(uint64_t begin, CodeMapping mapping) {
  if (begin >= mapping.end) return;
  auto it = mappings_.lower_bound(begin);
  if (it != mappings_.begin() && std::prev(it)->second.end > begin) --it;
  std::vector<std::pair<uint64_t, CodeMapping>> rests;
  while (it != mappings_.end() && it->first < mapping.end) {
    if (it->first < begin) {
      CodeMapping front = it->second;
      front.end = begin;
      rests.emplace_back(it->first, std::move(front));
    }
    if (it->second.end > mapping.end) {
      CodeMapping back = it->second;
      back.file_offset += mapping.end - it->first;
      rests.emplace_back(mapping.end, std::move(back));
    }
    it = mappings_.erase(it);
  }
  mappings_.emplace(begin, std::move(mapping));
  for (auto& [at, rest] : rests) mappings_.emplace(at, std::move(rest));
}

const std::pair<const uint64_t, CodeMapping>* CodeMap::find(uint64_t address) const {
  auto after = mappings_.upper_bound(address);
  if (after == mappings_.begin()) return nullptr;
  const auto& found = *std::prev(after);
  return address < found.second.end ? &found : nullptr;
}

CodeMap parse_code_maps(std::string_view text) {
  CodeMap map;
  for (MappedCode& code : parse_mapped_code(text))
    map.add(code.begin, {code.end, code.file_offset, std::move(code.path)});
  return map;
}

CpuStacks::Ring::~Ring() {
  if (memory != nullptr) ::munmap(memory, bytes);
}

/// A record as the kernel wrote it, header and all, and when it happened.
struct CpuStacks::Record {
  uint64_t time_ns;
  std::vector<char> bytes;

  perf_event_header header() const {
    perf_event_header h;
    std::memcpy(&h, bytes.data(), sizeof h);
    return h;
  }
  /// nullopt beyond its end.
  template <typename T>
  std::optional<T> at(size_t offset) const {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
  }
  std::string text_at(size_t offset) const {
    if (offset >= bytes.size()) return {};
    return std::string(bytes.data() + offset,
                       ::strnlen(bytes.data() + offset, bytes.size() - offset));
  }
};

namespace {

perf_event_attr sample_attributes(int64_t samples_per_second, bool with_kernel, size_t ring_bytes) {
  perf_event_attr attr{};
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_TASK_CLOCK;
  attr.freq = 1;
  attr.sample_freq = static_cast<uint64_t>(samples_per_second);
  attr.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CALLCHAIN;
  attr.sample_id_all = 1;  // gives the other records a time too
  attr.use_clockid = 1;    // BPF's clock, by which stretches begin and end
  attr.clockid = CLOCK_MONOTONIC;
  attr.inherit = 1;
  attr.exclude_kernel = with_kernel ? 0 : 1;
  attr.exclude_hv = 1;
  attr.exclude_callchain_kernel = with_kernel ? 0 : 1;
  attr.mmap = 1;
  attr.mmap2 = 1;
  attr.comm = 1;
  attr.comm_exec = 1;
  attr.task = 1;
  attr.watermark = 1;
  attr.wakeup_watermark = static_cast<uint32_t>(ring_bytes);
  return attr;
}

}  // namespace

Result<CpuStacks> CpuStacks::open(const Subject& subject, int64_t samples_per_second,
                                  ProcReader& proc, size_t ring_bytes) {
  const bool with_kernel = perf_may_see_kernel(proc);
  perf_event_attr attr = sample_attributes(samples_per_second, with_kernel, ring_bytes);
  const std::vector<ThreadOf> threads = subject_threads(subject, proc);
  const std::vector<int> cpus = online_cpus();
  const bool is_cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  UniqueFd cgroup;
  std::vector<int32_t> ids;
  if (is_cgroup) {
    TOPSPIN_ASSIGN(cgroup, open_cgroup_for_perf(subject));
    ids.push_back(cgroup.get());
  } else {
    for (const ThreadOf& thread : threads) ids.push_back(thread.tid);
  }
  const Targets targets{ids, is_cgroup ? PERF_FLAG_PID_CGROUP : 0};
  // From 6.0 on the kernel counts for each event how many records found no room. Older kernels
  // report it in a record with the next one that finds room, which never comes if the subject no
  // longer runs on that CPU.
  attr.read_format = kFormatLost;
  const auto counts_losses =
      open_perf_event(attr, ids.empty() ? 0 : ids.front(), cpus.front(), targets.flags);
  if (!counts_losses.ok() && counts_losses.error().os_errno == EINVAL) attr.read_format = 0;

  CpuStacks stacks(proc, ring_bytes);
  stacks.counts_losses_ = attr.read_format != 0;
  TOPSPIN_TRY(stacks.open_events(attr, targets, cpus));
  // Read the mappings now, because the process may be gone when its first sample is examined.
  for (const ThreadOf& thread : threads) {
    Process& owner = stacks.process(thread.pid);
    if (owner.maps_read_at != stacks.interval_) owner.code = read_code_maps(proc, thread.pid);
    owner.maps_read_at = stacks.interval_;
    (void)stacks.comm(thread.pid, thread.tid);
  }
  if (with_kernel)
    stacks.read_kernel_symbols();
  else
    stacks.add_reason("user space only: needs cap_perfmon for the kernel's part");
  return stacks;
}

void CpuStacks::add_reason(const std::string& reason) {
  if (!reason_.empty()) reason_ += "; ";
  reason_ += reason;
}

void CpuStacks::read_kernel_symbols() {
  std::ifstream file(proc_->root() + "/kallsyms", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  kernel_ = parse_kallsyms(text.str());
  if (kernel_.empty())
    add_reason("kernel frames have no names: needs cap_syslog and kernel.kptr_restrict below 2");
}

Status CpuStacks::open_events(const perf_event_attr& attr, Targets targets,
                              const std::vector<int>& cpus) {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  const size_t most =
      std::max<size_t>(1, descriptors.rlim_cur / 4 / std::max<size_t>(1, cpus.size()));
  const size_t sampled = std::min(targets.ids.size(), most);
  const uint64_t left_out = targets.ids.size() - sampled;
  targets.ids = targets.ids.first(sampled);
  uint64_t missed = left_out;  // threads that are not sampled on at least one CPU
  std::optional<Error> failure;
  for (const int cpu : cpus) {
    TOPSPIN_ASSIGN(const uint64_t failed, open_events_on(cpu, attr, targets, failure));
    missed = std::max(missed, left_out + failed);
  }
  if (events_.empty())
    return failure ? *failure : make_error(ErrorCode::kUsage, "the subject has no thread");
  if (missed > 0) add_reason(fmt::format("{} threads that existed before are not sampled", missed));
  return {};
}

/// Opens the events of one CPU. The first event that opens gets the ring, and all others write into
/// it. Returns how many threads are not sampled here, and why the last of them is not.
Result<uint64_t> CpuStacks::open_events_on(int cpu, const perf_event_attr& attr,
                                           const Targets& targets, std::optional<Error>& failure) {
  int ring_fd = -1;
  uint64_t failed = 0;
  for (const int32_t id : targets.ids) {
    auto fd = open_perf_event(attr, id, cpu, targets.flags);
    if (!fd.ok()) {
      if (fd.error().os_errno == ESRCH) continue;  // it has ended
      if (fd.error().os_errno == ENODEV) break;    // the CPU has gone offline
      failure = fd.error();
      ++failed;
      continue;
    }
    if (ring_fd < 0) {
      const size_t bytes = ring_bytes_ + static_cast<size_t>(::sysconf(_SC_PAGESIZE));
      void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
      if (memory == MAP_FAILED)
        return make_error(ErrorCode::kPermission,
                          "no memory for the rings of CPU samples: raise "
                          "kernel.perf_event_mlock_kb, or give topspin cap_ipc_lock",
                          errno);
      rings_.emplace_back(memory, bytes);
      ring_fd = fd->get();
    } else if (::ioctl(fd->get(), PERF_EVENT_IOC_SET_OUTPUT, ring_fd) != 0) {
      failure = make_error(ErrorCode::kInternal, "cannot share a ring of CPU samples", errno);
      ++failed;
      continue;
    }
    events_.push_back(std::move(*fd));
  }
  return failed;
}

CpuStackInterval CpuStacks::take_interval() {
  ++interval_;
  for (const int32_t pid : std::exchange(ended_, {})) processes_.erase(pid);
  std::vector<Record> records;
  drain(records);
  // Each ring is in order of time. Here the records of several CPUs are put in order.
  std::stable_sort(records.begin(), records.end(),
                   [](const Record& a, const Record& b) { return a.time_ns < b.time_ns; });
  CpuStackInterval interval;
  for (const Record& record : records) apply(record, interval);
  if (counts_losses_) {
    const uint64_t before = samples_lost_;
    samples_lost_ = 0;
    for (const UniqueFd& event : events_) {
      std::array<uint64_t, 2> values{};  // count, lost
      if (::read(event.get(), values.data(), sizeof values) == sizeof values)
        samples_lost_ += values[1];
    }
    interval.samples_lost = samples_lost_ - std::min(before, samples_lost_);
  }
  for (auto& [key, stack] : stacks_) {
    if (!std::exchange(stack.changed, false)) continue;
    interval.changed.push_back({stack.number, key.first, key.second, stack.samples});
  }
  return interval;
}

void CpuStacks::drain(std::vector<Record>& into) {
  for (Ring& ring : rings_) {
    auto* page = static_cast<perf_event_mmap_page*>(ring.memory);
    const char* data = static_cast<const char*>(ring.memory) + (ring.bytes - ring_bytes_);
    // The kernel publishes data_head after the records before it.
    const uint64_t head = std::atomic_ref<__u64>(page->data_head).load(std::memory_order_acquire);
    uint64_t tail = page->data_tail;
    while (head - tail >= sizeof(perf_event_header)) {
      const auto copy = [&](uint64_t from, char* to, size_t size) {
        const size_t at = from % ring_bytes_;
        const size_t first = std::min(size, ring_bytes_ - at);
        std::memcpy(to, data + at, first);
        std::memcpy(to + first, data, size - first);
      };
      perf_event_header header;
      copy(tail, reinterpret_cast<char*>(&header), sizeof header);
      if (header.size < sizeof header || header.size > head - tail) break;
      Record record{0, std::vector<char>(header.size)};
      copy(tail, record.bytes.data(), header.size);
      tail += header.size;
      // The time follows pid and tid in a sample, and is last (sample_id) in other records.
      const size_t at = header.type == PERF_RECORD_SAMPLE
                            ? sizeof header + 8
                            : record.bytes.size() - std::min<size_t>(8, record.bytes.size());
      record.time_ns = record.at<uint64_t>(at).value_or(0);
      into.push_back(std::move(record));
    }
    std::atomic_ref<__u64>(page->data_tail).store(tail, std::memory_order_release);
  }
}

void CpuStacks::apply(const Record& record, CpuStackInterval& interval) {
  constexpr size_t kBody = sizeof(perf_event_header);
  switch (record.header().type) {
    case PERF_RECORD_SAMPLE: count_sample(record, interval); break;
    case PERF_RECORD_LOST:  // id, lost
      if (!counts_losses_) interval.samples_lost += record.at<uint64_t>(kBody + 8).value_or(0);
      break;
    case PERF_RECORD_FORK: take_fork(record); break;
    case PERF_RECORD_EXIT: take_exit(record); break;
    case PERF_RECORD_COMM: take_name(record); break;
    case PERF_RECORD_MMAP2: take_mapping(record); break;
    default: break;
  }
}

void CpuStacks::take_fork(const Record& record) {  // pid, ppid, tid, ptid
  constexpr size_t kBody = sizeof(perf_event_header);
  const auto pid = record.at<int32_t>(kBody);
  const auto parent = record.at<int32_t>(kBody + 4);
  const auto tid = record.at<int32_t>(kBody + 8);
  const auto parent_tid = record.at<int32_t>(kBody + 12);
  if (!parent_tid) return;
  comms_[*tid] = std::string(comm(*parent, *parent_tid));
  if (*pid == *parent) return;
  std::erase(ended_, *pid);  // the pid is reused
  CodeMap code = process(*parent).code;
  Process& child = process(*pid);
  child = {};
  child.code = std::move(code);
}

void CpuStacks::take_exit(const Record& record) {  // pid, ppid, tid, ptid
  constexpr size_t kBody = sizeof(perf_event_header);
  const auto pid = record.at<int32_t>(kBody);
  const auto tid = record.at<int32_t>(kBody + 8);
  if (!tid) return;
  comms_.erase(*tid);
  if (*pid == *tid) ended_.push_back(*pid);
}

void CpuStacks::take_name(const Record& record) {  // pid, tid, comm
  constexpr size_t kBody = sizeof(perf_event_header);
  const auto pid = record.at<int32_t>(kBody);
  const auto tid = record.at<int32_t>(kBody + 4);
  if (!tid) return;
  comms_[*tid] = record.text_at(kBody + 8);
  if ((record.header().misc & PERF_RECORD_MISC_COMM_EXEC) == 0) return;
  // Its mappings from here on are in the ring, so /proc is not needed.
  Process& fresh = process(*pid);
  fresh = {};
  fresh.maps_read_at = interval_;
}

/// pid, tid, addr, len, pgoff, 24 bytes of file, prot, flags, name
void CpuStacks::take_mapping(const Record& record) {
  constexpr size_t kBody = sizeof(perf_event_header);
  const auto pid = record.at<int32_t>(kBody);
  const auto begin = record.at<uint64_t>(kBody + 8);
  const auto length = record.at<uint64_t>(kBody + 16);
  const auto offset = record.at<uint64_t>(kBody + 24);
  if (!offset || *length > UINT64_MAX - *begin) return;
  process(*pid).code.add(*begin, {*begin + *length, *offset, record.text_at(kBody + 64)});
}

void CpuStacks::count_sample(const Record& record, CpuStackInterval& interval) {
  // pid, tid, time, nr, addresses: the innermost first, PERF_CONTEXT_* between its parts
  constexpr size_t kBody = sizeof(perf_event_header);
  const auto pid = record.at<int32_t>(kBody);
  const auto tid = record.at<int32_t>(kBody + 4);
  const auto count = record.at<uint64_t>(kBody + 16);
  if (!count) return;
  std::vector<std::string> frames;
  bool in_kernel = false;
  bool first_of_context = true;
  for (uint64_t i = 0; i < *count; ++i) {
    const auto address = record.at<uint64_t>(kBody + 24 + i * 8);
    if (!address) break;
    if (*address >= static_cast<uint64_t>(PERF_CONTEXT_MAX)) {
      in_kernel = *address == static_cast<uint64_t>(PERF_CONTEXT_KERNEL);
      first_of_context = true;
      continue;
    }
    // A return address points after the call, which may be the function's last instruction.
    const uint64_t at = first_of_context || *address == 0 ? *address : *address - 1;
    first_of_context = false;
    frames.push_back(in_kernel ? kernel_frame(at) : user_frame(*pid, at));
  }
  std::string folded;
  for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
    if (!folded.empty()) folded += ';';
    folded += *frame;
  }
  auto key = std::pair(comm(*pid, *tid), std::move(folded));
  auto found = stacks_.find(key);
  if (found == stacks_.end()) {
    if (stacks_.size() >= kMostStacks) {
      ++interval.samples_unstored;
      interval.samples.push_back({*tid, 0, static_cast<int64_t>(record.time_ns)});
      return;
    }
    const auto number = static_cast<uint32_t>(stacks_.size() + 1);
    found = stacks_.emplace(std::move(key), Stack{number, 0, false}).first;
  }
  ++found->second.samples;
  found->second.changed = true;
  interval.samples.push_back({*tid, found->second.number, static_cast<int64_t>(record.time_ns)});
}

CpuStacks::Process& CpuStacks::process(int32_t pid) {
  // The end of a process is not reported if the ring was full then. So start again rather than
  // grow.
  if (processes_.size() >= kMostProcesses && !processes_.contains(pid)) processes_.clear();
  return processes_[pid];
}

const std::string& CpuStacks::comm(int32_t pid, int32_t tid) {
  if (comms_.size() >= kMostComms && !comms_.contains(tid)) comms_.clear();
  const auto [found, is_new] = comms_.try_emplace(tid);
  if (is_new) {
    if (const auto stat = proc_->thread_stat(pid, tid)) found->second = stat->name;
  }
  return found->second;
}

std::string CpuStacks::kernel_frame(uint64_t address) const {
  const std::string_view name = kernel_.find(address);
  return name.empty() ? "[kernel]_[k]" : frame_name(name) + "_[k]";
}

std::string CpuStacks::user_frame(int32_t pid, uint64_t address) {
  Process& owner = process(pid);
  const auto* found = owner.code.find(address);
  if (found == nullptr && owner.maps_read_at != interval_) {
    // The code was mapped before the sampling, or its record was lost. At most once per interval.
    owner.maps_read_at = interval_;
    CodeMap code = read_code_maps(*proc_, pid);
    if (!code.empty()) owner.code = std::move(code);
    found = owner.code.find(address);
  }
  if (found == nullptr || !found->second.path.starts_with('/') ||
      found->second.path.starts_with("//")) {
    read_jit_map(pid, owner);
    const std::string_view name = owner.jit.find(address);
    if (!name.empty()) return frame_name(name);
    if (found == nullptr) return "[unknown]";
    return found->second.path.starts_with('[') ? frame_name(found->second.path) : "[anonymous]";
  }
  const auto& [begin, mapping] = *found;
  if (const ElfSymbols* symbols = elf(pid, mapping.path)) {
    const auto linked = symbols->address_of(address - begin + mapping.file_offset);
    const std::string_view name = linked ? symbols->functions.find(*linked) : std::string_view{};
    if (!name.empty()) return frame_name(name);
  }
  return frame_name("[" + base_name(mapping.path) + "]");
}

const ElfSymbols* CpuStacks::elf(int32_t pid, const std::string& path) {
  if (files_.size() >= kMostFiles && !files_.contains(path)) files_.clear();
  const auto [found, is_new] = files_.try_emplace(path);
  if (is_new) {
    // A process in a container may have other files under the same names.
    found->second = read_elf(fmt::format("{}/{}/root{}", proc_->root(), pid, path));
    if (!found->second) found->second = read_elf(path);
  }
  return found->second ? &*found->second : nullptr;
}

/// Reads the file again whenever it has grown, but at most once per interval.
void CpuStacks::read_jit_map(int32_t pid, Process& process) {
  if (process.jit_read_at == interval_) return;
  process.jit_read_at = interval_;
  const std::string name = fmt::format("/tmp/perf-{}.map", pid);
  for (const std::string& path : {fmt::format("{}/{}/root{}", proc_->root(), pid, name), name}) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    struct stat info {
    }, owner{};
    // The directory is writable by everybody, so only a file of the process's user or root counts.
    if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) ||
        ::stat(fmt::format("{}/{}", proc_->root(), pid).c_str(), &owner) != 0 ||
        (info.st_uid != owner.st_uid && info.st_uid != 0))
      continue;
    if (info.st_size == process.jit_size || info.st_size > kLargestJitMap) return;
    std::string text(static_cast<size_t>(info.st_size), '\0');
    size_t size = 0;
    while (size < text.size()) {
      const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
      if (got <= 0) break;
      size += static_cast<size_t>(got);
    }
    process.jit = parse_perf_map(std::string_view(text).substr(0, size));
    process.jit_size = info.st_size;
    return;
  }
}

}  // namespace topspin
