// The probe "stacks", on request.
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "probes/perf/perf_event.h"
#include "probes/probe.h"
#include "probes/stacks/cpu_stacks.h"
#include "probes/stacks/sleep_stacks.h"

namespace topspin {
namespace {

constexpr Rung kStackRungs[] = {Rung::kPerf};

class StacksProbe final : public Probe {
 public:
  explicit StacksProbe(ProbeContext& context) {
    status_ = climb("stacks", kStackRungs, context.options, [&](Rung) -> Status {
      TOPSPIN_ASSIGN(auto opened, CpuStacks::open(context.subject,
                                                  context.options.stacks_per_second, context.proc));
      stacks_.emplace(std::move(opened));
      return {};
    });
    if (!stacks_) return;
    status_.reason = stacks_->reason();
    auto sleeps = SleepStacks::open(context.subject);
    if (sleeps.ok())
      sleeps_ = std::move(*sleeps);
    else
      status_.reason +=
          (status_.reason.empty() ? "" : "; ") + ("no stacks of sleeps: " + sleeps.error().message);
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!stacks_) return;
    const int64_t samples_until_ns = monotonic_now_ns();
    CpuStackInterval stacks = stacks_->take_interval();
    interval.changed_stacks = std::move(stacks.changed);
    if (sleeps_) {
      interval.changed_sleep_stacks = sleeps_->take_interval(*stacks_);
      take_stretches(interval, stacks.samples, samples_until_ns);
    }
    interval.losses.stack_samples_lost = stacks.samples_lost;
    interval.losses.stacks_unstored = stacks.samples_unstored;
  }

 private:
  void take_stretches(ProbeInterval& interval, const std::vector<StackSample>& samples,
                      int64_t samples_until_ns) {
    for (const StackSample& sample : samples) stretch_samples_.add(sample);
    for (BusyStretch& stretch : sleeps_->take_stretches()) stretch_samples_.add(std::move(stretch));
    interval.long_stretches = stretch_samples_.take(samples_until_ns);
    const uint64_t lost = sleeps_->stretches_lost();
    interval.losses.busy_stretches_lost = lost - std::exchange(stretches_lost_, lost);
  }

  std::optional<CpuStacks> stacks_;
  std::unique_ptr<SleepStacks> sleeps_;  // nullptr if BPF does not load
  StretchSamples stretch_samples_;
  uint64_t stretches_lost_ = 0;
  ProbeStatus status_;
};

void examine_stacks(ProbeContext& self, std::vector<RungReport>& reports) {
  constexpr int64_t kSamplesPerSecond = 1000;
  auto stacks = CpuStacks::open(self.subject, kSamplesPerSecond, self.proc);
  if (!stacks.ok()) {
    reports.push_back(refused_perf("stacks", stacks.error()));
    return;
  }
  const int64_t end_ns = process_cpu_now_ns() + 20 * kNanosPerMilli;
  while (process_cpu_now_ns() < end_ns) {
  }
  const bool sampled = !stacks->take_interval().changed.empty();
  reports.push_back({"stacks", Rung::kPerf, sampled,
                     sampled ? "" : "it opens, but topspin's own work is in no sample", ""});
}

}  // namespace

ProbeKind stacks_probe() {
  ProbeKind kind;
  kind.names = {"stacks"};
  kind.open = open_as<StacksProbe>;
  kind.examine = examine_stacks;
  kind.wanted = [](const ProbeOptions& options) { return options.stacks_per_second > 0; };
  return kind;
}

}  // namespace topspin
