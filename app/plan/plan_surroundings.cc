// The checks of a plan against this machine before anything is started.
#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <net/if.h>
#include <unistd.h>

#include "app/host/git.h"
#include "app/host/privileges.h"
#include "app/options/program_path.h"
#include "app/plan/plan_session.h"
#include "app/plan/work_trees.h"
#include "capture/flow_tracker.h"

namespace topspin {

namespace fs = std::filesystem;

namespace {

/// Why the command cannot be executed as that subject; empty if it can.
std::string why_no_command(const PlanSubject& subject, const fs::path& directory) {
  const std::string& program = subject.command.front();
  if (program.find('/') != std::string::npos) {
    const fs::path path = program.front() == '/' ? fs::path(program) : directory / program;
    std::error_code error;
    if (!fs::exists(path, error)) return "there is no such file";
    return is_executable(path) ? std::string() : "the file cannot be executed";
  }
  const auto given = subject.environment.find("PATH");
  const bool found = find_program(
      program, given != subject.environment.end() ? given->second : inherited_path(), directory);
  if (found) return {};
  return "there is no such program in PATH";
}

/// Why not all of the CPUs can be used; empty if they can.
std::string why_no_cpus(const std::vector<int>& cpus) {
  const auto there = sysconf(_SC_NPROCESSORS_CONF);
  const auto absent = std::find_if(cpus.begin(), cpus.end(), [&](int cpu) { return cpu >= there; });
  if (absent == cpus.end()) return {};
  return there == 1 ? fmt::format("there is no CPU {}; there is only CPU 0", *absent)
                    : fmt::format("there is no CPU {}; there are 0 to {}", *absent, there - 1);
}

}  // namespace

Status check_surroundings(const Plan& plan, const std::string& plan_file) {
  const auto wrong = [&](const std::string& key, const std::string& what) {
    return make_error(ErrorCode::kUsage, fmt::format("{}: {}: {}", plan_file, key, what));
  };
  if (plan.filter && !plan.filter->empty()) {
    if (const Status filter = check_filter(*plan.filter); !filter.ok())
      return wrong("capture.filter", filter.error().message);
  }
  if (plan.interface != "any" && if_nametoindex(plan.interface.c_str()) == 0) {
    std::string names;
    if (const auto list = list_interfaces(); list.ok()) {
      for (const InterfaceInfo& one : *list)
        names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
    }
    return wrong("capture.interface", fmt::format("there is no interface {}; there are {}",
                                                  plan.interface, names.empty() ? "none" : names));
  }
  const std::optional<UserIdentity> invoking =
      geteuid() == 0 ? invoking_user() : std::optional<UserIdentity>();
  std::error_code error;
  const fs::path plan_directory = fs::absolute(plan_file, error).parent_path();
  if (const std::string why = why_no_cpus(plan.load_cpus); !why.empty())
    return wrong("load.cpus", why);
  for (const PlanSubject& subject : plan.subjects) {
    const std::string key = "subject." + subject.name;
    if (const std::string why = why_no_cpus(subject.cpus); !why.empty())
      return wrong(key + ".cpus", why);
    if (!subject.user.empty()) {
      if (const auto user = find_user(subject.user); !user.ok())
        return wrong(key + ".user", user.error().message);
    }
    // Files from a commit or a build do not exist yet.
    if (!subject.commit.empty()) {
      const std::string why = why_no_commit(plan_directory.string(), subject.commit, invoking);
      if (!why.empty())
        return wrong(key + ".commit", fmt::format("cannot check out {}: {}", subject.commit, why));
      continue;
    }
    const fs::path directory = plan_directory / subject.directory;
    if (!fs::is_directory(directory, error))
      return wrong(key + ".directory", fmt::format("there is no folder {}", directory.string()));
    if (!subject.build.empty() && subject.command.front().find('/') != std::string::npos) continue;
    if (const std::string why = why_no_command(subject, directory); !why.empty())
      return wrong(key + ".command",
                   fmt::format("cannot execute {}: {}", subject.command.front(), why));
  }
  return {};
}

}  // namespace topspin
