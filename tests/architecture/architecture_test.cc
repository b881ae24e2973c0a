// Checks the structure of the source tree: dependencies point down only, between folders and
// between the rooms of a folder, and only the files listed here include a foreign header.
//
// It reads every #include of the tree. The allowed dependencies are those of docs/architecture.md.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"core", {"core"}},
    {"capture", {"capture", "core"}},
    {"probes", {"probes", "core"}},
    {"store", {"store", "core"}},
    {"load", {"load", "core"}},
    {"tui", {"tui", "core"}},
    {"ci", {"ci", "store", "core"}},
    {"report", {"report", "ci", "store", "core"}},
    {"app", {"app", "report", "ci", "tui", "load", "store", "probes", "capture", "core"}},
};

// A room is a sub-folder. It may include headers of the rooms of its folder that it knows. Only its
// doors may be included from outside of it.
struct Room {
  std::set<std::string> knows;
  std::set<std::string> doors;  // empty: every header of the room is a door
};
const std::map<std::string, Room> kRooms = {
    {"app/host", {{}, {}}},
    {"app/sandbox", {{"app/host"}, {"app/sandbox/sandbox.h"}}},
    {"app/options", {{"app/host"}, {}}},
    {"app/find", {{}, {}}},
    {"app/tick",
     {{},
      {"app/tick/tick_builder.h", "app/tick/tick_joiner.h", "app/tick/row_baseline.h",
       "app/tick/judge_losses.h"}}},
    {"app/scrape", {{"app/host", "app/sandbox"}, {"app/scrape/metrics_output.h"}}},
    {"app/recording",
     {{"app/host", "app/sandbox", "app/options", "app/tick", "app/scrape"},
      {"app/recording/recording.h", "app/recording/onlooker.h", "app/recording/conductor.h"}}},
    {"app/watch",
     {{"app/host", "app/options", "app/tick", "app/recording"},
      {"app/watch/flight_recorder.h", "app/watch/flight_ring.h", "app/watch/incident_writer.h",
       "app/watch/watch_lock.h"}}},
    {"app/screen",
     {{"app/host", "app/sandbox", "app/options", "app/tick", "app/recording", "app/watch"},
      {"app/screen/live.h", "app/screen/playback.h", "app/screen/recorded_run.h",
       "app/screen/turns.h"}}},
    {"app/plan",
     {{"app/host", "app/options", "app/find", "app/recording", "app/workers"},
      {"app/plan/plan.h", "app/plan/plan_session.h"}}},
    {"app/workers", {{"app/host"}, {"app/workers/worker.h", "app/workers/coordinator.h"}}},
    {"app/prove", {{"app/host", "app/plan"}, {"app/prove/prove.h", "app/prove/fault_subject.h"}}},
    {"app/commands",
     {{"app/host", "app/sandbox", "app/options", "app/tick", "app/recording", "app/screen",
       "app/watch", "app/find", "app/plan", "app/prove", "app/workers"},
      {"app/commands/commands.h"}}},
    {"capture/packet", {{}, {}}},
    {"capture/source", {{"capture/packet"}, {}}},
    {"capture/flows", {{"capture/packet"}, {}}},
    {"capture/ends",
     {{"capture/packet", "capture/source", "capture/flows"}, {"capture/ends/two_recordings.h"}}},
    {"ci/statistics", {{}, {}}},
    {"ci/metrics",
     {{"ci/statistics"},
      {"ci/metrics/hot_function.h", "ci/metrics/load_waits.h", "ci/metrics/long_stretches.h",
       "ci/metrics/metric.h", "ci/metrics/run_costs.h", "ci/metrics/run_metrics.h",
       "ci/metrics/measured_run.h", "ci/metrics/standing.h"}}},
    {"ci/judgement", {{"ci/statistics", "ci/metrics"}, {}}},
    {"ci/slo",
     {{"ci/metrics", "ci/judgement"},
      {"ci/slo/abort_watch.h", "ci/slo/find_rules.h", "ci/slo/rule_watch.h", "ci/slo/slo.h",
       "ci/slo/slo_gate.h"}}},
    {"ci/findings", {{"ci/metrics"}, {"ci/findings/findings.h"}}},
    {"core/base", {{}, {}}},
    {"core/number", {{"core/base"}, {}}},
    {"core/flow", {{"core/base", "core/number"}, {}}},
    {"core/tick", {{"core/base", "core/number", "core/flow"}, {}}},
    {"core/run", {{"core/base", "core/number", "core/flow", "core/tick"}, {}}},
    {"load/wire", {{}, {}}},
    {"load/engine", {{"load/wire"}, {}}},
    {"load/http", {{"load/wire"}, {"load/http/http.h"}}},
    {"load/workloads", {{"load/wire", "load/engine", "load/http"}, {}}},
    {"load/wasm",
     {{},
      {"load/wasm/wasm_machine.h", "load/wasm/module_limits.h", "load/wasm/wasm_calls.h",
       "load/wasm/wasi.h"}}},
    {"load/script",
     {{"load/wire", "load/engine", "load/http", "load/workloads", "load/wasm"},
      {"load/script/lua_state.h"}}},
    {"load/find", {{"load/wire", "load/engine"}, {"load/find/find_load.h"}}},
    {"load/share", {{"load/wire", "load/engine", "load/workloads"}, {}}},
    {"report/document", {{}, {}}},
    {"report/model", {{"report/document"}, {}}},
    {"report/sections", {{"report/document", "report/model"}, {"report/sections/sections.h"}}},
    {"report/text",
     {{"report/document", "report/model", "report/sections"}, {"report/text/text_report.h"}}},
    {"report/markdown",
     {{"report/document", "report/model", "report/sections"},
      {"report/markdown/markdown_report.h", "report/markdown/numbers_document.h"}}},
    {"report/json",
     {{"report/model"},
      {"report/json/reports.h", "report/json/values.h", "report/json/json_object.h"}}},
    {"report/html",
     {{"report/document", "report/model", "report/sections", "report/json"},
      {"report/html/html_report.h"}}},
    {"report/metrics",
     {{"report/json"},
      {"report/metrics/live_facts.h", "report/metrics/metric_families.h",
       "report/metrics/otlp.h"}}},
    {"report/export",
     {{"report/document", "report/model", "report/json", "report/metrics"},
      {"report/export/export.h", "report/export/folded_stacks.h", "report/export/sql_rows.h"}}},
    {"store/sqlite", {{}, {}}},
    {"store/schema", {{"store/sqlite"}, {}}},
    {"store/flows", {{"store/sqlite"}, {}}},
    {"store/runs", {{"store/sqlite", "store/schema", "store/flows"}, {}}},
    {"store/retention", {{"store/sqlite", "store/schema", "store/runs"}, {}}},
    {"store/sql", {{"store/sqlite", "store/schema", "store/flows", "store/runs"}, {}}},
    {"store/team", {{"store/sqlite", "store/schema", "store/runs", "store/sql"}, {}}},
    {"store/workers", {{"store/team"}, {}}},
    {"tui/terminal", {{}, {}}},
    {"tui/model", {{}, {}}},
    {"tui/flows", {{"tui/terminal", "tui/model"}, {}}},
    {"tui/screens",
     {{"tui/terminal", "tui/model", "tui/flows"},
      {"tui/screens/screens.h", "tui/screens/flows_keys.h"}}},
};

// Folders in which the includes between rooms, and between rooms and the files beside them, must
// not form a cycle.
const std::set<std::string> kFoldersWithoutCycles = {"probes", "tui"};

// The only headers of a folder that other folders may include. A folder that is not listed has no
// such restriction.
const std::map<std::string, std::set<std::string>> kDoors = {
    {"capture",
     {"capture/flow_tracker.h", "capture/ends/two_recordings.h", "capture/packet/packet_ring.h",
      "capture/packet/pcapng_text.h", "capture/source/packet_file.h",
      "capture/source/connection_filter.h", "capture/source/interface_counters.h"}},
    {"load",
     {"load/load.h", "load/find/find_load.h", "load/workloads/workload_type.h",
      "load/engine/kernel_counters.h", "load/engine/schedule_feed.h", "load/share/job_epochs.h",
      "load/share/job_result.h", "load/share/job_text.h", "load/share/worker_share.h",
      "load/wire/address_prefix.h"}},
    {"store",
     {"store/run_store.h", "store/retention/compaction.h", "store/retention/retention.h",
      "store/runs/gate_log.h", "store/runs/merge.h", "store/runs/run_edit.h",
      "store/runs/patient_writer.h", "store/sql/sql_reader.h", "store/sqlite/columns.h",
      "store/sqlite/file_access.h", "store/sqlite/packet_files.h", "store/sqlite/sql_value.h",
      "store/team_address.h", "store/team_store.h", "store/worker_store.h"}},
    {"probes", {"probes/probes.h", "probes/owners/flow_owner.h", "probes/proc/containers.h"}},
    {"report",
     {"report/document/document.h", "report/model/report_page.h", "report/model/run_report.h",
      "report/model/file_reading.h", "report/model/doctor_report.h", "report/model/slow_moment.h",
      "report/text/text_report.h", "report/markdown/markdown_report.h", "report/html/html_report.h",
      "report/json/reports.h", "report/json/values.h", "report/export/export.h",
      "report/export/folded_stacks.h", "report/export/sql_rows.h", "report/metrics/otlp.h"}},
};

// Maps a foreign header (a prefix of its name) to the only files and folders that may include it.
const std::map<std::string, std::set<std::string>> kForeignDoors = {
    {"pcap", {"capture/source/pcap_source.cc"}},
    {"sqlite3.h", {"store/sqlite/sqlite.cc", "store/sqlite/foreign_sql.cc"}},
    {"curses.h", {"tui/terminal/curses_terminal.cc"}},
    {"ncurses", {"tui/terminal/curses_terminal.cc"}},
    {"zlib.h", {"capture/source/byte_stream.cc", "store/team/run_bytes.cc"}},
    {"libpq-fe.h", {"store/team/postgres.cc"}},
    {"http_parser.h", {"load/http/http_response.h"}},
    {"openssl/", {"load/http/client_stream.cc"}},
    {"nghttp2/", {"load/http/http2_session.cc"}},
    {"lua.hpp", {"load/script/lua.h"}},
    {"wasmedge/", {"load/wasm/wasmedge.h"}},
    {"boost/context/", {"load/wasm/guest_stack.cc"}},
    {"toml++", {"core/base/toml_document.h"}},
    {"microhttpd.h", {"app/scrape/listener.cc"}},
    {"curl/", {"app/scrape/otlp_sender.cc"}},
    {"seccomp.h", {"app/sandbox/syscall_filter.cc"}},
    {"linux/landlock.h", {"app/sandbox/landlock.cc"}},
    {"sys/capability.h", {"app/host/privileges.cc", "probes/bpf/capabilities.cc"}},
    {"bpf/bpf.h", {"probes/bpf/"}},
    {"bpf/libbpf.h", {"probes/bpf/", "probes/probes.cc"}},
    {"linux/perf_event.h", {"probes/perf/", "probes/scheduler/rungs/scheduler_perf.cc"}},
    {"linux/inet_diag.h", {"probes/inet/"}},
    {"elf.h", {"probes/elf/"}},
    {"nlohmann/",
     {"report/json/values.h", "probes/proc/containers.cc", "load/http/http_checks.cc"}},
};

struct Include {
  std::string file;  // relative to the source directory
  std::string header;
  bool quoted = false;
};

/// The header of a line like `#include <x>` or `# include "x"`.
std::optional<Include> parse_include(const std::string& line) {
  size_t at = line.find_first_not_of(" \t");
  if (at == std::string::npos || line[at] != '#') return std::nullopt;
  at = line.find_first_not_of(" \t", at + 1);
  if (at == std::string::npos || line.compare(at, 7, "include") != 0) return std::nullopt;
  at = line.find_first_of("<\"", at);
  if (at == std::string::npos) return std::nullopt;
  const bool quoted = line[at] == '"';
  const size_t end = line.find(quoted ? '"' : '>', at + 1);
  if (end == std::string::npos) return std::nullopt;
  return Include{"", line.substr(at + 1, end - at - 1), quoted};
}

std::vector<Include> includes_of_the_tree(const fs::path& root) {
  std::vector<Include> found;
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc" && extension != ".c") continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        if (auto include = parse_include(line)) {
          include->file = fs::relative(entry.path(), root).string();
          found.push_back(std::move(*include));
        }
      }
    }
  }
  return found;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.find('/')); }

std::string parent_of(const std::string& path) {
  return path.substr(0, std::min(path.rfind('/'), path.size()));
}

/// The room that a file is in: the nearest folder around it that is a room. If there is none, the
/// file's own folder.
std::string room_around(const std::string& path) {
  for (std::string folder = parent_of(path); folder.find('/') != std::string::npos;
       folder = parent_of(folder)) {
    if (kRooms.contains(folder)) return folder;
  }
  return parent_of(path);
}

/// The rule about rooms that an include breaks, as a sentence; empty if it breaks none. Files that
/// stand directly in a folder may know each of its rooms.
std::string broken_room_rule(const Include& include) {
  const std::string from = room_around(include.file), to = room_around(include.header);
  const auto room = kRooms.find(to);
  if (!include.quoted || from == to || room == kRooms.end()) return {};
  if (const auto own = kRooms.find(from);
      own != kRooms.end() && folder_of(from) == folder_of(to) && !own->second.knows.contains(to))
    return include.file + " includes " + include.header + ": " + from + " may not know " + to;
  if (!room->second.doors.empty() && !room->second.doors.contains(include.header))
    return include.file + " includes " + include.header + ", which is no door of " + to;
  return {};
}

/// A probe's plain struct of numbers is a part of core/tick/sample.h, although it is in the probe's
/// folder.
bool is_numbers(const std::string& path) {
  return path.starts_with("probes/") && path.ends_with("/numbers.h");
}

bool may_include(const std::string& file, const std::string& header) {
  const std::string from = folder_of(file);
  const std::string to = folder_of(header);
  if (!kMayInclude.contains(to)) return true;
  if (is_numbers(file)) return to == "core";
  return kMayInclude.at(from).contains(to) || (from == "core" && is_numbers(header));
}

bool is_by_door(const std::string& file, const std::string& header) {
  const std::string to = folder_of(header);
  const auto doors = kDoors.find(to);
  return doors == kDoors.end() || folder_of(file) == to || is_numbers(header) ||
         doors->second.contains(header);
}

bool is_allowed(const std::string& file, const std::set<std::string>& doors) {
  return std::any_of(doors.begin(), doors.end(), [&](const std::string& door) {
    return door.ends_with('/') ? file.starts_with(door) : file == door;
  });
}

std::vector<std::string> broken_rules(const std::vector<Include>& includes) {
  std::vector<std::string> broken;
  for (const Include& include : includes) {
    const std::string from = folder_of(include.file);
    const std::string to = folder_of(include.header);
    if (include.quoted && !may_include(include.file, include.header)) {
      broken.push_back(include.file + " includes " + include.header + ": " + from +
                       " may not know " + to);
    } else if (include.quoted && !is_by_door(include.file, include.header)) {
      broken.push_back(include.file + " includes " + include.header + ": " + to +
                       " has other doors");
    }
    if (std::string rule = broken_room_rule(include); !rule.empty()) broken.push_back(rule);
    for (const auto& [prefix, doors] : kForeignDoors) {
      if (!include.quoted && include.header.starts_with(prefix) &&
          !is_allowed(include.file, doors)) {
        broken.push_back(include.file + " includes <" + include.header + ">: only " +
                         *doors.begin() + " may");
      }
    }
    const bool bpf = include.header.ends_with(".skel.h") || include.header.starts_with("bpf/");
    if (bpf && from != "probes") broken.push_back(include.file + ": BPF stays inside probes");
  }
  return broken;
}

TEST(Architecture, DependenciesPointDownAndForeignHeadersHaveOneDoor) {
  const auto includes = includes_of_the_tree(TOPSPIN_SOURCE_DIR);
  EXPECT_GT(includes.size(), 100u);
  for (const std::string& rule : broken_rules(includes)) ADD_FAILURE() << rule;
}

/// The line without its comment.
std::string_view code_of(std::string_view line) { return line.substr(0, line.find("//")); }

/// Code that draws does not read the host. A screen shows only what the app passes to it.
TEST(Architecture, NothingInTuiReadsProc) {
  EXPECT_EQ(code_of("x = \"/proc/stat\";  // of /proc"), "x = \"/proc/stat\";  ");
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(TOPSPIN_SOURCE_DIR) / "tui")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      EXPECT_EQ(code_of(line).find("\"/proc"), std::string_view::npos)
          << entry.path() << ": " << line;
      EXPECT_EQ(line.find("core/base/proc_stat.h"), std::string::npos)
          << entry.path() << ": " << line;
    }
  }
}

// All of topspin is one namespace, which works because no two types share a name
// (NoTwoTypesShareAName). These rooms have their own, because they use everyday words: Table, Row
// and Line in a document, and sections that are called flows(), threads() and load().
const std::map<std::string, std::string> kOwnNamespaces = {
    {"report/document", "topspin::document"},
    {"report/sections", "topspin::sections"},
};

/// The namespace that an unindented line opens, such as "topspin::sections". Empty if the line
/// opens none, one that is private (`namespace {`, a `detail`), or another library's.
std::string namespace_opened_on(std::string_view line) {
  constexpr std::string_view kWord = "namespace ";
  const size_t brace = line.find(" {");
  if (!line.starts_with(kWord) || brace == std::string_view::npos || brace < kWord.size())
    return {};
  const std::string_view name = line.substr(kWord.size(), brace - kWord.size());
  const bool foreign = name == "CLI";  // headers forward-declare types of CLI11
  return foreign || name.ends_with("detail") ? std::string() : std::string(name);
}

std::string namespace_of(const std::string& path) {
  const auto own = kOwnNamespaces.find(room_around(path));
  return own == kOwnNamespaces.end() ? "topspin" : own->second;
}

TEST(Architecture, EachFolderHasOneNamespace) {
  const fs::path root = TOPSPIN_SOURCE_DIR;
  size_t opened = 0;
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string path = fs::relative(entry.path(), root).string();
      if (!path.ends_with(".h") && !path.ends_with(".cc")) continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        const std::string name = namespace_opened_on(line);
        if (name.empty()) continue;
        ++opened;
        EXPECT_EQ(name, namespace_of(path)) << path;
      }
    }
  }
  EXPECT_GT(opened, 100u);
}

/// How many C and C++ files are directly in the folder.
int files_in(const fs::path& folder) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string ending = entry.path().extension();
    count += ending == ".h" || ending == ".cc" || ending == ".c" ? 1 : 0;
  }
  return count;
}

TEST(Architecture, EachSubFolderIsARoom) {
  for (const char* folder : {"app", "capture", "ci", "core", "load", "report", "store", "tui"}) {
    for (const auto& entry : fs::directory_iterator(fs::path(TOPSPIN_SOURCE_DIR) / folder)) {
      const std::string room = std::string(folder) + "/" + entry.path().filename().string();
      if (!entry.is_directory() || files_in(entry.path()) == 0) continue;
      EXPECT_TRUE(kRooms.contains(room)) << room;
    }
  }
}

/// The contents of a folder should be visible at a glance. A registry, which has one file per
/// entry, may be longer.
TEST(Architecture, NoRoomHoldsMoreThanAboutFifteenFiles) {
  constexpr int kMost = 19;
  const std::set<std::string> registries = {"tui/screens"};
  const fs::path root = TOPSPIN_SOURCE_DIR;
  for (const auto& [folder, allowed] : kMayInclude) {
    EXPECT_LE(files_in(root / folder), kMost) << folder;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string path = fs::relative(entry.path(), root).string();
      if (!entry.is_directory() || registries.contains(path)) continue;
      EXPECT_LE(files_in(entry.path()), kMost) << path;
    }
  }
}

/// The place of a file in a folder of kFoldersWithoutCycles: its sub-folder, or its own name
/// without the extension. Empty if it is in no such folder.
std::string room_of(const std::string& path) {
  const std::string folder = folder_of(path);
  if (!kFoldersWithoutCycles.contains(folder)) return {};
  const size_t begin = folder.size() + 1;
  const size_t slash = path.find('/', begin);
  return path.substr(0, slash != std::string::npos ? slash : path.find('.', begin));
}

using Arrows = std::map<std::string, std::set<std::string>>;

Arrows arrows_between_rooms(const std::vector<Include>& includes) {
  Arrows arrows;
  for (const Include& include : includes) {
    const std::string from = room_of(include.file);
    const std::string to = include.quoted ? room_of(include.header) : "";
    if (from.empty() || to.empty() || from == to || folder_of(from) != folder_of(to)) continue;
    arrows[from].insert(to);
  }
  return arrows;
}

/// A cycle reachable from the last room of `path`, such as "a -> b -> a"; empty if there is none.
std::string circle_from(const Arrows& arrows, std::vector<std::string> path,
                        std::set<std::string>& done) {
  const auto begin = std::find(path.begin(), path.end() - 1, path.back());
  if (begin != path.end() - 1) {
    std::string text;
    for (auto room = begin; room != path.end(); ++room)
      text += (room == begin ? "" : " -> ") + *room;
    return text;
  }
  if (done.contains(path.back()) || !arrows.contains(path.back())) return {};
  for (const std::string& next : arrows.at(path.back())) {
    path.push_back(next);
    if (std::string circle = circle_from(arrows, path, done); !circle.empty()) return circle;
    path.pop_back();
  }
  done.insert(path.back());
  return {};
}

std::string circle_of(const Arrows& arrows) {
  std::set<std::string> done;
  for (const auto& [room, next] : arrows) {
    if (std::string circle = circle_from(arrows, {room}, done); !circle.empty()) return circle;
  }
  return {};
}

TEST(Architecture, RoomsKnowOnlyRoomsBelowThem) {
  const Arrows arrows = arrows_between_rooms(includes_of_the_tree(TOPSPIN_SOURCE_DIR));
  EXPECT_TRUE(arrows.contains("probes/scheduler"));
  EXPECT_EQ(circle_of(arrows), "");
}

/// The type that an unindented line begins to define; empty if it defines none. It does without
/// std::regex, about which GCC 12 warns falsely under sanitizers.
std::string type_defined_on(std::string_view line) {
  bool is_type = false;
  for (const std::string_view word : {"class ", "struct ", "enum class "}) {
    if (!line.starts_with(word)) continue;
    line.remove_prefix(word.size());
    is_type = true;
    break;
  }
  if (line.starts_with("alignas(")) line.remove_prefix(std::min(line.find(' ') + 1, line.size()));
  const size_t end = line.find_first_of(" :{;<(");
  const size_t brace = line.find('{');
  if (!is_type || brace == std::string_view::npos || line.find(';') < brace) return {};
  return std::string(line.substr(0, end));
}

/// The types that headers define outside of other types, with the headers of each. If two types in
/// one namespace have the same name, the linker keeps one destructor and uses it for both.
std::map<std::string, std::set<std::string>> types_of_the_headers(const fs::path& root) {
  std::map<std::string, std::set<std::string>> types;
  for (const auto& [folder, allowed] : kMayInclude) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string name = entry.path().filename().string();
      // A header of BPF programs is C: its types have no destructors.
      if (!name.ends_with(".h") || name.ends_with(".bpf.h")) continue;
      std::ifstream file(entry.path());
      std::string space;
      for (std::string line; std::getline(file, line);) {
        if (line.starts_with("namespace ")) space = line.substr(0, line.find(" {"));
        const std::string type = type_defined_on(line);
        if (!type.empty())
          types[space + "::" + type].insert(fs::relative(entry.path(), root).string());
      }
    }
  }
  return types;
}

TEST(Architecture, NoTwoTypesShareAName) {
  const auto types = types_of_the_headers(TOPSPIN_SOURCE_DIR);
  EXPECT_GT(types.size(), 100u);
  for (const auto& [type, headers] : types) {
    EXPECT_EQ(headers.size(), 1u) << type << " is in " << *headers.begin() << " and in "
                                  << *headers.rbegin();
  }
}

TEST(Architecture, TheTestSeesWhatItForbids) {
  EXPECT_EQ(type_defined_on("class A final : public B {"), "A");
  EXPECT_EQ(type_defined_on("struct alignas(64) C {"), "C");
  EXPECT_EQ(type_defined_on("enum class D : uint8_t { kOne };"), "D");
  EXPECT_EQ(type_defined_on("struct E;"), "");
  EXPECT_EQ(broken_rules({{"capture/x.cc", "store/run_store.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"core/x.h", "capture/flow_tracker.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"app/x.cc", "pcap/pcap.h", false}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"store/runs/run_writer.cc", "sqlite3.h", false}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"app/x.cc", "scheduler.skel.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"app/host/x.cc", "app/plan/plan.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"app/commands/x.cc", "app/plan/experiment.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"app/commands/x.cc", "app/plan/plan.h", true}}).size(), 0u);
  EXPECT_EQ(broken_rules({{"report/sections/x.cc", "report/html/html_report.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"report/sections/run/x.cc", "report/html/html_text.h", true}}).size(),
            1u);
  EXPECT_EQ(broken_rules({{"report/html/x.cc", "report/sections/run/x.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"report/sections/run/x.cc", "report/sections/parts.h", true}}).size(),
            0u);
  EXPECT_EQ(namespace_of("report/sections/run/x.cc"), "topspin::sections");
  EXPECT_EQ(namespace_of("report/text/x.cc"), "topspin");
  EXPECT_EQ(namespace_opened_on("namespace topspin::sections {"), "topspin::sections");
  EXPECT_EQ(namespace_opened_on("namespace {"), "");
  EXPECT_EQ(namespace_opened_on("namespace fs = std::filesystem;"), "");
  EXPECT_EQ(broken_rules({{"report/document/x.h", "report/model/curves.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"report/text/x.cc", "nlohmann/json.hpp", false}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"tui/model/x.cc", "tui/terminal/grid.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"tui/screens/x.cc", "ncurses.h", false}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"app/x.cc", "probes/sockets/socket_times.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"core/tick/sample.h", "probes/x/numbers.h", true}}).size(), 0u);
  EXPECT_EQ(broken_rules({{"core/tick/sample.h", "probes/x/x.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"probes/x/numbers.h", "probes/probe.h", true}}).size(), 1u);
  EXPECT_EQ(broken_rules({{"probes/sockets/x.cc", "bpf/bpf.h", false}}).size(), 1u);
  EXPECT_EQ(circle_of(arrows_between_rooms({{"probes/a/x.cc", "probes/b/y.h", true},
                                            {"probes/b/y.cc", "probes/c.h", true},
                                            {"probes/c.cc", "probes/a/x.h", true}})),
            "probes/a -> probes/b -> probes/c -> probes/a");
  EXPECT_EQ(circle_of(arrows_between_rooms({{"probes/a/x.cc", "probes/b/y.h", true},
                                            {"probes/b/y.cc", "probes/b/z.h", true}})),
            "");
  EXPECT_EQ(broken_rules({{"app/x.cc", "store/run_store.h", true},
                          {"store/sqlite/sqlite.cc", "sqlite3.h", false}})
                .size(),
            0u);
}

}  // namespace
