#include "probes/bpf/tracepoints.h"

#include <cerrno>
#include <charconv>
#include <fstream>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace topspin {
namespace {

constexpr ino_t kInitialPidNamespace = 0xEFFFFFFC;

}  // namespace

Result<std::string> tracepoint_events() {
  for (const char* path : {"/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"}) {
    if (::access((std::string(path) + "/sched/sched_switch/format").c_str(), R_OK) == 0)
      return std::string(path);
    if (errno == EACCES)
      return make_error(ErrorCode::kPermission,
                        fmt::format("cannot read {}: needs cap_dac_read_search, or root", path),
                        EACCES);
  }
  return make_error(ErrorCode::kUnsupported,
                    "there is no tracefs; mount -t tracefs nodev /sys/kernel/tracing");
}

// From lines like "\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;".
Result<uint32_t> tracepoint_field(const std::string& events, const std::string& event,
                                  const std::string& field, uint32_t size) {
  std::ifstream file(events + "/" + event + "/format");
  for (std::string line; std::getline(file, line);) {
    if (line.find(" " + field + ";") == std::string::npos) continue;
    const auto number = [&](std::string_view key) {
      uint32_t value = UINT32_MAX;
      const size_t begin = line.find(key);
      if (begin != std::string::npos)
        std::from_chars(line.data() + begin + key.size(), line.data() + line.size(), value);
      return value;
    };
    if (number("size:") == size && number("offset:") < 4096) return number("offset:");
  }
  return make_error(
      ErrorCode::kUnsupported,
      fmt::format("the tracepoint {} shows no field {} of {} bytes", event, field, size));
}

Result<topspin_tracepoint_offsets> scheduler_fields(const std::string& events) {
  topspin_tracepoint_offsets offsets{};
  const auto find = [&](const char* event, const char* field, uint32_t size,
                        __u32& into) -> Status {
    TOPSPIN_ASSIGN(into, tracepoint_field(events, event, field, size));
    return {};
  };
  TOPSPIN_TRY(find("sched/sched_switch", "prev_pid", 4, offsets.switch_prev_pid));
  TOPSPIN_TRY(find("sched/sched_switch", "prev_state", 8, offsets.switch_prev_state));
  TOPSPIN_TRY(find("sched/sched_switch", "next_pid", 4, offsets.switch_next_pid));
  TOPSPIN_TRY(find("sched/sched_wakeup", "pid", 4, offsets.wakeup_pid));
  TOPSPIN_TRY(find("sched/sched_process_fork", "parent_pid", 4, offsets.fork_parent_pid));
  TOPSPIN_TRY(find("sched/sched_process_fork", "child_pid", 4, offsets.fork_child_pid));
  TOPSPIN_TRY(find("sched/sched_process_exec", "pid", 4, offsets.exec_pid));
  TOPSPIN_TRY(find("sched/sched_process_exec", "old_pid", 4, offsets.exec_old_pid));
  return offsets;
}

bool in_initial_pid_namespace() {
  struct ::stat info {};
  return ::stat("/proc/self/ns/pid", &info) == 0 && info.st_ino == kInitialPidNamespace;
}

Status can_follow_by_tracepoints(const Subject& subject) {
  if (!in_initial_pid_namespace())
    return make_error(ErrorCode::kUnsupported,
                      "tracepoints know threads by their numbers in the initial pid namespace; run "
                      "topspin there");
  if (subject.kind != SubjectSpec::Kind::kProcessTree)
    return make_error(
        ErrorCode::kUnsupported,
        "tracepoints without BTF can follow a process and what it starts, but not a cgroup");
  return {};
}

}  // namespace topspin
