#include "probes/bpf/bpf_object.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>

#include <bpf/btf.h>
#include <linux/capability.h>
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

/// The part of `line` between two marks; empty if they are not there.
std::string between(std::string_view line, std::string_view before, std::string_view after) {
  const size_t begin = line.find(before);
  if (begin == std::string_view::npos) return "";
  line.remove_prefix(begin + before.size());
  const size_t end = line.find(after);
  return std::string(end == std::string_view::npos ? "" : line.substr(0, end));
}

/// The first warning of libbpf, without its prefix. Later warnings are only consequences of it.
/// That the limit of locked memory stays matters only if something is then refused.
std::string first_warning() {
  std::istringstream lines(log_text);
  std::string line;
  while (std::getline(lines, line) && line.find("Failed to bump RLIMIT_MEMLOCK") != line.npos) {
  }
  if (line.starts_with("libbpf: ")) line.erase(0, 8);
  return line;
}

/// What an older kernel lacks, if that is what the warning says.
std::string missing_in_kernel(std::string_view warning) {
  if (const std::string name = between(warning, "failed to find kernel BTF type ID of '", "'");
      !name.empty())
    return fmt::format("this kernel has no {}", name);
  if (const std::string map = between(warning, "bpf_create_map_xattr(", "):Invalid argument");
      !map.empty())
    return fmt::format("this kernel does not know the kind of the map \"{}\"", map);
  return "";
}

}  // namespace

BpfLog::BpfLog() {
  [[maybe_unused]] static const libbpf_print_fn_t kPrintedBefore = libbpf_set_print(keep_log);
  log_text.clear();
}

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
  if (os_errno == EPERM && !kernel_is_since(5, 11))
    return make_error(ErrorCode::kPermission,
                      fmt::format("{}: before Linux 5.11 the memory of BPF counts as locked; needs "
                                  "cap_sys_resource, or `ulimit -l unlimited`",
                                  what),
                      os_errno);
  const std::string warning = first_warning();
  // libbpf's first, trivial program. The kernel itself would have accepted it.
  if (os_errno == EPERM && warning.find("bpf_object__probe_loading") != warning.npos)
    return make_error(ErrorCode::kPermission, fmt::format("{}: bpf() is {}", what, kRefusedAnyway),
                      os_errno);
  if (const std::string missing = missing_in_kernel(warning); !missing.empty())
    return make_error(ErrorCode::kUnsupported, fmt::format("{}: {}", what, missing), os_errno);
  return make_error(os_errno == EPERM ? ErrorCode::kPermission : ErrorCode::kUnsupported,
                    fmt::format("{}: {}{}{}{}", what, std::strerror(os_errno),
                                warning.empty() ? "" : " (", warning, warning.empty() ? "" : ")"),
                    os_errno);
}

Result<RingBuffer> open_ring(int map_fd, ring_buffer_sample_fn on_record, void* context,
                             std::string_view of_what) {
  RingBuffer ring(ring_buffer__new(map_fd, on_record, context, nullptr));
  if (!ring)
    return make_error(ErrorCode::kInternal,
                      fmt::format("cannot map the ring of {}: {}", of_what, std::strerror(errno)),
                      errno);
  return ring;
}

Result<UniqueFd> make_task_storage(const char* name, uint32_t value_bytes) {
  const BpfLog log;
  // The kernel wants the types of the key and of the value, but looks at no member.
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__new_empty(), &btf__free);
  if (!types) return log.error("cannot describe a map", errno, false);
  const int key = btf__add_int(types.get(), "int", sizeof(int), BTF_INT_SIGNED);
  const int value = btf__add_struct(types.get(), name, value_bytes);
  if (key < 0 || value < 0 || btf__load_into_kernel(types.get()) != 0)
    return log.error("cannot describe a map", errno, false);
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.btf_fd = static_cast<__u32>(btf__fd(types.get()));
  options.btf_key_type_id = static_cast<__u32>(key);
  options.btf_value_type_id = static_cast<__u32>(value);
  options.map_flags = BPF_F_NO_PREALLOC;
  UniqueFd map(
      bpf_map_create(BPF_MAP_TYPE_TASK_STORAGE, name, sizeof(int), value_bytes, 0, &options));
  if (!map) return log.error("cannot create a map", errno, false);
  return map;
}

void make_safe_in_scheduler(bpf_map* map) {
  constexpr uint32_t kMostElements = 16'384;
  if (kernel_is_since(6, 1)) return;
  bpf_map__set_map_flags(map, bpf_map__map_flags(map) & ~static_cast<uint32_t>(BPF_F_NO_PREALLOC));
  bpf_map__set_max_entries(map, std::min(bpf_map__max_entries(map), kMostElements));
}

std::vector<int> loaded_programs(const bpf_object* object) {
  std::vector<int> fds;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    if (bpf_program__fd(program) >= 0) fds.push_back(bpf_program__fd(program));
  }
  return fds;
}

ProgramStats read_program_stats(std::span<const int> program_fds) {
  ProgramStats stats;
  for (const int fd : program_fds) {
    bpf_prog_info info{};
    __u32 length = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) continue;
    stats.missed_runs += info.recursion_misses;
    stats.run_ns += static_cast<int64_t>(info.run_time_ns);
  }
  return stats;
}

Histogram read_histogram(const topspin_cells& cells) {
  return Histogram::from_cells(
      std::span(reinterpret_cast<const uint64_t*>(cells.cells), TOPSPIN_HISTOGRAM_BUCKETS),
      cells.sum, cells.max);
}

}  // namespace topspin
