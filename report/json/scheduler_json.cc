#include "report/json/scheduler_json.h"

namespace topspin {
namespace {

/// A thread's distribution; where there is none, its sum, if that much is known.
Json times_json(const std::optional<CoarseHistogram>& times, const std::optional<uint64_t>& sum) {
  if (times) return latency_json(times->summary());
  if (!sum) return nullptr;
  Json json = latency_json(HistogramSummary{});
  json["count"] = nullptr;
  json["sum"] = *sum;
  return json;
}

}  // namespace

Json scheduler_json(const SchedulerInterval& scheduler) {
  Json json;
  SchedulerInterval::for_each_histogram(
      scheduler, [&](std::string_view name, const auto& histogram) {
        if (name == "run_queue_latency_ns") return;  // stands beside this object
        json[std::string(name)] = histogram ? latency_json(histogram->summary()) : Json(nullptr);
      });
  json["migrations"] = json_or_null(scheduler.migrations);
  for (size_t by = 0; by < kPreemptorCount; ++by) {
    const Preemptions& preemptions = scheduler.preempted_by[by];
    json["preempted_by"][std::string(preemptor_name(static_cast<Preemptor>(by)))] = {
        {"count", json_or_null(preemptions.count)}, {"wait_ns", json_or_null(preemptions.wait_ns)}};
  }
  for (size_t state = 0; state < kOffCpuStateCount; ++state) {
    const OffCpuTime& off = scheduler.off_cpu[state];
    json["off_cpu"][std::string(off_cpu_state_name(static_cast<OffCpuState>(state)))] = {
        {"count", json_or_null(off.count)}, {"ns", json_or_null(off.ns)}};
  }
  json["cpus"] = Json::array();
  for (const CpuScheduling& cpu : scheduler.cpus) {
    json["cpus"].push_back({{"cpu", cpu.cpu},
                            {"switches", cpu.switches},
                            {"waits", cpu.waits},
                            {"wait_ns", cpu.wait_ns},
                            {"queue_length",
                             {{"samples", cpu.queue_samples},
                              {"sum", cpu.queue_length_sum},
                              {"max", cpu.queue_length_max}}}});
  }
  return json;
}

Json thread_json(const ThreadRow& t) {
  Json preempted_by;
  for (size_t by = 0; by < kPreemptorCount; ++by)
    preempted_by[std::string(preemptor_name(static_cast<Preemptor>(by)))] =
        json_or_null(t.preempted_by[by]);
  return {{"pid", t.pid},
          {"tid", t.tid},
          {"start_time_ns", t.start_time_ns},
          {"name", t.name},
          {"exited", t.exited},
          {"cpu_ns", json_or_null(t.cpu_ns)},
          {"run_queue_wait_ns", times_json(t.run_queue_wait, t.run_queue_wait_ns)},
          {"on_cpu_ns", times_json(t.on_cpu, std::nullopt)},
          {"voluntary_switches", json_or_null(t.voluntary_switches)},
          {"involuntary_switches", json_or_null(t.involuntary_switches)},
          {"migrations", json_or_null(t.migrations)},
          {"preempted_by", preempted_by}};
}

}  // namespace topspin
