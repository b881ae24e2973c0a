// Probes: resolves the subject, and opens and reads the probes of the list.
#include "probes/probes.h"

#include <functional>
#include <utility>
#include <vector>

#include <bpf/libbpf.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr const char* kNoSubject = "no subject: name a command, --pid or --cgroup";

class OpenProbes final : public Probes {
 public:
  OpenProbes(Subject subject, const ProbeOptions& options)
      : context_(std::move(subject), options), cgroup_path_(context_.subject) {}

  void open() {
    begin_ns_ = monotonic_now_ns();  // the first interval includes what is measured while opening
    const bool has_subject = context_.subject.kind != SubjectSpec::Kind::kNone;
    if (has_subject) tell_choice();
    std::vector<std::function<std::unique_ptr<Probe>()>> openings;
    for (const ProbeKind& kind : all_probes()) {
      if (!is_opened_here(kind)) continue;
      if (!has_subject) {
        for (const std::string& name : kind.names)
          status_.push_back({name, Rung::kNone, kNoSubject});
      } else if (kind.begin) {
        openings.push_back(kind.begin(context_));
      } else {
        openings.emplace_back([this, open = kind.open] { return open(context_); });
      }
    }
    for (const auto& opening : openings) {
      probes_.push_back(opening());
      for (ProbeStatus& status : probes_.back()->status()) status_.push_back(std::move(status));
    }
    if (has_subject) open_events();
  }

  const std::vector<ProbeStatus>& status() const override { return status_; }

  ProbeInterval take_interval() override {
    follow_cgroup();
    ProbeInterval interval;
    interval.begin_ns = begin_ns_;
    for (const auto& probe : probes_) {
      probe->read(interval);
      // The scheduler probe is read first. The time to read the others belongs to the next
      // interval.
      if (interval.end_ns == 0) interval.end_ns = monotonic_now_ns();
    }
    if (probes_.empty()) interval.end_ns = monotonic_now_ns();
    begin_ns_ = interval.end_ns;
    // A cgroup may be empty for a while, but a process tree that has ended never comes back.
    interval.subject_alive =
        context_.subject.kind != SubjectSpec::Kind::kProcessTree || !context_.processes.empty();
    return interval;
  }

  const std::vector<int32_t>& processes() const override { return context_.processes; }

  std::vector<std::string> take_events() override { return std::exchange(context_.events, {}); }
  int event_fd() const override { return event_fd_.get(); }
  void handle_events() override {
    for (const auto& probe : probes_) probe->handle_notices();
    follow_cgroup();
  }

  LossInterval end_losses() const override {
    LossInterval losses;
    for (const auto& probe : probes_) losses.merge(probe->end_losses());
    return losses;
  }

  std::optional<SchedulerSelfTest> self_test() const override {
    for (const auto& probe : probes_) {
      if (auto test = probe->self_test()) return test;
    }
    return std::nullopt;
  }

  std::vector<std::string> doubts(bool is_command,
                                  const std::optional<CommandUsage>& usage) const override {
    std::vector<std::string> all;
    for (const auto& probe : probes_) {
      for (std::string& doubt : probe->doubts(is_command, usage)) all.push_back(std::move(doubt));
    }
    return all;
  }

  std::vector<int> capabilities_needed() const override {
    std::vector<int> all;
    for (const auto& probe : probes_) {
      for (const int capability : probe->capabilities_needed()) all.push_back(capability);
    }
    return all;
  }

 private:
  bool is_opened_here(const ProbeKind& kind) const {
    return (kind.open || kind.begin) && (!kind.wanted || kind.wanted(context_.options));
  }

  void tell_choice() {
    if (!context_.subject.remark.empty()) context_.events.push_back(context_.subject.remark);
    context_.tree.update();
    if (!context_.tree.has_own_process()) return;
    context_.events.emplace_back(
        context_.subject.kind == SubjectSpec::Kind::kCgroup
            ? "topspin itself runs in the cgroup that it watches: its own threads are left out "
              "(but the cgroup's memory and perf counters include them)"
            : "topspin itself is a descendant of the process that it watches: its own threads "
              "are left out");
  }

  /// Combines the notices of all probes in one descriptor.
  void open_events() {
    event_fd_.reset(::epoll_create1(EPOLL_CLOEXEC));
    const auto add = [&](int fd) {
      epoll_event event{};
      event.events = EPOLLIN;
      if (fd >= 0 && event_fd_) (void)::epoll_ctl(event_fd_.get(), EPOLL_CTL_ADD, fd, &event);
    };
    for (const auto& probe : probes_) add(probe->notice_fd());
    add(cgroup_path_.notice_fd());
  }

  void follow_cgroup() {
    auto change = cgroup_path_.look();
    if (!change) return;
    if (change->new_id != 0) {
      context_.subject.cgroup_id = change->new_id;
      for (const auto& probe : probes_) {
        const std::string remark = probe->follow_cgroup(change->new_id);
        if (!remark.empty()) change->sentence += "; " + remark;
      }
    }
    context_.events.push_back(std::move(change->sentence));
  }

  ProbeContext context_;
  CgroupPath cgroup_path_;
  std::vector<std::unique_ptr<Probe>> probes_;
  std::vector<ProbeStatus> status_;
  UniqueFd event_fd_;
  int64_t begin_ns_ = 0;
};

}  // namespace

Result<std::unique_ptr<Probes>> Probes::open(const SubjectSpec& spec, const ProbeOptions& options) {
  ProcReader proc(options.proc_root);
  TOPSPIN_ASSIGN(Subject subject, resolve_subject(spec, proc));
  auto probes = std::make_unique<OpenProbes>(std::move(subject), options);
  probes->open();
  return Result<std::unique_ptr<Probes>>(std::move(probes));
}

std::vector<std::string> probe_names() {
  std::vector<std::string> names;
  for (const ProbeKind& kind : all_probes())
    names.insert(names.end(), kind.names.begin(), kind.names.end());
  return names;
}

std::vector<RungReport> examine_probes() {
  SubjectSpec spec;
  spec.kind = SubjectSpec::Kind::kProcessTree;
  spec.pid = ::getpid();
  const ProbeOptions options;
  ProcReader proc(options.proc_root);
  auto self = resolve_subject(spec, proc);
  std::vector<RungReport> reports;
  if (!self.ok()) {
    for (const std::string& name : probe_names())
      reports.push_back({name, Rung::kNone, false, self.error().message, "mount /proc"});
    return reports;
  }
  ProbeContext context(std::move(self).value(), options);
  for (const ProbeKind& kind : all_probes()) kind.examine(context, reports);
  return reports;
}

std::string bpf_library_version() { return libbpf_version_string(); }

}  // namespace topspin
