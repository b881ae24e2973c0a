// OpenMetrics text 1.0: what a run came to, one point a metric and run, stamped with the run's end.
//
// Families stand together over all runs, as the format demands, so the totals of each run are
// gathered first: their size does not depend on the run's length. Names and units are
// OpenTelemetry's process metrics where it has them (dots become underscores, the unit a suffix,
// counters end in _total); everything else begins with topspin_. Durations are in seconds.
// Histograms are classic buckets at powers of two of nanoseconds less one, where the stored
// buckets end as well, so that each count is exact. Absent metrics are left out.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/source_text.h"
#include "report/export.h"
#include "report/export_rows.h"
#include "report/run_summary.h"

namespace topspin {
namespace {

struct MeasuredTotals {
  const StoredRun* run = nullptr;
  RunSummary summary;
  std::optional<LoadResult> load;
};

/// A value with as many digits as it needs, never in a form that is not a number.
std::string number(double value) { return fmt::format("{}", value); }
std::string seconds(double ns) { return fmt::format("{:.9g}", ns / 1e9); }
/// Exact: nanoseconds moved by nine places.
std::string exact_seconds(int64_t ns) {
  const uint64_t magnitude = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  return fmt::format("{}{}.{:09}", ns < 0 ? "-" : "", magnitude / 1'000'000'000,
                     magnitude % 1'000'000'000);
}

std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : replace_unprintable(text)) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (c == '\r' || c == '\t')
      out += ' ';
    else
      out += c;
  }
  return out;
}

/// A name made of what OpenMetrics allows in one.
std::string label_name(std::string_view text) {
  std::string out = "label_";
  for (const char c : text) {
    const bool allowed =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    out += allowed ? c : '_';
  }
  return out;
}

class Exposition {
 public:
  Exposition(const std::vector<MeasuredTotals>& runs, ExportOutput& output)
      : runs_(runs), output_(output) {}

  /// value(totals) -> optional double, in the family's unit.
  template <typename Value>
  void counter(std::string_view name, std::string_view unit, std::string_view help, Value value,
               std::string_view labels = "") {
    family(name, "counter", unit, help);
    points(name, "_total", labels, value);
  }
  template <typename Value>
  void gauge(std::string_view name, std::string_view unit, std::string_view help, Value value) {
    family(name, "gauge", unit, help);
    points(name, "", "", value);
  }
  void family(std::string_view name, std::string_view type, std::string_view unit,
              std::string_view help) {
    name_ = name;
    head_ = fmt::format("# TYPE {} {}\n", name, type);
    if (!unit.empty()) head_ += fmt::format("# UNIT {} {}\n", name, unit);
    head_ += fmt::format("# HELP {} {}\n", name, help);
  }
  template <typename Value>
  void points(std::string_view name, std::string_view suffix, std::string_view labels,
              Value value) {
    totals(name, suffix, labels, [&](const MeasuredTotals& run) { return value(run.summary); });
  }
  /// The same of all that is known of a run.
  template <typename Value>
  void totals(std::string_view name, std::string_view suffix, std::string_view labels,
              Value value) {
    for (const MeasuredTotals& run : runs_) {
      const std::optional<double> v = value(run);
      if (v) sample(run, fmt::format("{}{}", name, suffix), labels, number(*v));
    }
  }
  template <typename Of>
  void histogram(std::string_view name, std::string_view help, Of of) {
    histogram_of_totals(name, help, [&](const MeasuredTotals& run) { return of(run.summary); });
  }
  template <typename Of>
  void histogram_of_totals(std::string_view name, std::string_view help, Of of) {
    family(name, "histogram", "seconds", help);
    for (const MeasuredTotals& run : runs_) {
      if (const Histogram* h = of(run)) add_histogram(run, name, *h);
    }
  }
  void signed_histogram(std::string_view name, std::string_view help) {
    family(name, "histogram", "seconds", help);
    for (const MeasuredTotals& run : runs_) add_signed(run, name, run.summary.flows.lateness);
  }
  void info() {
    family("topspin_run", "info", "", "Where and of what a run was recorded.");
    for (const MeasuredTotals& run : runs_) {
      const RunInfo& i = run.run->info;
      std::string labels = fmt::format(
          "status=\"{}\",commit=\"{}\",commit_state=\"{}\",branch=\"{}\",hostname=\"{}\",kernel=\"{"
          "}\","
          "topspin_version=\"{}\"",
          run_status_name(run.run->end.status), label_value(i.source.commit),
          commit_state_name(i.source), label_value(i.source.branch), label_value(i.host.hostname),
          label_value(i.host.kernel), label_value(i.topspin_version));
      // Two keys may become one name: the first stays, since a name may stand there once.
      std::vector<std::string> taken;
      for (const auto& [key, value] : i.labels) {
        const std::string label = label_name(key);
        if (std::find(taken.begin(), taken.end(), label) != taken.end()) continue;
        taken.push_back(label);
        labels += fmt::format(",{}=\"{}\"", label, label_value(value));
      }
      sample(run, "topspin_run_info", labels, "1");
    }
  }
  void end() { output_.write("# EOF\n"); }

 private:
  static constexpr int kFirstOctave = 10;  // 1 us
  static constexpr int kLastOctave = 35;   // 34 s

  /// A family's head stands before its first sample; one without samples is not there at all.
  void sample(const MeasuredTotals& run, std::string_view name, std::string_view labels,
              std::string_view value) {
    if (!head_.empty()) output_.write(head_);
    head_.clear();
    const int64_t end_ns = run.run->info.started_wall_ns + run.run->end.duration_ns;
    output_.write(fmt::format("{}{{run=\"{}\"{}{}}} {} {}\n", name, label_value(run.run->info.id),
                              labels.empty() ? "" : ",", labels, value, exact_seconds(end_ns)));
  }
  void bucket(const MeasuredTotals& run, std::string_view name, std::string_view le,
              uint64_t count) {
    sample(run, fmt::format("{}_bucket", name), fmt::format("le=\"{}\"", le),
           fmt::format("{}", count));
  }
  void add_histogram(const MeasuredTotals& run, std::string_view name, const Histogram& h) {
    add_octaves(run, name, h, 0);
    bucket(run, name, "+Inf", h.count());
    sample(run, fmt::format("{}_count", name), "", fmt::format("{}", h.count()));
    sample(run, fmt::format("{}_sum", name), "", seconds(static_cast<double>(h.sum())));
  }
  /// With negative buckets neither sum nor count may be given.
  void add_signed(const MeasuredTotals& run, std::string_view name, const SignedHistogram& h) {
    constexpr int kStep = 5;  // early is of less interest: every fifth octave
    uint64_t below = 0;
    uint32_t index = kHistogramBuckets;
    for (int octave = kLastOctave; octave >= kFirstOctave; octave -= kStep) {
      const int64_t edge = int64_t{1} << octave;  // a magnitude's lower edge
      while (index > 0 && histogram_bucket_min(index - 1) >= static_cast<uint64_t>(edge))
        below += h.negative().cell(--index);
      bucket(run, name, exact_seconds(-edge), below);
    }
    add_octaves(run, name, h.non_negative(), h.negative().count());
    bucket(run, name, "+Inf", h.count());
  }
  void add_octaves(const MeasuredTotals& run, std::string_view name, const Histogram& h,
                   uint64_t below) {
    uint32_t index = 0;
    for (int octave = kFirstOctave; octave <= kLastOctave; ++octave) {
      const int64_t edge = (int64_t{1} << octave) - 1;
      while (index < kHistogramBuckets &&
             histogram_bucket_max(index) <= static_cast<uint64_t>(edge))
        below += h.cell(index++);
      bucket(run, name, exact_seconds(edge), below);
    }
  }

  const std::vector<MeasuredTotals>& runs_;
  ExportOutput& output_;
  std::string name_;
  std::string head_;  // of a family that has no sample yet
};

template <typename T>
std::optional<double> of(const std::optional<T>& value) {
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}
std::optional<double> of(uint64_t value) { return static_cast<double>(value); }
template <typename T>
std::optional<double> in_seconds(const std::optional<T>& ns) {
  return ns ? std::optional(static_cast<double>(*ns) / 1e9) : std::nullopt;
}

template <typename T>
std::optional<T> scheduled(const RunSummary& s, std::optional<T> SchedulerInterval::*member) {
  return s.scheduler ? (*s.scheduler).*member : std::nullopt;
}

void write_process(Exposition& e) {
  using S = const RunSummary&;
  e.counter("process_cpu_time_seconds", "seconds", "CPU time of the subject.",
            [](S s) { return in_seconds(scheduled(s, &SchedulerInterval::cpu_ns)); });
  e.gauge("process_memory_usage_bytes", "bytes", "Resident memory of the subject at the end.",
          [](S s) { return of(s.rss_bytes.last); });
  e.gauge("process_memory_virtual_bytes", "bytes", "Address space of the subject at the end.",
          [](S s) { return of(s.vsz_bytes.last); });
  e.gauge("process_thread_count", "", "Threads of the subject at the end.",
          [](S s) { return of(s.threads.last); });
  e.gauge("process_unix_file_descriptor_count", "", "Open descriptors of the subject at the end.",
          [](S s) { return of(s.fds.last); });
  e.family("process_context_switches", "counter", "", "Context switches of the subject.");
  e.points("process_context_switches", "_total", "process_context_switch_type=\"voluntary\"",
           [](S s) { return of(scheduled(s, &SchedulerInterval::voluntary_switches)); });
  e.points("process_context_switches", "_total", "process_context_switch_type=\"involuntary\"",
           [](S s) { return of(scheduled(s, &SchedulerInterval::involuntary_switches)); });
  e.family("process_paging_faults", "counter", "", "Page faults of the subject.");
  e.points("process_paging_faults", "_total", "system_paging_fault_type=\"minor\"",
           [](S s) { return of(s.minor_faults); });
  e.points("process_paging_faults", "_total", "system_paging_fault_type=\"major\"",
           [](S s) { return of(s.major_faults); });
}

void write_memory(Exposition& e) {
  using S = const RunSummary&;
  e.gauge("topspin_rss_max_bytes", "bytes", "Most resident memory of the subject.",
          [](S s) { return of(s.rss_bytes.max); });
  e.gauge("topspin_pss_bytes", "bytes", "Proportional set size of the subject at the end.",
          [](S s) { return of(s.pss_bytes.last); });
  e.gauge("topspin_anonymous_bytes", "bytes", "Anonymous memory of the subject at the end.",
          [](S s) { return of(s.anonymous_bytes.last); });
  e.gauge("topspin_swap_bytes", "bytes", "Swapped memory of the subject at the end.",
          [](S s) { return of(s.swap_bytes.last); });
  e.gauge("topspin_mappings", "", "Memory mappings of the subject at the end.",
          [](S s) { return of(s.mappings.last); });
  e.gauge("topspin_processes", "", "Processes of the subject at the end.",
          [](S s) { return of(s.processes.last); });
}

void write_scheduler(Exposition& e) {
  using S = const RunSummary&;
  e.counter("topspin_run_queue_wait_seconds", "seconds",
            "Time that the subject's threads waited for a CPU.",
            [](S s) { return in_seconds(scheduled(s, &SchedulerInterval::run_queue_wait_ns)); });
  e.counter("topspin_kernel_run_delay_seconds", "seconds",
            "The same by the kernel's own sum, which may count sleeping from Linux 6.12 on.",
            [](S s) { return in_seconds(scheduled(s, &SchedulerInterval::kernel_run_delay_ns)); });
  e.counter("topspin_migrations", "", "Moves of the subject's threads to another CPU.",
            [](S s) { return of(scheduled(s, &SchedulerInterval::migrations)); });
  const auto histogram = [](std::optional<Histogram> SchedulerInterval::*member) {
    return [member](S s) -> const Histogram* {
      return s.scheduler && (*s.scheduler).*member ? &*((*s.scheduler).*member) : nullptr;
    };
  };
  e.histogram("topspin_run_queue_latency_seconds", "Runnable to running, by wait.",
              histogram(&SchedulerInterval::run_queue_latency));
  e.histogram("topspin_wake_delivery_seconds", "Waking to wakeup on another CPU.",
              histogram(&SchedulerInterval::wake_delivery));
  e.histogram("topspin_queue_wait_seconds", "Woken to running.",
              histogram(&SchedulerInterval::queue_wait));
  e.histogram("topspin_preemption_wait_seconds", "Preempted to running again.",
              histogram(&SchedulerInterval::preemption_wait));
  e.histogram("topspin_on_cpu_seconds", "Running, slice by slice.",
              histogram(&SchedulerInterval::on_cpu));
  e.histogram("topspin_timer_oversleep_seconds", "From when a timer was due to running.",
              histogram(&SchedulerInterval::timer_oversleep));
  e.family("topspin_perf_events", "counter", "", "Perf events of the subject, scaled, by event.");
  CounterInterval::for_each_field([&](std::string_view name, auto field) {
    if (name.ends_with("_ns")) return;  // CPU time: process_cpu_time_seconds has it
    e.points("topspin_perf_events", "_total", fmt::format("event=\"{}\"", name), [&](S s) {
      const std::optional<EventCount>& event = s.counters.*field;
      return event ? of(event->scaled()) : std::nullopt;
    });
  });
}

void write_sockets(Exposition& e) {
  using S = const RunSummary&;
  const auto histogram = [](std::optional<Histogram> SocketInterval::*member) {
    return [member](S s) -> const Histogram* {
      return s.sockets && (*s.sockets).*member ? &*((*s.sockets).*member) : nullptr;
    };
  };
  e.histogram("topspin_accept_delay_seconds", "Connection ready to accepted.",
              histogram(&SocketInterval::accept_delay));
  e.histogram("topspin_socket_wait_seconds", "Data ready in a socket to read.",
              histogram(&SocketInterval::socket_wait));
  e.histogram("topspin_reply_socket_seconds", "Of replies: data not read yet, a CPU at hand.",
              histogram(&SocketInterval::reply_socket));
  e.histogram("topspin_reply_cpu_queue_seconds", "Of replies: waiting for a CPU.",
              histogram(&SocketInterval::reply_cpu_queue));
  e.histogram("topspin_reply_runtime_seconds", "Of replies: the rest, the runtime's own part.",
              histogram(&SocketInterval::reply_runtime));
  e.counter("topspin_replies_multiplexed", "", "Turns that were not split into parts.",
            [](S s) { return s.sockets ? of(s.sockets->replies_multiplexed) : std::nullopt; });
  e.counter("topspin_udp_drops", "", "Datagrams dropped at the subject's sockets.",
            [](S s) { return s.sockets ? of(s.sockets->udp_drops) : std::nullopt; });
  e.counter("topspin_listen_overflows", "", "Connections refused at full accept queues.",
            [](S s) { return s.sockets ? of(s.sockets->listen_overflows) : std::nullopt; });
}

void write_flows(Exposition& e) {
  using S = const RunSummary&;
  e.gauge("topspin_active_flows", "", "Flows with a packet within the window before the end.",
          [](S s) { return of(s.flows.active_flows); });
  e.gauge("topspin_active_flows_max", "", "Most flows active at once.",
          [](S s) { return of(s.flows.active_flows_max); });
  e.gauge("topspin_live_flows", "", "Flows in the table at the end.",
          [](S s) { return of(s.flows.live_flows); });
  e.counter("topspin_flows", "", "Flows first seen.", [](S s) { return of(s.flows.new_flows); });
  e.counter("topspin_flows_ended", "", "Flows that ended.",
            [](S s) { return of(s.flows.ended_flows); });
  e.family("topspin_packets", "counter", "", "Packets of flows, by the end that sent them.");
  e.points("topspin_packets", "_total", "role=\"initiator\"",
           [](S s) { return of(s.flows.initiator_packets); });
  e.points("topspin_packets", "_total", "role=\"responder\"",
           [](S s) { return of(s.flows.responder_packets); });
  e.family("topspin_traffic_bytes", "counter", "bytes", "Bytes of flows, by who sent them.");
  e.points("topspin_traffic_bytes", "_total", "role=\"initiator\"",
           [](S s) { return of(s.flows.initiator_bytes); });
  e.points("topspin_traffic_bytes", "_total", "role=\"responder\"",
           [](S s) { return of(s.flows.responder_bytes); });
  e.counter("topspin_captured_packets", "", "All packets captured.",
            [](S s) { return of(s.flows.packets); });
  e.counter("topspin_missed_ticks", "", "Periods in which a flow sent nothing.",
            [](S s) { return of(s.flows.missed_ticks); });
  e.gauge("topspin_periodic_flows", "", "Flows with a period at the end.",
          [](S s) { return of(s.flows.periodic_flows); });
  e.gauge("topspin_periodic_flows_max", "", "Most flows with a period at once.",
          [](S s) { return of(s.periodic_flows_max); });
  e.gauge("topspin_silent_flows", "", "Flows with a period that were silent at the end.",
          [](S s) { return of(s.flows.silent_flows); });
  e.gauge("topspin_silent_flows_max", "", "Most flows silent at once.",
          [](S s) { return of(s.silent_flows_max); });
  e.counter("topspin_requests", "", "Requests.", [](S s) { return of(s.flows.requests); });
  e.counter("topspin_unanswered", "", "Requests without a reply within the timeout.",
            [](S s) { return of(s.flows.unanswered); });
  e.counter("topspin_late_replies", "", "Replies that came after the timeout.",
            [](S s) { return of(s.flows.late_replies); });
  e.counter("topspin_overlapping_requests", "",
            "Requests that were not measured: others were open on their flow.",
            [](S s) { return of(s.flows.overlapping_requests); });
  e.counter("topspin_handshake_turns", "", "Answered messages of TLS handshakes.",
            [](S s) { return of(s.flows.handshake_turns); });
  e.counter("topspin_multiplexed_turns", "", "Turns of connections that answer in any order.",
            [](S s) { return of(s.flows.multiplexed_turns); });
  e.counter("topspin_duplicate_packets", "", "Packets seen once more on another interface.",
            [](S s) { return of(s.flows.duplicate_packets); });
  e.counter("topspin_time_went_backwards", "", "Packets stamped before one that came earlier.",
            [](S s) { return of(s.flows.time_went_backwards); });
  e.counter("topspin_time_steps", "", "Steps of the packets' clock.",
            [](S s) { return of(s.flows.time_steps); });
  e.counter("topspin_tcp_retransmissions", "", "TCP segments sent again.",
            [](S s) { return of(s.flows.tcp_retransmissions); });
  e.counter("topspin_tcp_out_of_order", "", "TCP segments out of order.",
            [](S s) { return of(s.flows.tcp_out_of_order); });
  e.counter("topspin_tcp_handshakes", "", "TCP handshakes completed.",
            [](S s) { return of(s.flows.tcp_handshakes); });
  e.counter("topspin_tcp_resets", "", "TCP resets.", [](S s) { return of(s.flows.tcp_resets); });
  e.counter("topspin_tcp_refused", "", "TCP connections refused.",
            [](S s) { return of(s.flows.tcp_refused); });
  e.signed_histogram("topspin_lateness_seconds",
                     "How late packets came against their period; early is negative.");
  e.histogram("topspin_reply_latency_seconds", "Request to reply.",
              [](S s) { return &s.flows.reply_latency; });
  e.histogram("topspin_tcp_handshake_seconds", "SYN to the handshake's last ACK.",
              [](S s) { return &s.flows.tcp_handshake; });
}

/// What the load generator saw: the whole of each run's load.
void write_load(Exposition& e) {
  e.family("topspin_load_messages", "counter", "",
           "Messages of the load: pings, requests or connections, by what became of them.");
  LoadAccounts::for_each_field([&](std::string_view name, auto field) {
    e.totals("topspin_load_messages", "_total", fmt::format("state=\"{}\"", name),
             [&](const MeasuredTotals& run) {
               return run.load ? of(run.load->total.accounts.*field) : std::nullopt;
             });
  });
  e.family("topspin_load_http_answers", "counter", "", "Answers of HTTP by the class of status.");
  HttpAccounts{}.for_each_class([&](std::string_view name, uint64_t) {
    e.totals("topspin_load_http_answers", "_total",
             fmt::format("class=\"{}\"", name.substr(std::string_view("http_").size())),
             [&](const MeasuredTotals& run) -> std::optional<double> {
               std::optional<double> value;
               if (!run.load || !run.load->http) return value;
               run.load->http->for_each_class([&](std::string_view candidate, uint64_t count) {
                 if (candidate == name) value = static_cast<double>(count);
               });
               return value;
             });
  });
  const auto histogram = [&](std::string_view name, std::string_view help, auto member) {
    e.histogram_of_totals(name, help, [member](const MeasuredTotals& run) -> const Histogram* {
      return run.load ? &member(*run.load) : nullptr;
    });
  };
  histogram("topspin_load_latency_intended_seconds", "From the moment a message was due.",
            [](const LoadResult& load) -> const Histogram& { return load.total.latency_intended; });
  histogram("topspin_load_latency_actual_seconds", "From the moment a message was sent.",
            [](const LoadResult& load) -> const Histogram& { return load.total.latency_actual; });
  histogram("topspin_load_own_lateness_seconds", "How late the generator itself was.",
            [](const LoadResult& load) -> const Histogram& { return load.total.own_lateness; });
}

void write_losses(Exposition& e) {
  e.family("topspin_losses", "counter", "", "What was seen too late or not at all, by kind.");
  LossInterval::for_each_field([&](const char* name, auto field) {
    if (std::string_view(name).ends_with("_ns")) return;  // its own family, in seconds
    e.points("topspin_losses", "_total", fmt::format("kind=\"{}\"", name),
             [&](const RunSummary& s) { return of(s.losses.*field); });
  });
  e.counter("topspin_capture_gap_seconds", "seconds", "Time without a capture.",
            [](const RunSummary& s) {
              return std::optional(static_cast<double>(s.losses.capture_gap_ns) / 1e9);
            });
  e.counter(
      "topspin_self_cpu_seconds", "seconds", "CPU time of topspin itself.",
      [](const RunSummary& s) { return std::optional(static_cast<double>(s.self_cpu_ns) / 1e9); });
}

}  // namespace

Status export_openmetrics(RunStore& store, const std::vector<StoredRun>& runs,
                          ExportOutput& output) {
  std::vector<MeasuredTotals> totals(runs.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    totals[i].run = &runs[i];
    TOPSPIN_ASSIGN(const auto stages, store.load_stages(runs[i].info.id));
    totals[i].summary.load_end_ns = load_end_ns(stages);
    TOPSPIN_TRY(store.for_each_tick(runs[i].info.id,
                                    [&](const Sample& sample) { totals[i].summary.add(sample); }));
    TOPSPIN_ASSIGN(totals[i].load, store.load_load(runs[i].info.id));
  }
  Exposition exposition(totals, output);
  exposition.info();
  write_process(exposition);
  write_memory(exposition);
  write_scheduler(exposition);
  write_flows(exposition);
  write_sockets(exposition);
  write_load(exposition);
  write_losses(exposition);
  exposition.end();
  return output.finish();
}

}  // namespace topspin
