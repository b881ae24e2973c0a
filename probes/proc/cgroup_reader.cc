#include "probes/proc/cgroup_reader.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/base/proc_stat.h"

namespace topspin {
namespace {

/// Removes the text before `divider` from the front of `text`, and returns it.
std::string_view take_until(std::string_view& text, char divider) {
  const size_t end = std::min(text.find(divider), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool lists(std::string_view comma_separated, std::string_view word) {
  while (!comma_separated.empty()) {
    if (take_until(comma_separated, ',') == word) return true;
  }
  return false;
}

/// Calls visit(directory) for `directory` and each one above it, up to and including `top`.
template <typename Visit>
void upwards(std::string directory, const std::string& top, Visit visit) {
  while (directory.size() >= top.size()) {
    visit(directory);
    const size_t slash = directory.rfind('/');
    if (slash == std::string::npos || slash == 0) return;
    directory.resize(slash);
  }
}

}  // namespace

std::optional<CpuQuotaUse> parse_cpu_stat(std::string_view text) {
  std::optional<CpuQuotaUse> use;
  while (!text.empty()) {
    std::string_view line = take_until(text, '\n');
    const std::string_view key = take_until(line, ' ');
    const auto value = parse_number<uint64_t>(line);
    if (!value) continue;
    if (key == "nr_periods") {
      if (!use) use.emplace();
      use->periods = *value;
    }
    if (!use) continue;  // nr_periods comes first
    if (key == "nr_throttled") use->throttled_periods = *value;
    if (key == "throttled_usec" && *value <= UINT64_MAX / 1000) use->throttled_ns = *value * 1000;
    if (key == "throttled_time") use->throttled_ns = *value;
  }
  return use;
}

std::optional<CgroupMount> find_cgroup_mount(std::string_view mountinfo,
                                             std::string_view controller) {
  const std::string_view wanted = controller.empty() ? "cgroup2" : "cgroup";
  while (!mountinfo.empty()) {
    std::string_view line = take_until(mountinfo, '\n');
    const size_t separator = line.find(" - ");
    if (separator == std::string_view::npos) continue;
    std::string_view after = line.substr(separator + 3);
    if (take_until(after, ' ') != wanted) continue;
    take_until(after, ' ');  // the source
    if (!controller.empty() && !lists(after, controller)) continue;
    for (int field = 0; field < 3; ++field) take_until(line, ' ');  // id, parent, device
    CgroupMount mount;
    mount.root = take_until(line, ' ');
    mount.mount_point = take_until(line, ' ');
    return mount;
  }
  return std::nullopt;
}

std::optional<std::string> find_cgroup_path(std::string_view text, std::string_view controller) {
  while (!text.empty()) {
    std::string_view line = take_until(text, '\n');
    take_until(line, ':');
    const std::string_view controllers = take_until(line, ':');
    if (controller.empty() ? controllers.empty() : lists(controllers, controller))
      return std::string(line);
  }
  return std::nullopt;
}

CgroupReader::CgroupReader(ProcReader& proc, std::string directory)
    : proc_(proc), directory_(std::move(directory)) {
  const auto mountinfo = proc_.read(proc_.root() + "/self/mountinfo");
  if (!mountinfo) return;
  for (Hierarchy* hierarchy : {&unified_, &memory_, &cpu_})
    hierarchy->mount = find_cgroup_mount(*mountinfo, hierarchy->controller);
}

std::string CgroupReader::directory_of(const Hierarchy& hierarchy,
                                       std::string_view cgroup_text) const {
  if (!hierarchy.mount) return {};
  const auto path = find_cgroup_path(cgroup_text, hierarchy.controller);
  if (!path || !path->starts_with('/')) return {};
  // A container may see only a part of the tree, mounted as if it were the whole tree.
  std::string below = *path;
  const std::string& root = hierarchy.mount->root;
  if (root != "/") {
    if (!below.starts_with(root)) return {};
    below.erase(0, root.size());
  }
  if (below == "/") below.clear();
  return hierarchy.mount->mount_point + below;
}

CgroupReading CgroupReader::read(int32_t pid) {
  CgroupReading reading;
  const auto text = proc_.read(fmt::format("{}/{}/cgroup", proc_.root(), pid));
  if (!text) return reading;
  const std::string groups(*text);
  const std::string unified = directory_.empty() ? directory_of(unified_, groups) : directory_;
  reading.name = unified;
  if (!unified.empty()) {
    const std::string& top = unified_.mount ? unified_.mount->mount_point : unified;
    read_memory(unified, top, true, reading);
    read_quota(unified, top, reading);
    const auto stall = [&](const char* resource) {
      const auto pressure = proc_.read(fmt::format("{}/{}.pressure", unified, resource));
      return pressure ? parse_pressure(*pressure) : ProcPressure{};
    };
    reading.stalls.cpu_some_ns = stall("cpu").some_ns;
    const ProcPressure memory = stall("memory");
    reading.stalls.memory_some_ns = memory.some_ns;
    reading.stalls.memory_full_ns = memory.full_ns;
    const ProcPressure io = stall("io");
    reading.stalls.io_some_ns = io.some_ns;
    reading.stalls.io_full_ns = io.full_ns;
  }
  if (!reading.memory_bytes) {
    const std::string directory = directory_of(memory_, groups);
    if (!directory.empty()) read_memory(directory, memory_.mount->mount_point, false, reading);
  }
  if (!reading.quota) {
    const std::string directory = directory_of(cpu_, groups);
    reading.name += directory;
    if (!directory.empty()) read_quota(directory, cpu_.mount->mount_point, reading);
  }
  return reading;
}

void CgroupReader::read_memory(const std::string& directory, const std::string& top, bool v2,
                               CgroupReading& into) {
  const char* used_name = v2 ? "memory.current" : "memory.usage_in_bytes";
  const char* limit_name = v2 ? "memory.max" : "memory.limit_in_bytes";
  into.memory_bytes = read_number(directory + "/" + used_name);
  upwards(directory, top, [&](const std::string& group) {
    const auto limit = read_number(group + "/" + limit_name);  // "max" is not a number
    const auto used = read_number(group + "/" + used_name);
    if (!limit || !used) return;
    const int64_t room = std::max<int64_t>(0, *limit - *used);
    into.memory_room_bytes = std::min(into.memory_room_bytes.value_or(room), room);
  });
}

void CgroupReader::read_quota(const std::string& directory, const std::string& top,
                              CgroupReading& into) {
  upwards(directory, top, [&](const std::string& group) {
    const auto text = proc_.read(group + "/cpu.stat");
    const auto use = text ? parse_cpu_stat(*text) : std::nullopt;
    if (!use) return;
    if (!into.quota) into.quota.emplace();
    into.quota->periods += use->periods;
    into.quota->throttled_periods += use->throttled_periods;
    into.quota->throttled_ns += use->throttled_ns;
  });
}

std::optional<int64_t> CgroupReader::read_number(const std::string& path) {
  const auto text = proc_.read(path);
  return text ? parse_number<int64_t>(*text) : std::nullopt;
}

}  // namespace topspin
