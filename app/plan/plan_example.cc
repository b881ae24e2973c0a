// The plan that `topspin run --example` prints. A test checks that the parser accepts it.
#include <algorithm>

#include <fmt/format.h>

#include "app/plan/plan.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

constexpr std::string_view kExample =
    R"toml(# A topspin plan: subjects, a load, what to observe, and rules to check.
# `topspin run FILE` runs it; `topspin gate` then judges B against A. If you leave a key out, it
# has the value shown here, unless its line says "example" or names another default.

name = "ping-pong"                  # example; default: the file's name
# store = "postgresql://ci@db.example/topspin#shop"   # a team's store; default: none. The runs are
                                    # pushed there at the end

[run]
repeat = 3                          # example; runs of each subject (default 1). The gate needs
                                    # 10 pairs or more
order = "interleaved"               # or "abba", "in turn", "blocks"
# seed = 1                          # of the order; default: random, and stored with the run
pause = "0s"                        # between runs
# before = "2s"                     # rest before the load, and after it; default: long enough for
# after = "3s"                      # a tick, and for flows to fall silent

# A subject is a command. The first one is side A, the second is side B. Relative paths start at
# the plan's folder, or, if there is a commit, at the root of its work tree.
[subject.python]
command = ["python3", "-u", "-c", """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 8888))
print("listening")
while True:
    data, peer = s.recvfrom(2048)
    s.sendto(b"PONG", peer)
"""]
environment = { PYTHONOPTIMIZE = "1" }   # example; added to topspin's own environment
# directory = "."                   # working directory
# user = "nobody"                   # default: the user who runs topspin, or who called sudo
# cpus = "0"                        # default: all
# output = "python.log"             # file for its output; default: its last lines are shown if
                                    # it fails
stop_within = "5s"                  # from SIGTERM to SIGKILL
# To compare two commits, write two subjects with the same command. Each commit is checked out in
# its own git work tree and built there; the tree is removed afterwards.
# commit = "main"
# build = "make -j2 server"

[subject.python.ready]              # the subject is ready when all of these are true
port = "udp:8888"                   # example; somebody listens there. A port that is already in
                                    # use before is refused
line = "listening"                  # example; its output has a line with this text
# after = "500ms"                   # this time has passed since it started
within = "10s"                      # if it is not ready by then, the run has failed

[load]
workload = "udp-pingpong"           # or one of those below
target = "127.0.0.1:8888"
# Instead of stages: clients = 100, arrive = "50/s", hold = "5s", leave = "50/s"
stages = "0:100 over 2s, hold 5s, 100:0 over 2s"
period = "500ms"                    # example; each client sends once in this time (default 1s)
timeout = "1s"
# Instead of stages and period: search for the most messages a second that keep rules of the load
# find = ["p99(reply_latency) < 5ms"]  # (docs/load.md)
# find_by = "rate"                  # or "clients"; default: clients if there is a period
# find_from = 200                   # the first one that is tried, the highest one, how near the
# find_max = 10000                  # answer's ends are in percent, and the least time for which
# find_within = 5                   # each stage is measured
# find_hold = "2s"
warm_up = "0s"                      # length of a first load that is not judged
# warm_up_clients = 10              # default: a tenth of the load's clients
# workers = "postgresql://ci@db.example/topspin" # workers that wait at this team's store send the
#                                     load, but not the warm-up
# where = { zone = "a" }              # only workers with these labels
# at_least = 2                        # so many must be ready within a minute; default: 1
# cpus = "1"                        # default: all
{WORKLOADS}

[capture]
interface = "lo"
filter = "udp port 8888"            # example; default: the port of the load's target; "" is all
# period = "500ms"                  # default: the load's period
# window = "1s"                     # a flow is active if it was seen within this time;
                                    # default: 1.5 periods, at least 1s
reply_timeout = "1s"
interval = "1s"                     # length of a tick
max_stored_flows = 200000

[probes]                            # the rung to use for a probe; default: the best that works
# scheduler = "tp_btf"
syscalls = false                    # count and time the subject's system calls
# stacks = 99                       # sample its stacks so often per second of CPU time
runtime = "none"                    # "auto": look inside node, CPython, Go, the JVM

[slo]                               # a broken rule: exit code 1; one that cannot be judged: 3
# lenient = true                    # a rule that cannot be judged: 0
rules = [
  "p99(reply_latency) < 50ms",
  "losses == 0",
  "lost == 0",                      # { rule = "lost == 0", abort = true } ends a run at once
  "active_flows == clients during hold",
  "active_flows == 0 after ramp_down",
  "fds after ramp_down <= before + 2",
]

[labels]                            # to find the runs again
# branch = "main"
)toml";

constexpr size_t kExampleColumns = 96;

/// A line for each workload, with its keys in addition to those of the schedule.
std::string workload_lines() {
  std::vector<std::string> schedule;
  for (const LoadOption& option : options_of(schedule_options(), find_options()))
    schedule.push_back(option.name);
  std::string lines = "# More keys: late_after; and for";
  for (const WorkloadType& type : workload_types()) {
    std::string keys;
    size_t column = type.name().size() + 6;
    for (const LoadOption& option : type.options) {
      if (std::find(schedule.begin(), schedule.end(), option.name) != schedule.end()) continue;
      if (!keys.empty()) keys += ", ";
      if (column + option.name.size() > kExampleColumns) {
        keys.back() = '\n';
        keys += "#     ";
        column = 6;
      }
      keys += option.name;
      column += option.name.size() + 2;
    }
    std::replace(keys.begin(), keys.end(), '-', '_');
    lines += fmt::format("\n#   {}: {}", type.name(), keys.empty() ? "none" : keys);
  }
  return lines;
}

}  // namespace

std::string example_plan() {
  constexpr std::string_view kPlace = "{WORKLOADS}";
  std::string text(kExample);
  return text.replace(text.find(kPlace), kPlace.size(), workload_lines());
}

}  // namespace topspin
