#include "app/recording/record_settings.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "probes/proc/containers.h"

namespace topspin {
namespace {

/// Reads where and how to capture.
Status read_live(const RecordOptions& o, RecordSettings& settings) {
  settings.live.interface = o.interface;
  settings.live.max_rows_per_interval = o.max_rows_per_interval;
  settings.live.max_rows_at_end = o.max_stored_flows;
  settings.live.snaplen = o.snaplen;
  if (o.snaplen == 0 && !o.packet_file.empty()) settings.live.snaplen = kWholePackets;
  settings.live.max_packets = o.max_packets;
  settings.live.promiscuous = !o.no_promiscuous;
  if (!o.buffer_size.empty()) {
    char* end = nullptr;
    const long mib = std::strtol(o.buffer_size.c_str(), &end, 10);
    if (*end != '\0' || mib < 1 || mib > 2047) {
      return make_error(ErrorCode::kUsage,
                        "--buffer-size must be a whole number of MiB from 1 to 2047");
    }
    settings.live.ring_bytes = static_cast<int64_t>(mib) << 20;
  }
  return {};
}

Status read_container(const RecordOptions& o, RecordSettings& settings) {
  TOPSPIN_ASSIGN(const Container container, find_container(o.container));
  settings.subject.kind = SubjectSpec::Kind::kCgroup;
  settings.subject.cgroup_path = container.cgroup_directory;
  const std::string id = container.id.substr(0, 12);
  settings.subject_text = fmt::format("container {} ({}{}{})", shown_name(container),
                                      container.runtime, container.runtime.empty() ? "" : " ", id);
  if (o.netns.empty()) settings.network_of = process_in_cgroup(container.cgroup_directory);
  return {};
}

/// Reads what to watch.
Status read_subject(const RecordOptions& o, RecordSettings& settings) {
  const int subjects = (o.pid != 0 ? 1 : 0) + (o.cgroup.empty() ? 0 : 1) +
                       (o.container.empty() ? 0 : 1) + (o.command.empty() ? 0 : 1);
  if (subjects > 1) {
    return make_error(ErrorCode::kUsage,
                      "give one subject: --pid, --cgroup, --container, or a command after --");
  }
  settings.subject_text = "none";
  if (o.pid != 0) {
    settings.subject.kind = SubjectSpec::Kind::kProcessTree;
    settings.subject.pid = o.pid;
    settings.subject_text = fmt::format("pid {}", o.pid);
  } else if (!o.cgroup.empty()) {
    settings.subject.kind = SubjectSpec::Kind::kCgroup;
    settings.subject.cgroup_path = o.cgroup;
    settings.subject_text = fmt::format("cgroup {}", o.cgroup);
  } else if (!o.container.empty()) {
    return read_container(o, settings);
  } else if (!o.command.empty()) {
    settings.subject.kind = SubjectSpec::Kind::kProcessTree;
    settings.subject_text = "command";
  }
  return {};
}

/// Reads what to measure of the subject, and how.
Status read_probes(const RecordOptions& o, RecordSettings& settings) {
  settings.probes.stacks_per_second = o.stacks_per_second;
  for (const std::string& word : o.probes) {
    const size_t equals = word.find('=');
    const std::string how = equals == std::string::npos ? "" : word.substr(equals + 1);
    const auto rung = parse_rung(how);
    if ((!rung && how != "on") || equals == 0) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("--probe {} must be NAME=RUNG or NAME=on; topspin doctor "
                                    "lists names and rungs",
                                    word));
    }
    const std::string name = word.substr(0, equals);
    const std::vector<std::string> names = probe_names();
    if (std::ranges::find(names, name) == names.end()) {
      const auto near =
          nearest_word(name, std::vector<std::string_view>(names.begin(), names.end()));
      return make_error(
          ErrorCode::kUsage,
          fmt::format("--probe {}: there is no probe {}; {}the probes are {}", word, name,
                      near ? fmt::format("did you mean {}? ", *near) : "", fmt::join(names, ", ")));
    }
    if (!rung && name == "stacks" && o.stacks_per_second == 0)
      return make_error(ErrorCode::kUsage,
                        "--probe stacks=on: use --stacks HZ, which says how often to sample");
    if (rung)
      settings.probes.forced[name] = *rung;
    else
      settings.probes.asked.insert(name);
  }
  TOPSPIN_TRY(check_runtimes(o.runtime));
  settings.probes.runtime = o.runtime;
  settings.probes.counters = o.counters || settings.probes.asked.contains("counters");
  // Naming its rung is a request for it.
  const auto syscalls = settings.probes.forced.find("syscalls");
  settings.probes.syscalls =
      o.syscalls || settings.probes.asked.contains("syscalls") ||
      (syscalls != settings.probes.forced.end() && syscalls->second != Rung::kNone);
  return {};
}

}  // namespace

Result<RecordSettings> make_record_settings(const RecordOptions& o) {
  RecordSettings settings;
  TOPSPIN_ASSIGN(settings.table, flow_table_options(o.observe));
  TOPSPIN_ASSIGN(settings.table.idle_timeout_ns,
                 positive_duration(o.idle_timeout, "--idle-timeout"));
  TOPSPIN_ASSIGN(settings.labels, parse_labels(o.observe.labels));
  TOPSPIN_ASSIGN(settings.live.filter, filter_text(o.observe));
  TOPSPIN_ASSIGN(settings.live.interval_ns, positive_duration(o.observe.interval, "--interval"));
  if (settings.live.interval_ns < 10 * kNanosPerMilli) {
    return make_error(ErrorCode::kUsage, "--interval must be at least 10ms");
  }
  TOPSPIN_TRY(read_live(o, settings));
  if (o.packet_file == "-" && !o.command.empty()) {
    return make_error(ErrorCode::kUsage,
                      "-w - and the command would both write to standard output; give -w a file");
  }
  if (!o.duration.empty()) {
    TOPSPIN_ASSIGN(settings.duration_ns, positive_duration(o.duration, "--duration"));
  }
  if (!o.retain.empty()) {
    TOPSPIN_ASSIGN(settings.retention.keep_ns, positive_duration(o.retain, "--keep-runs"));
  }
  if (!o.max_size.empty()) {
    TOPSPIN_ASSIGN(settings.retention.max_bytes, size_in_bytes(o.max_size, "--max-size"));
  }
  TOPSPIN_TRY(read_subject(o, settings));
  TOPSPIN_TRY(read_probes(o, settings));
  if (!settings.live.filter.empty()) TOPSPIN_TRY(check_filter(settings.live.filter));
  return settings;
}

}  // namespace topspin
