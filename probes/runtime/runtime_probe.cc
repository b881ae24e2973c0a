// The probe "runtime", on request: looks inside the subject's runtimes.
#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/probe.h"
#include "probes/probes.h"
#include "probes/runtime/code_files.h"
#include "probes/runtime/runtime_file.h"
#include "probes/runtime/runtime_points.h"
#include "probes/runtime/runtime_spans.h"

namespace topspin {
namespace {

constexpr Rung kRuntimeRungs[] = {Rung::kTpBtf};
constexpr const char* kNotAsked = "not asked for: --runtime auto";

// A runtime that starts or is loaded is found when its process is examined next. Processes take
// turns, this many at each tick, and this many in between.
constexpr size_t kProcessesATick = 64;
constexpr size_t kProcessesInBetween = 8;
constexpr int64_t kLookNs = 100 * kNanosPerMilli;
constexpr int kLooksAfterChange = 100;  // in between, after the subject's processes have changed
constexpr size_t kMostFiles = 16'384;   // remembered, so that each is examined only once
constexpr size_t kMostObjects = 64;     // with a runtime in them
constexpr size_t kMostPoints = 512;     // attached

std::string wanted_runtimes(const ProbeOptions& options) {
  if (!options.runtime.empty()) return options.runtime;
  return is_asked_for(options, "runtime") ? "auto" : "none";
}

class RuntimeProbe final : public Probe {
 public:
  explicit RuntimeProbe(ProbeContext& context)
      : context_(context), status_{"runtime", Rung::kNone, kNotAsked} {
    const std::string wanted = wanted_runtimes(context.options);
    if (wanted == "none") return;
    status_ = climb("runtime", kRuntimeRungs, context.options, [&](Rung) -> Status {
      TOPSPIN_ASSIGN(runtimes_, select_runtimes(wanted));
      TOPSPIN_ASSIGN(spans_, RuntimeSpans::open(context.subject));
      return {};
    });
    if (!spans_) return;
    timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    start_timer();
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!spans_) return;
    look_at(kProcessesATick);
    if (context_.processes != processes_) {
      spans_->forget_ended(context_.options.proc_root);
      processes_ = context_.processes;
      start_timer();
    }
    RuntimeReading now = spans_->read(kinds_);
    RuntimeInterval& told = interval.part<RuntimeInterval>().emplace();
    const std::array<std::optional<Histogram>*, TOPSPIN_RUNTIME_KINDS> parts = {
        &told.gc, &told.gc_cycle, &told.stop, &told.loop_turn, &told.task_wait, &told.lock_wait};
    for (size_t kind = 0; kind < parts.size(); ++kind) {
      if (!kinds_[kind]) continue;
      *parts[kind] = now.spans[kind];
      (*parts[kind])->subtract(before_.spans[kind]);
    }
    told.unfinished = now.unfinished - before_.unfinished;
    told.no_room = now.no_room - before_.no_room;
    interval.add_bpf_ns(now.bpf_ns - before_.bpf_ns);
    before_ = std::move(now);
  }

  std::vector<int> capabilities_needed() const override {
    if (!spans_) return {};
    // For the files of processes that start later and may belong to another user.
    std::vector<int> needed = bpf_capabilities_needed();
    needed.insert(needed.end(), {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH});
    return needed;
  }

  std::string follow_cgroup(uint64_t new_id) override {
    if (spans_) spans_->follow_cgroup(new_id);
    return {};
  }

  int notice_fd() const override { return timer_.get(); }
  void handle_notices() override {
    uint64_t times = 0;
    if (!timer_ || ::read(timer_.get(), &times, sizeof(times)) != sizeof(times)) return;
    look_at(kProcessesInBetween);
    if (--looks_left_ <= 0) stop_timer();
  }

 private:
  void start_timer() {
    itimerspec period{};
    period.it_value.tv_nsec = period.it_interval.tv_nsec = kLookNs;
    if (timer_) ::timerfd_settime(timer_.get(), 0, &period, nullptr);
    looks_left_ = kLooksAfterChange;
  }
  void stop_timer() {
    const itimerspec never{};
    ::timerfd_settime(timer_.get(), 0, &never, nullptr);
  }

  /// Examines the files of the next processes.
  void look_at(size_t most) {
    const std::vector<int32_t>& all = context_.processes;
    if (all.empty() && context_.subject.kind == SubjectSpec::Kind::kProcessTree) {
      look_into(context_.subject.pid);
      return;
    }
    for (size_t count = 0; count < std::min(most, all.size()); ++count) {
      const auto next = std::ranges::upper_bound(all, last_looked_at_);
      last_looked_at_ = next == all.end() ? all.front() : *next;
      look_into(last_looked_at_);
    }
  }

  void look_into(int32_t pid) {
    for (const MappedCode& file : code_files(context_.options.proc_root, pid)) {
      const std::string_view name = std::string_view(file.path).substr(file.path.rfind('/') + 1);
      const auto may_hold = [&](const RuntimeFile& runtime) { return runtime.is_named(name); };
      if (!std::ranges::any_of(runtimes_, may_hold)) continue;
      if (known_.size() >= kMostFiles) known_.clear();
      if (!known_.insert({file.device, file.inode}).second) continue;
      // A process in a container may have other files under the same names.
      const std::string path =
          fmt::format("{}/{}/root{}", context_.options.proc_root, pid, file.path);
      const auto elf = open_elf(path);
      if (!elf) continue;
      for (const RuntimeFile& runtime : runtimes_) {
        if (may_hold(runtime)) attach(runtime, *elf, path, pid, file.path);
      }
    }
  }

  /// Attaches to the points of the runtime in the file, and adds a message about it.
  void attach(const RuntimeFile& runtime, const ElfFile& elf, const std::string& path, int32_t pid,
              const std::string& name) {
    RuntimeInObject found = find_runtime(runtime, elf);
    if (!found.is_there) return;
    Status attached;
    if (!found.points.empty()) {
      if (objects_ >= kMostObjects || points_ + found.points.size() > kMostPoints)
        attached = make_error(ErrorCode::kUnsupported, "there are too many runtimes");
      else
        attached = spans_->attach(path, found.points);
    }
    std::vector<std::string_view> kinds;
    if (attached.ok()) {
      for (const size_t kind : found.kinds) kinds.push_back(kRuntimeKinds[kind]);
      for (const size_t kind : found.kinds) kinds_[kind] = true;
      points_ += found.points.size();
      ++objects_;
    }
    std::string sentence = fmt::format("runtime {} in {} (process {}): ", runtime.name, name, pid);
    if (!attached.ok())
      sentence += attached.error().message;
    else if (kinds.empty())
      sentence += "nothing of it can be measured";
    else
      sentence += fmt::format("measures {}", fmt::join(kinds, ", "));
    if (!found.missing.empty()) sentence += fmt::format("; not {}", fmt::join(found.missing, ", "));
    context_.events.push_back(std::move(sentence));
  }

  ProbeContext& context_;
  ProbeStatus status_;
  std::vector<RuntimeFile> runtimes_;
  std::unique_ptr<RuntimeSpans> spans_;  // nullptr: not measured
  UniqueFd timer_;
  std::set<std::pair<uint64_t, uint64_t>> known_;  // device and inode of examined files
  int32_t last_looked_at_ = 0;
  size_t objects_ = 0, points_ = 0;                  // attached
  std::array<bool, TOPSPIN_RUNTIME_KINDS> kinds_{};  // the kinds that attached objects show
  std::vector<int32_t> processes_;                   // at the last reading
  int looks_left_ = 0;
  RuntimeReading before_;
};

/// What doctor looks for in topspin itself.
[[gnu::noinline]] void begin_of_span() { asm volatile("# begin"); }
[[gnu::noinline]] void end_of_span() { asm volatile("# end"); }

void examine(ProbeContext& self, std::vector<RungReport>& reports) {
  auto spans = RuntimeSpans::open(self.subject);
  if (!spans.ok()) {
    reports.push_back(refused_rung("runtime", Rung::kTpBtf, spans.error()));
    return;
  }
  RungReport report{"runtime", Rung::kTpBtf, false, "", ""};
  std::vector<PlacedPoint> points;
  for (const auto& [function, action] : {std::pair{&begin_of_span, TOPSPIN_RUNTIME_BEGIN},
                                         std::pair{&end_of_span, TOPSPIN_RUNTIME_END}}) {
    const auto offset = own_file_offset(reinterpret_cast<uintptr_t>(function));
    if (!offset) continue;
    PlacedPoint point;
    point.file_offset = *offset;
    point.what.action = static_cast<uint8_t>(action);
    point.what.key = TOPSPIN_RUNTIME_BY_THREAD;
    points.push_back(point);
  }
  const Status attached = (*spans)->attach(fmt::format("/proc/{}/exe", ::getpid()), points);
  if (!attached.ok()) {
    report.reason = attached.error().message;
    if (attached.error().code == ErrorCode::kPermission) report.remedy = "sudo";
    reports.push_back(report);
    return;
  }
  begin_of_span();
  end_of_span();
  report.works = (*spans)->read({true}).spans[0].count() == 1;
  if (!report.works) report.reason = "it opens, but misses a function of topspin's own";
  reports.push_back(report);
}

}  // namespace

Status check_runtimes(const std::string& wanted) {
  const auto selected = select_runtimes(wanted);
  return selected.ok() ? Status() : Status(selected.error());
}

ProbeKind runtime_probe() {
  ProbeKind kind;
  kind.names = {"runtime"};
  kind.open = open_as<RuntimeProbe>;
  kind.examine = examine;
  return kind;
}

}  // namespace topspin
