// Chrome's trace event format (JSON), as Perfetto and chrome://tracing read it.
//
// A run is one process of the trace. It has
//  - counters for each tick ("C");
//  - the subject's threads ("M"), each with a slice ("X") over the run, whose arguments are the
//    thread's totals and the distributions of its waits and of its slices on a CPU. Below it is a
//    slice for each tick in which the thread was among those that ran and waited longest;
//  - stages of a plan as slices, the run's events, and late messages as instants ("i") at their
//    flow's last packet in the tick;
//  - a track ("b", "e") for each of the slowest replies, exact to the nanosecond. Below it are its
//    times unread and inside, and below those their parts. The parts are drawn one after the other,
//    although their true order is not known;
//  - a track for each of the longest busy stretches, with what ran most in it.
// topspin does not record single switches, so a tick's slice shows how its time was spent, but not
// when. Times are microseconds since the run's start, with nanoseconds as decimals. Flow times are
// on the packets' clock, and are shifted by the difference between the clocks in the first tick.
#include <algorithm>
#include <array>
#include <functional>

#include <fmt/format.h>

#include "ci/metrics/long_stretches.h"
#include "report/export/export.h"
#include "report/export/rows.h"
#include "report/json/json_object.h"

namespace topspin {
namespace {

/// Nanoseconds as microseconds, exactly.
std::string micros(int64_t ns) {
  const uint64_t magnitude = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  return fmt::format("{}{}.{:03}", ns < 0 ? "-" : "", magnitude / 1000, magnitude % 1000);
}

class Trace {
 public:
  explicit Trace(ExportOutput& output) : output_(output) {
    output_.write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
  }
  void metadata(std::string_view what, size_t process, int64_t thread, const std::string& name) {
    write(begin("M", what)("pid", process)("tid", thread)
              .raw("args", JsonObject().text("name", name).end()));
  }
  /// `arguments` is a JSON object.
  void counter(size_t process, int64_t at_ns, std::string_view name, std::string_view arguments) {
    write(begin("C", name)("pid", process).raw("ts", micros(at_ns)).raw("args", arguments));
  }
  void instant(size_t process, int64_t at_ns, std::string_view category, const std::string& name,
               std::string_view arguments) {
    write(begin("i", name)
              .text("s", "p")
              .text("cat", category)("pid", process)("tid", 0)
              .raw("ts", micros(at_ns))
              .raw("args", arguments));
  }
  void slice(size_t process, int64_t thread, int64_t begin_ns, int64_t length_ns,
             std::string_view category, const std::string& name, std::string_view arguments) {
    write(begin("X", name)
              .text("cat", category)("pid", process)("tid", thread)
              .raw("ts", micros(begin_ns))
              .raw("dur", micros(length_ns))
              .raw("args", arguments));
  }
  /// A slice on the track of `id`. REQUIRES: the slices of a track come outermost first.
  void slice_of_track(size_t process, int64_t thread, const std::string& id, int64_t begin_ns,
                      int64_t length_ns, std::string_view category, std::string_view name,
                      std::string_view arguments, const std::function<void()>& inner = {}) {
    const auto event = [&](std::string_view phase, int64_t at_ns) {
      JsonObject one = begin(phase, name);
      one.text("cat", category)
          .text("id", id)("pid", process)("tid", thread)
          .raw("ts", micros(at_ns));
      return one;
    };
    JsonObject first = event("b", begin_ns);
    write(first.raw("args", arguments));
    if (inner) inner();
    JsonObject last = event("e", begin_ns + length_ns);
    write(last);
  }
  Status end() {
    output_.write("\n]}\n");
    return output_.finish();
  }

 private:
  static JsonObject begin(std::string_view phase, std::string_view name) {
    JsonObject event;
    event.text("ph", phase).text("name", name);
    return event;
  }
  void write(JsonObject& event) {
    output_.write(first_ ? "\n" : ",\n");
    output_.write(event.end());
    first_ = false;
  }

  ExportOutput& output_;
  bool first_ = true;
};

template <typename T>
void add_counter(Trace& trace, size_t process, int64_t at_ns, std::string_view name,
                 const std::optional<T>& value) {
  if (value) trace.counter(process, at_ns, name, JsonObject()(name, *value).end());
}

void add_tick(Trace& trace, size_t process, const Sample& sample) {
  // Counts are of the interval, so they are drawn from its beginning; gauges are drawn at its end.
  const int64_t end = sample.elapsed_ns, begin = std::max<int64_t>(0, end - sample.interval_ns);
  const FlowInterval& f = sample.flows;
  const auto count = [&](std::string_view name, uint64_t value) {
    add_counter(trace, process, begin, name, std::optional(value));
  };
  add_counter(trace, process, end, "active_flows", std::optional(f.active_flows));
  count("packets", f.packets);
  count("late_flows", f.late_flows);
  count("missed_ticks", f.missed_ticks);
  add_counter(trace, process, end, "silent_flows", std::optional(f.silent_flows));
  count("requests", f.requests);
  count("unanswered", f.unanswered);
  count("tcp_retransmissions", f.tcp_retransmissions);
  count("tcp_resets", f.tcp_resets);
  count("tcp_refused", f.tcp_refused);
  add_counter(trace, process, begin, "reply_latency_ns_p99", f.reply_latency.percentile(0.99));
  add_counter(trace, process, begin, "lateness_ns_p99", f.lateness.percentile(0.99));
  if (const auto& s = sample.scheduler) {
    add_counter(trace, process, begin, "cpu_ns", s->cpu_ns);
    add_counter(trace, process, begin, "run_queue_wait_ns", s->run_queue_wait_ns);
    add_counter(trace, process, begin, "kernel_run_delay_ns", s->kernel_run_delay_ns);
    add_counter(trace, process, begin, "voluntary_switches", s->voluntary_switches);
    add_counter(trace, process, begin, "involuntary_switches", s->involuntary_switches);
    if (s->run_queue_latency)
      add_counter(trace, process, begin, "run_queue_latency_ns_p99",
                  s->run_queue_latency->percentile(0.99));
    for (const CpuScheduling& cpu : s->cpus) {
      trace.counter(process, begin, fmt::format("cpu {}", cpu.cpu),
                    JsonObject()("switches", cpu.switches)("wait_ns", cpu.wait_ns).end());
    }
  }
  if (const auto& s = sample.sockets) {
    add_counter(trace, process, end, "accept_queue_max", s->accept_queue_max);
    add_counter(trace, process, begin, "udp_drops", s->udp_drops);
  }
  if (const auto& r = sample.resources) {
    add_counter(trace, process, end, "rss_bytes", r->rss_bytes);
    add_counter(trace, process, end, "threads", r->threads);
    add_counter(trace, process, end, "fds", r->fds);
  }
}

/// The fields of a row that were measured, as a JSON object.
template <typename ForEach>
std::string arguments_of(ForEach for_each) {
  JsonObject object;
  for_each([&](std::string_view name, const auto& value) {
    if constexpr (requires { value.has_value(); }) {
      if (value) object(name, *value);
    } else if constexpr (std::is_convertible_v<decltype(value), std::string_view>) {
      object.text(name, value);
    } else {
      object(name, value);
    }
  });
  return object.end();
}

/// Adds the number and the lengths of a thread's waits or slices.
template <typename Visit>
void add_distribution(Visit visit, std::string_view name,
                      const std::optional<CoarseHistogram>& histogram) {
  if (!histogram) return;
  const HistogramSummary s = histogram->summary();
  visit(joined(name, "_count"), s.count);
  visit(joined(name, "_p50"), s.p50);
  visit(joined(name, "_p99"), s.p99);
  visit(joined(name, "_max"), s.max);
}

/// "on CPU 12.5%, waited 0.3%"; a part that was not measured is left out.
std::string share_text(const ThreadTick& moment) {
  const auto percent = [&](uint64_t ns) {
    return moment.interval_ns <= 0
               ? 0
               : 100 * static_cast<double>(ns) / static_cast<double>(moment.interval_ns);
  };
  std::string text;
  if (moment.cpu_ns) text = fmt::format("on CPU {:.1f}%", percent(*moment.cpu_ns));
  if (moment.run_queue_wait_ns) {
    text += fmt::format("{}waited {:.1f}%", text.empty() ? "" : ", ",
                        percent(*moment.run_queue_wait_ns));
  }
  return text;
}

void add_slow_reply(Trace& trace, size_t process, const StoredRun& run, size_t number,
                    const SlowReply& reply) {
  const std::string id = fmt::format("{}.{}", process, number);
  const int64_t ready_ns =
      static_cast<int64_t>(reply.ready_ns) - static_cast<int64_t>(run.info.started_monotonic_ns);
  const auto slice = [&](int64_t begin_ns, uint64_t length_ns, std::string_view name,
                         std::string_view arguments, const std::function<void()>& inner = {}) {
    trace.slice_of_track(process, reply.sender_tid, id, begin_ns, static_cast<int64_t>(length_ns),
                         "slow_reply", name, arguments, inner);
  };
  const auto half = [&](std::string_view name, size_t first, size_t end, int64_t begin_ns) {
    uint64_t length_ns = 0;
    for (size_t i = first; i < end; ++i) length_ns += reply.parts[i];
    if (length_ns == 0) return begin_ns;
    slice(begin_ns, length_ns, name, "{}", [&] {
      int64_t at_ns = begin_ns;
      for (size_t i = first; i < end; ++i) {
        if (reply.parts[i] == 0) continue;
        slice(at_ns, reply.parts[i], reply_part_names()[i].label,
              JsonObject().text("order", "not known").end());
        at_ns += static_cast<int64_t>(reply.parts[i]);
      }
    });
    return begin_ns + static_cast<int64_t>(length_ns);
  };
  slice(ready_ns, reply.total_ns, "slow reply",
        arguments_of([&](auto visit) { for_each_slow_reply_field(reply, visit); }), [&] {
          constexpr auto kInside = static_cast<size_t>(ReplyPart::kOnCpu);
          const int64_t read_ns = half("unread in the socket", 0, kInside, ready_ns);
          half("inside", kInside, kReplyPartCount, read_ns);
        });
}

void add_stretch(Trace& trace, size_t process, const StoredRun& run, size_t number,
                 const LongStretches& stretches, const BusyStretch& stretch) {
  const StretchSum sum = sum_of(stretches, std::array{&stretch});
  trace.slice_of_track(process, stretch.tid, fmt::format("{}.stretch.{}", process, number),
                       stretch.began_ns - run.info.started_monotonic_ns,
                       static_cast<int64_t>(stretch.length_ns), "busy_stretch",
                       sum.most ? "busy: " + sum.most->name : "busy", arguments_of([&](auto visit) {
                         for_each_busy_stretch_field(stretch, visit);
                         if (sum.most) visit(std::string("most_samples"), sum.most->samples);
                       }));
}

Status add_run(RunStore& store, const StoredRun& run, size_t process, Trace& trace) {
  const std::string& id = run.info.id;
  trace.metadata("process_name", process, 0, fmt::format("run {}", id));
  TOPSPIN_TRY(
      store.for_each_tick(id, [&](const Sample& sample) { add_tick(trace, process, sample); }));
  TOPSPIN_ASSIGN(const auto stages, store.load_stages(id));
  for (const RunStage& stage : stages) {
    trace.slice(process, 0, stage.start_ns,
                stage.end_ns.value_or(run.end.duration_ns) - stage.start_ns, "stage", stage.name,
                arguments_of([&](auto visit) { for_each_stage_field(stage, visit); }));
  }
  TOPSPIN_TRY(store.for_each_thread(id, [&](const ThreadRow& thread) {
    trace.metadata("thread_name", process, thread.tid, thread.name);
    trace.slice(process, thread.tid, 0, run.end.duration_ns, "thread", thread.name,
                arguments_of([&](auto visit) {
                  for_each_thread_field(thread, visit);
                  add_distribution(visit, "run_queue_wait_ns", thread.run_queue_wait);
                  add_distribution(visit, "on_cpu_ns", thread.on_cpu);
                }));
  }));
  TOPSPIN_TRY(store.for_each_thread_tick(id, [&](const ThreadTick& moment) {
    trace.slice(process, moment.tid, std::max<int64_t>(0, moment.elapsed_ns - moment.interval_ns),
                std::min(moment.interval_ns, moment.elapsed_ns), "tick", share_text(moment),
                arguments_of([&](auto visit) {
                  visit(std::string("cpu_ns"), moment.cpu_ns);
                  visit(std::string("run_queue_wait_ns"), moment.run_queue_wait_ns);
                  visit(std::string("run_queue_waits"), moment.run_queue_waits);
                }));
  }));
  TOPSPIN_TRY(store.for_each_late_message(id, [&](const LateMessage& late) {
    const int64_t start_ns = packet_clock_at_start(run.info, late.time_ns);
    trace.instant(process, late.time_ns - start_ns, "late", fmt::format("late: {}", late.initiator),
                  arguments_of([&](auto visit) {
                    visit(std::string("flow"), late.flow);
                    visit(std::string("lateness_ns"), late.lateness_ns);
                  }));
  }));
  TOPSPIN_ASSIGN(const LongStretches stretches, read_long_stretches(store, id));
  for (size_t i = 0; i < stretches.longest.size(); ++i)
    add_stretch(trace, process, run, i + 1, stretches, stretches.longest[i]);
  size_t replies = 0;
  TOPSPIN_TRY(store.for_each_slow_reply(
      id, [&](const SlowReply& reply) { add_slow_reply(trace, process, run, ++replies, reply); }));
  return store.for_each_event(id, [&](const StoredEvent& event) {
    trace.instant(process, event.elapsed_ns, "event", event.text, "{}");
  });
}

}  // namespace

Status export_perfetto(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output) {
  Trace trace(output);
  for (size_t i = 0; i < runs.size(); ++i) TOPSPIN_TRY(add_run(store, runs[i], i + 1, trace));
  return trace.end();
}

}  // namespace topspin
