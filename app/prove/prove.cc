#include "app/prove/prove.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/host/host.h"
#include "app/host/ports.h"
#include "app/plan/plan.h"
#include "app/plan/plan_session.h"
#include "app/prove/fault_subject.h"
#include "app/prove/quota_cgroup.h"
#include "core/base/check.h"
#include "core/base/result.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"
#include "core/tick/numbers.h"
#include "report/model/report_page.h"

namespace topspin {
namespace {

namespace fs = std::filesystem;

// ---- the faults ----

struct Injection {
  std::string_view name;  // one of fault_subject_names()
  std::string_view inflicted;
  std::string_view load;  // lines of a plan's [load]
  std::string_view finding;
  std::string_view number;
  std::string_view account;                           // its name in the server's account
  std::optional<double> (*measured)(const RunPage&);  // nullptr: `number` is in the registry
  double tolerance = 0;
  std::optional<CpuQuota> quota = {};                          // for its cgroup
  int hogs = 0;                                                // busy loops on the server's CPU
  bool asks = false;                                           // needs a downstream service
  std::string_view rests = "before = \"1s\"\nafter = \"1s\"";  // lines of a plan's [run]
};

double account_of(const FaultAccount& account, std::string_view name) {
  const auto entry = account.find(name);
  return entry == account.end() ? 0 : entry->second;
}
/// A number over all ticks, by its name in the registry: "udp_drops", "sum of call_latency_ns".
std::optional<double> by_name(std::string_view name, const Sample& all) {
  constexpr std::string_view kSum = "sum of ";
  const bool is_sum = name.starts_with(kSum);
  if (is_sum) name.remove_prefix(kSum.size());
  const RegisteredNumber* number = find_number(name);
  CHECK(number != nullptr);
  if (!is_sum) return number->value(all);
  const Histogram* distribution = number->histogram(all);
  return distribution ? std::optional(static_cast<double>(distribution->sum())) : std::nullopt;
}

std::optional<double> replies(const RunPage& run) {
  return static_cast<double>(run.fold.merged.flows.reply_latency.count());
}
/// The value in the finding, which is about the time under load.
std::optional<double> longest_stretch(const RunPage& run) {
  for (const Proof& proof : run.findings.front().proofs)
    if (proof.name == "max of busy_stretch_ns") return proof.value;
  return std::nullopt;
}
std::optional<double> memory_left(const RunPage& run) {
  for (const LeakMetric& metric : run.growth.leak.metrics)
    if (metric.name == "rss_bytes") return metric.residue;
  return std::nullopt;
}

constexpr std::string_view kSteady = R"(workload = "http"
clients = 20
period = "100ms"
hold = "4s")";

constexpr std::array kInjections = {
    Injection{"none", "no fault: every request is answered at once", kSteady, kNothing, "replies",
              "requests", replies},
    Injection{"event_loop", "80 ms of work in the event loop, once a second", kSteady,
              "event_loop_blocked", "max of busy_stretch_ns", "longest_stretch_ns", longest_stretch,
              0.1},
    Injection{"cpu_hog",
              "three busy loops of another process on the server's CPU",
              R"(workload = "http"
clients = 5
period = "100ms"
hold = "4s")",
              "starved_by_others",
              "sum of preemption_wait_ns",
              "taken_away_ns",
              nullptr,
              0.15,
              {},
              3},
    Injection{"quota", "a CPU quota of 5 ms in each 100 ms, for requests of 8 ms",
              R"(workload = "http"
clients = 7
period = "1250ms"
hold = "5s")",
              "starved_by_quota", "sum of run_queue_latency_ns", "taken_away_ns", nullptr, 0.2,
              CpuQuota{5'000, 100'000}},
    Injection{"stopped", "SIGSTOP for 200 ms, once a second", kSteady, "stopped",
              "sum of blocked_by_stopped_ns", "stopped_ns", nullptr, 0.1},
    Injection{"backlog", "an accept queue of 4, and 30 ms for each accept()",
              R"(workload = "http"
connection = "close"
clients = 20
period = "500ms"
hold = "4s")",
              "accept_queue_overflow", "listen_overflows", "refused", nullptr, 0.05},
    Injection{"receive_buffer", "a receive buffer of 2 KiB, not read for 10 ms now and then",
              R"(workload = "udp-pingpong"
clients = 500
period = "250ms"
hold = "4s")",
              "receive_buffer_overflow", "udp_drops", "dropped", nullptr},
    Injection{"timer_slack", "a timer slack of 20 ms, and a sleep of 5 ms for each request",
              R"(workload = "http"
clients = 2
period = "100ms"
hold = "4s")",
              "timer_slack", "sum of timer_oversleep_ns", "overslept_ns", nullptr, 0.05},
    Injection{"lock", "one lock for all connections, held for 6 ms",
              R"(workload = "http"
clients = 30
period = "250ms"
grid = "250ms"
hold = "4s")",
              "lock", "sum of reply_asleep_futex_ns", "waited_ns", nullptr, 0.05},
    Injection{"downstream",
              "a service downstream that takes 30 ms",
              R"(workload = "http"
clients = 3
period = "250ms"
hold = "4s")",
              "slow_downstream",
              "sum of call_latency_ns",
              "waited_ns",
              nullptr,
              0.05,
              {},
              0,
              true},
    Injection{"leak",
              "256 KiB of memory kept of each request",
              R"(workload = "http"
stages = "0:20 over 500ms, hold 2s, 20:0 over 500ms, hold 4s, 0:20 over 500ms, hold 2s, 20:0 over 500ms"
period = "200ms")",
              "leak",
              "residue of rss_bytes",
              "kept_bytes",
              memory_left,
              0.05,
              {},
              0,
              false,
              "before = \"2s\"\nafter = \"4s\""},
};

// ---- for faults that the server cannot inflict on itself ----

/// Busy loops on one CPU while the object lives. Each ends itself after a minute.
class Hogs {
 public:
  Hogs(int count, int cpu) {
    const pid_t parent = getpid();
    for (; count > 0; --count) {
      const pid_t pid = fork();
      if (pid == 0) burn(parent, cpu);
      if (pid > 0) pids_.push_back(pid);
    }
  }
  ~Hogs() {
    for (const pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  Hogs(const Hogs&) = delete;
  Hogs& operator=(const Hogs&) = delete;

 private:
  [[noreturn]] static void burn(pid_t parent, int cpu) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "prove-hog");
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    alarm(60);
    while (getppid() == parent) {
    }
    _exit(0);
  }
  std::vector<pid_t> pids_;
};

/// The downstream service, which runs while the object lives.
class Service {
 public:
  explicit Service(uint16_t port) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(60);
    _exit(serve_fault({.fault = "service", .port = port}).ok() ? 0 : 1);
  }
  ~Service() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

 private:
  pid_t pid_;
};

/// A folder for runs and accounts, which exists while the object lives.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::error_code error;
    std::string name = (fs::temp_directory_path(error) / "topspin-prove.XXXXXX").string();
    if (error || !mkdtemp(name.data())) return os_error("cannot make a folder for the runs");
    return Scratch(std::move(name));
  }
  ~Scratch() {
    std::error_code ignored;
    if (!name_.empty()) fs::remove_all(name_, ignored);
  }
  Scratch(Scratch&& other) noexcept : name_(std::exchange(other.name_, {})) {}
  Scratch& operator=(Scratch&&) = delete;

  std::string file(std::string_view name) const { return fmt::format("{}/{}", name_, name); }

 private:
  explicit Scratch(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

/// The CPUs that we may use, ascending.
std::vector<int> allowed_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

/// A port of 127.0.0.1 that is free at this moment.
Result<uint16_t> free_port(bool udp) {
  const UniqueFd fd(socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (!fd || bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return os_error("cannot find a free port on 127.0.0.1");
  return ntohs(address.sin_port);
}

/// Waits until the port is open, for at most five seconds.
void await_port(uint16_t port) {
  for (int tries = 0; tries < 500 && !port_is_open(false, port); ++tries) usleep(10'000);
}

// ---- one proof ----

std::string plan_text(const Injection& injection, const FaultSubject& subject) {
  const uint16_t port = subject.port;
  const bool udp = injection.load.find("udp") != std::string_view::npos;
  // Other programs may use the same port number with another protocol or address.
  const std::string ports =
      injection.asks ? fmt::format("({} or {})", port, subject.downstream) : std::to_string(port);
  const std::string filter =
      fmt::format("filter = \"host 127.0.0.1 and {} port {}\"\n", udp ? "udp" : "tcp", ports);
  return fmt::format(
      "name = \"prove {}\"\n[run]\n{}\n"
      "[capture]\ninterval = \"500ms\"\n{}"
      "[subject.{}]\ncommand = [\"topspin\"]\n"
      "[subject.{}.ready]\nport = \"{}:{}\"\n"
      "[load]\n{}\ntarget = \"127.0.0.1:{}\"\n",
      injection.name, injection.rests, filter, injection.name, injection.name, udp ? "udp" : "tcp",
      port, injection.load, port);
}

FaultProof begin_proof(const Injection& injection) {
  FaultProof proof;
  proof.fault = injection.name;
  proof.inflicted = injection.inflicted;
  proof.number = injection.number;
  proof.tolerance = injection.tolerance;
  proof.expected_finding = injection.finding;
  return proof;
}

/// Records the fault into `database`, and reads the run back.
Result<RunPage> record_fault(const Injection& injection, const FaultSubject& subject,
                             const std::string& database, const std::vector<int>& cpus) {
  const std::string text = plan_text(injection, subject);
  TOPSPIN_ASSIGN(Plan plan, parse_plan(text, "the plan of doctor --prove"));
  plan.subjects[0].command = {"/proc/self/exe", std::string(kFaultSubjectCommand),
                              subject.fault,    fmt::format("{}", subject.port),
                              subject.account,  fmt::format("{}", subject.downstream),
                              subject.cgroup};
  if (geteuid() == 0) plan.subjects[0].user = "root";  // to enter its cgroup
  if (injection.hogs > 0) {
    plan.subjects[0].cpus = {cpus[0]};
    plan.load_cpus = {cpus[1]};
  }
  SessionOptions options;
  options.plan_file = database;  // its folder is the subject's
  options.plan_text = text;
  options.database = database;
  TOPSPIN_ASSIGN(const SessionResult result, run_session(plan, options, [](const std::string&) {}));
  if (result.stop_signal != 0)
    return make_error(ErrorCode::kInternal, "ended by a signal before all faults were inflicted");
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database));
  return read_run_page(*store, result.runs.at(0).measured.run, plan_rules);
}

Result<FaultProof> prove_one(const Injection& injection, const Scratch& scratch) {
  FaultProof proof = begin_proof(injection);
  const std::vector<int> cpus = allowed_cpus();
  if (injection.hogs > 0 && cpus.size() < 2) {
    proof.skipped = "needs two CPUs: one for the load";
    return proof;
  }
  std::optional<QuotaCgroup> cgroup;
  if (injection.quota) {
    cgroup.emplace(*injection.quota);
    proof.skipped = cgroup->missing();
    if (!proof.skipped.empty()) return proof;
  }
  TOPSPIN_ASSIGN(const uint16_t port,
                 free_port(injection.load.find("udp") != std::string_view::npos));
  uint16_t downstream = 0;
  std::optional<Service> service;
  if (injection.asks) {
    TOPSPIN_ASSIGN(downstream, free_port(false));
    service.emplace(downstream);
    await_port(downstream);
  }
  const FaultSubject subject{std::string(injection.name), port,
                             scratch.file(fmt::format("{}.account", injection.name)), downstream,
                             cgroup ? cgroup->folder() : std::string()};
  std::optional<Hogs> hogs;
  if (injection.hogs > 0) hogs.emplace(injection.hogs, cpus[0]);
  TOPSPIN_ASSIGN(
      const RunPage run,
      record_fault(injection, subject, scratch.file(fmt::format("{}.db", injection.name)), cpus));
  hogs.reset();
  TOPSPIN_ASSIGN(const FaultAccount account, read_fault_account(subject.account));
  proof.expected = account_of(account, injection.account);
  proof.measured =
      injection.measured ? injection.measured(run) : by_name(injection.number, run.fold.merged);
  proof.finding = run.findings.front().key;
  proof.sentence = run.findings.front().sentence;
  return proof;
}

}  // namespace

std::vector<std::string_view> fault_names() {
  std::vector<std::string_view> names;
  for (const Injection& injection : kInjections) names.push_back(injection.name);
  return names;
}

Result<ProofReport> prove(const std::vector<std::string>& faults,
                          const std::function<void(const std::string&)>& say_progress) {
  const auto names = fault_names();
  for (const std::string& fault : faults) {
    if (std::find(names.begin(), names.end(), fault) != names.end()) continue;
    const auto meant = nearest_word(fault, names);
    return make_error(ErrorCode::kUsage,
                      fmt::format("there is no fault {} to inflict{}; there are {}", fault,
                                  meant ? fmt::format("; did you mean {}?", *meant) : "",
                                  fmt::join(names, ", ")));
  }
  TOPSPIN_ASSIGN(const Scratch scratch, Scratch::make());
  ProofReport report;
  report.host = read_host_info();
  for (const Injection& injection : kInjections) {
    if (!faults.empty() && std::find(faults.begin(), faults.end(), injection.name) == faults.end())
      continue;
    say_progress(fmt::format("{}: {}", injection.name, injection.inflicted));
    TOPSPIN_ASSIGN(FaultProof proof, prove_one(injection, scratch));
    report.proofs.push_back(std::move(proof));
  }
  return report;
}

}  // namespace topspin
