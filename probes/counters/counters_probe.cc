// The probe "counters", on request.
#include <optional>
#include <utility>

#include "probes/counters/counters.h"
#include "probes/perf/perf_event.h"
#include "probes/probe.h"

namespace topspin {
namespace {

constexpr Rung kCounterRungs[] = {Rung::kPerf};

class CountersProbe final : public Probe {
 public:
  explicit CountersProbe(ProbeContext& context) {
    status_ = climb("counters", kCounterRungs, context.options, [&](Rung) -> Status {
      TOPSPIN_ASSIGN(auto opened, Counters::open(context.subject, context.proc));
      counters_.emplace(std::move(opened));
      return {};
    });
    if (counters_) status_.reason = counters_->reason();
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!counters_) return;
    interval.counters = counters_->take_interval();
    interval.losses.counter_threads_missed =
        counters_->threads_missed() - std::exchange(missed_told_, counters_->threads_missed());
  }

  std::string follow_cgroup(uint64_t /*new_id*/) override {
    return counters_ ? "perf counters stay with the one that is gone" : "";
  }

 private:
  std::optional<Counters> counters_;
  ProbeStatus status_;
  uint64_t missed_told_ = 0;
};

/// All software events must work; the hardware events get a separate line.
void examine_counters(ProbeContext& self, std::vector<RungReport>& reports) {
  auto counters = Counters::open(self.subject, self.proc);
  if (!counters.ok()) {
    reports.push_back(refused_perf("counters", counters.error()));
    return;
  }
  sleep_and_work();
  const CounterInterval counted = counters->take_interval();
  const bool time = counted.task_clock_ns && counted.task_clock_ns->count > 0;
  reports.push_back({"counters", Rung::kPerf, time,
                     time ? "" : "it opens, but counts no time of topspin's own", ""});
  const bool hardware = counted.instructions && counted.instructions->count > 0;
  reports.push_back({"counters of hardware", Rung::kPerf, hardware,
                     hardware               ? ""
                     : counted.instructions ? "it opens, but counts no instruction"
                                            : counters->reason(),
                     ""});
}

}  // namespace

ProbeKind counters_probe() {
  ProbeKind kind;
  kind.names = {"counters"};
  kind.open = open_as<CountersProbe>;
  kind.examine = examine_counters;
  kind.wanted = [](const ProbeOptions& options) { return options.counters; };
  return kind;
}

}  // namespace topspin
