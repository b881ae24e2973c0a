// The plan that `topspin run --example` prints. A test holds it against the parser.
#include <algorithm>

#include <fmt/format.h>

#include "app/plan/plan.h"
#include "load/workload_type.h"

namespace topspin {
namespace {

constexpr std::string_view kExample =
    R"toml(# A topspin plan: subjects, a load, what to observe, and the rules to keep.
# `topspin run FILE` runs it; `topspin gate` then judges B against A. A key that is left out has the value shown
# here, unless its line says "none" or "example".

name = "ping-pong"                  # default: the file's name

[run]
repeat = 3                          # example; of each subject (1). The gate wants 10 pairs or more
order = "interleaved"               # or "abba", "in turn", "blocks"
# seed = 1                          # of the order; none: drawn, and stored with the run
pause = "0s"                        # between runs
# before = "2s"                     # at rest before the load, and after it; none: long enough for a tick
# after = "3s"                      # and for flows to fall silent

# A subject is a command. The first is side A, the second side B. Relative paths are of the plan's folder,
# or of the root of the work tree where there is a commit.
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
environment = { PYTHONOPTIMIZE = "1" }   # example; added to topspin's own
# directory = "."                   # where it runs
# user = "nobody"                   # none: who runs topspin (under sudo: who called it)
# cpus = "0"                        # none: all
# output = "python.log"             # file for what it prints; none: its last lines are shown if it fails
stop_within = "5s"                  # from SIGTERM to SIGKILL
# One subject at two commits is two subjects with the same command; each is checked out in a git work tree of
# its own, built there, and the tree is removed afterwards.
# commit = "main"
# build = "make -j2 server"

[subject.python.ready]              # all that is said must come true
port = "udp:8888"                   # example; somebody listens there. A port that is taken before is refused
line = "listening"                  # example; its output has a line with this
# after = "500ms"                   # none; so long after it started
within = "10s"                      # else the run has failed

[load]
workload = "udp-pingpong"           # or one of those below
target = "127.0.0.1:8888"
stages = "0:100 over 2s, hold 5s, 100:0 over 2s"   # or: clients = 100, arrive = "50/s", hold = "5s", leave = "50/s"
period = "500ms"                    # example; each client is due once in this (1s)
timeout = "1s"
warm_up = "0s"                      # a load at first that is not judged
# warm_up_clients = 10              # none: a tenth of the load's
# cpus = "1"                        # none: all
{WORKLOADS}

[capture]
interface = "lo"
filter = "udp port 8888"            # example; none: the port of the load's target; "": everything
# period = "500ms"                  # none: the load's
# window = "1s"                     # a flow is active if seen within this; none: 1.5 periods, at least 1s
reply_timeout = "1s"
interval = "1s"                     # between ticks
max_stored_flows = 200000

[probes]                            # the rung of a probe's ladder; none: the best that works
# scheduler = "tp_btf"
syscalls = false                    # count and time the subject's system calls

[slo]                               # broken: exit code 1; could not be judged: 3
# lenient = true                    # ... then 0
rules = [
  "p99(reply_latency) < 50ms",
  "losses == 0",
  "lost == 0",
  "active_flows == clients during hold",
  "active_flows == 0 after ramp_down",
  "fds after ramp_down <= before + 2",
]

[labels]                            # to find the runs by
# branch = "main"
)toml";

/// A line for each workload, with the keys that it takes beside those of the schedule.
std::string workload_lines() {
  std::vector<std::string> schedule;
  for (const LoadOption& option : schedule_options()) schedule.push_back(option.name);
  std::string lines = "# Further keys: late_after; and of";
  for (const WorkloadType& type : workload_types()) {
    std::string keys;
    for (const LoadOption& option : type.options) {
      if (std::find(schedule.begin(), schedule.end(), option.name) != schedule.end()) continue;
      keys += fmt::format("{}{}", keys.empty() ? "" : ", ", option.name);
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
