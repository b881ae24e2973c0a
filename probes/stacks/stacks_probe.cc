// The probe "stacks", on request.
#include <optional>
#include <utility>

#include "core/base/clock.h"
#include "probes/perf/perf_event.h"
#include "probes/probe.h"
#include "probes/stacks/cpu_stacks.h"

namespace topspin {
namespace {

constexpr Rung kLadder[] = {Rung::kPerf};

class StacksProbe final : public Probe {
 public:
  explicit StacksProbe(ProbeContext& context) {
    status_ = climb("stacks", kLadder, context.options, [&](Rung) -> Status {
      TOPSPIN_ASSIGN(auto opened, CpuStacks::open(context.subject,
                                                  context.options.stacks_per_second, context.proc));
      stacks_.emplace(std::move(opened));
      return {};
    });
    if (stacks_) status_.reason = stacks_->reason();
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!stacks_) return;
    CpuStackInterval stacks = stacks_->take_interval();
    interval.changed_stacks = std::move(stacks.changed);
    interval.losses.stack_samples_lost = stacks.samples_lost;
    interval.losses.stacks_unstored = stacks.samples_unstored;
  }

 private:
  std::optional<CpuStacks> stacks_;
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
