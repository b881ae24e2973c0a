#include "probes/proc/process_tree.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace topspin {

void ProcessTree::update() {
  if (subject_.kind == SubjectSpec::Kind::kProcessTree) update_tree();
  if (subject_.kind == SubjectSpec::Kind::kCgroup) update_cgroup();
}

void ProcessTree::update_tree() {
  std::map<int32_t, ProcStat> seen;
  for (const int32_t pid : proc_.processes()) {
    if (auto stat = proc_.stat(pid)) seen.emplace(pid, std::move(*stat));
  }
  std::map<int32_t, uint64_t> members;
  for (const auto& [pid, start_ticks] : members_) {
    const auto found = seen.find(pid);
    if (found != seen.end() && found->second.start_ticks == start_ticks)
      members.emplace(pid, start_ticks);
  }
  const auto root = seen.find(subject_.pid);
  if (root != seen.end() && root->second.start_ticks == subject_.start_ticks)
    members.emplace(subject_.pid, subject_.start_ticks);

  // A parent may have a higher pid than its child, so repeat until nothing joins.
  for (bool joined = true; joined;) {
    joined = false;
    for (const auto& [pid, stat] : seen) {
      if (pid == subject_.own_pid && members.contains(stat.parent_pid)) {
        has_own_process_ = true;
        continue;
      }
      if (!members.contains(pid) && members.contains(stat.parent_pid)) {
        members.emplace(pid, stat.start_ticks);
        joined = true;
      }
    }
  }
  members_ = std::move(members);
  alive_.clear();
  for (const auto& [pid, start_ticks] : members_) {
    if (!seen.at(pid).ended()) alive_.push_back(pid);
  }
}

void ProcessTree::update_cgroup() {
  namespace fs = std::filesystem;
  alive_.clear();
  const auto read_processes = [&](const fs::path& directory) {
    std::ifstream file(directory / "cgroup.procs");
    for (int32_t pid = 0; file >> pid;) {
      if (pid == subject_.own_pid)
        has_own_process_ = true;
      else if (pid > 0)  // 0: outside this pid namespace
        alive_.push_back(pid);
    }
  };
  read_processes(subject_.cgroup_directory);
  std::error_code error;
  for (fs::recursive_directory_iterator
           entry(subject_.cgroup_directory, fs::directory_options::skip_permission_denied, error),
       end;
       !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored) && !entry->is_symlink(ignored)) read_processes(entry->path());
  }
  std::sort(alive_.begin(), alive_.end());
  alive_.erase(std::unique(alive_.begin(), alive_.end()), alive_.end());
}

}  // namespace topspin
