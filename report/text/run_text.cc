#include "report/text/run_text.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/clock.h"
#include "core/source_text.h"
#include "core/text.h"
#include "core/thread_wait.h"
#include "report/document/number_views.h"
#include "report/json/flow_json.h"
#include "report/text/resource_text.h"
#include "report/text/socket_text.h"
#include "report/text/text_parts.h"

namespace topspin {
namespace {

constexpr size_t kThreadsShown = 12;
constexpr size_t kTicksCharted = 60;

std::string safe(std::string_view text) { return sanitize_for_terminal(text); }

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

template <typename T>
std::string count_or_dash(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "-";
}

std::string bytes_or_dash(const std::optional<int64_t>& value) {
  return value ? format_bytes(*value) : "-";
}

std::string command_line(const std::vector<std::string>& command) {
  return safe(fmt::format("{}", fmt::join(command, " ")));
}

std::string verdict(const StoredRun& run, const RunStanding& standing) {
  std::string text = standing_text(standing, run.end.status);
  if (run.end.exit_status) text += fmt::format(", command exited with {}", *run.end.exit_status);
  return text;
}

/// Eight heights, the greatest value full; at most kTicksCharted columns, each the greatest of its
/// share. A gap where nothing was measured, which is not 0.
std::string sparkline(const std::vector<std::optional<double>>& values) {
  static constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty()) return {};
  const double top = std::max_element(values.begin(), values.end())->value_or(0);  // absent: least
  const size_t columns = std::min(values.size(), kTicksCharted);
  std::string out;
  for (size_t c = 0; c < columns; ++c) {
    const size_t from = c * values.size() / columns;
    const size_t to = std::max(from + 1, (c + 1) * values.size() / columns);
    const auto value = *std::max_element(values.begin() + static_cast<ptrdiff_t>(from),
                                         values.begin() + static_cast<ptrdiff_t>(to));
    if (!value) {
      out += " ";
      continue;
    }
    const auto height = top > 0 ? static_cast<size_t>(*value / top * 7 + 0.5) : 0;
    out += kBars[std::min<size_t>(height, 7)];
  }
  return out;
}

template <typename Value>
std::string chart_row(const RunReport& report, std::string_view name, Value value,
                      std::string_view top) {
  std::vector<std::optional<double>> values;
  for (const ReportTick& tick : report.ticks) values.push_back(value(tick));
  return fmt::format("  {:<18} {} max {}\n", name, sparkline(values), top);
}

std::string gauge_row(std::string_view name, const GaugeSummary& gauge,
                      std::string (*format)(const std::optional<int64_t>&)) {
  return fmt::format("  {:<18} {:>12} {:>12}\n", name, format(gauge.max), format(gauge.last));
}

std::string losses_text(const LossInterval& losses) {
  std::string text;
  LossInterval::for_each_field([&](std::string_view name, auto field) {
    if (losses.*field != 0) text += fmt::format("  {} {}", name, losses.*field);
  });
  return text.empty() ? "  none" : text;
}

/// "server 4242", with a mark for what is not certain; "-" where nobody is known.
std::string owner_text(const FlowOwner* owner) {
  if (owner == nullptr) return "-";
  return fmt::format("{} {}{}", or_dash(safe_at_line_start(owner->name)), owner->pid,
                     owner->quality == OwnerQuality::kShared ? "+" : "");
}

/// The flows with the most packets: their ends, who owns those, and how they fared.
std::string busiest_flows_text(const RunReport& report) {
  if (report.busiest_flows.empty()) return {};
  const auto time = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string("-");
  };
  const bool periods = has_lateness(report.summary, report.run.info.settings);
  const auto late = [&](std::string text) {
    return periods ? fmt::format(" {:>9}", text) : std::string();
  };
  std::string out = fmt::format("\n  {:<58} {:>9}{} {:>9} {:>10}\n", "busiest flows", "packets",
                                late("late max"), "reply max", "unanswered");
  bool shared = false;
  for (const FlowRow& flow : report.busiest_flows) {
    const FlowOwner* owners[] = {report.owners.find(flow.owners[0]),
                                 report.owners.find(flow.owners[1])};
    const std::string ends = fmt::format("{} {} > {}", format_protocol(flow.key.protocol),
                                         format_endpoint(flow.initiator(), flow.key.ip_version),
                                         format_endpoint(flow.responder(), flow.key.ip_version));
    out += fmt::format("  {:<58} {:>9}{} {:>9} {:>10}{}\n", ends, flow.packets[0] + flow.packets[1],
                       late(time(flow.lateness_max_ns)), time(flow.reply_latency_max_ns),
                       flow.unanswered, flow.silent ? "  SILENT" : "");
    if (owners[0] == nullptr && owners[1] == nullptr) continue;
    out += fmt::format("      {} > {}\n", owner_text(owners[0]), owner_text(owners[1]));
    for (const FlowOwner* owner : owners)
      shared |= owner != nullptr && owner->quality == OwnerQuality::kShared;
  }
  if (shared) out += "  (+: one of several processes that share the socket or the port)\n";
  return out;
}

std::string time_text(const std::optional<uint64_t>& ns) {
  return format_duration(static_cast<int64_t>(ns.value_or(0)));
}

/// Who preempted, what its threads slept for, and the CPUs with the longest queues.
std::string scheduler_causes_text(const SchedulerInterval& scheduler) {
  std::string out;
  std::string parts;
  for (size_t by = 0; by < kPreemptorCount; ++by) {
    const Preemptions& preemptions = scheduler.preempted_by[by];
    if (preemptions.count.value_or(0) == 0) continue;
    parts += fmt::format("{}{} {} ({})", parts.empty() ? "" : ", ",
                         preemptor_name(static_cast<Preemptor>(by)), *preemptions.count,
                         time_text(preemptions.wait_ns));
  }
  if (!parts.empty()) out += fmt::format("preempted by  {}\n", parts);
  parts.clear();
  for (size_t state = 0; state < kOffCpuStateCount; ++state) {
    const OffCpuTime& off = scheduler.off_cpu[state];
    if (off.count.value_or(0) == 0) continue;
    parts += fmt::format("{}{} {} ({})", parts.empty() ? "" : ", ",
                         off_cpu_state_name(static_cast<OffCpuState>(state)), *off.count,
                         time_text(off.ns));
  }
  if (!parts.empty()) out += fmt::format("off CPU       {}\n", parts);
  uint64_t samples = 0;
  uint64_t lengths = 0;
  uint64_t longest = 0;
  for (const CpuScheduling& cpu : scheduler.cpus) {
    samples += cpu.queue_samples;
    lengths += cpu.queue_length_sum;
    longest = std::max(longest, cpu.queue_length_max);
  }
  if (samples > 0)
    out += fmt::format(
        "run queues    {:.1f} threads on average when one of its own was woken, at "
        "most {}{}; {} CPUs\n",
        static_cast<double>(lengths) / static_cast<double>(samples), longest,
        longest == 63 ? " or more" : "", scheduler.cpus.size());
  return out;
}

}  // namespace

namespace {

std::string load_text(const LoadResult& load) {
  const LoadAccounts& a = load.total.accounts;
  const HistogramSummary latency = load.total.latency_intended.summary();
  const auto time = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string("-");
  };
  std::string out = fmt::format(
      "\nload      {} to {}: {} due, {} sent, {} replied, {} late, {} lost; seen p50 {}, p99 {}, "
      "max "
      "{}\n",
      workload_name(load.workload), safe(load.target), a.scheduled, a.sent, a.replied,
      a.late_replies, a.lost, time(latency.p50), time(latency.p99), time(latency.max));
  if (load.http) {
    out += fmt::format("http      statuses {}; {} of {} answers were errors\n",
                       http_statuses_text(*load.http), load.http->errors(),
                       a.replied + a.late_replies);
  }
  if (load.tcp && load.tcp->lost() > 0) {
    const TcpAccounts& t = *load.tcp;
    out += fmt::format(
        "          lost: {} refused, {} reset, {} truncated, {} timed out, {} failed otherwise\n",
        t.refused, t.reset_before_bytes + t.reset_after_bytes, t.truncated, t.timeouts, t.failed);
  }
  return out;
}

}  // namespace

std::string run_report_text(const RunReport& report) {
  const RunInfo& info = report.run.info;
  const RunSummary& s = report.summary;
  const FlowInterval& f = s.flows;
  std::string out;
  out += fmt::format("run {}  {}  {}\n", safe(info.id), format_utc(info.started_wall_ns),
                     format_duration(report.run.end.duration_ns));
  out += fmt::format("  status   {}\n", verdict(report.run, report.standing));
  for (const std::string& reason : report.standing.reasons) {
    out += fmt::format("  {:<10} {}\n", report.standing.usable ? "NOT JUDGED" : "NOT USABLE",
                       safe(reason));
  }
  for (const std::string& note : report.standing.notes)
    out += fmt::format("  {:<10} {}\n", "DOUBTFUL", safe(note));
  for (const SloResult& slo : report.slos) {
    out +=
        fmt::format("  {:<8} {}: {}\n",
                    slo.verdict == SloVerdict::kBroken ? "BROKEN" : slo_verdict_name(slo.verdict),
                    safe(slo.rule), safe(slo.explanation));
  }
  if (!info.command.empty()) out += fmt::format("  command  {}\n", command_line(info.command));
  out += fmt::format("  subject  {}   interface {}   filter {}\n", safe(info.settings.subject),
                     safe(info.settings.interface), or_dash(safe(info.settings.filter)));
  if (!info.source.commit.empty()) {
    out += fmt::format("  commit   {}{}  {}\n", safe(info.source.commit.substr(0, 12)),
                       commit_remark(info.source), safe(info.source.branch));
  }
  if (!info.labels.empty()) {
    out += "  labels  ";
    for (const auto& [key, value] : info.labels)
      out += fmt::format(" {}={}", safe(key), safe(value));
    out += "\n";
  }
  out += fmt::format(
      "  host     {}  {}  {} x {}{}\n", safe(info.host.hostname), safe(info.host.kernel),
      count_or_dash(info.host.cpus_online), or_dash(safe(info.host.cpu_model)),
      info.host.hypervisor.empty() ? ""
                                   : fmt::format("  (virtual: {})", safe(info.host.hypervisor)));
  std::string without_subject;  // one line for all of them
  for (const ProbeStatus& probe : info.probes) {
    if (probe.rung == Rung::kNone && probe.reason.starts_with("no subject")) {
      without_subject += (without_subject.empty() ? "" : ", ") + safe(probe.name);
      continue;
    }
    out += fmt::format("  probe    {} by {}{}\n", safe(probe.name), rung_name(probe.rung),
                       probe.reason.empty() ? "" : fmt::format(" ({})", safe(probe.reason)));
  }
  if (!without_subject.empty())
    out += fmt::format("  no subject, so not measured: {}\n", without_subject);

  out += fmt::format("\nflows     {} seen, at most {}{} active at once, {} active at the end\n",
                     f.new_flows, f.active_is_lower_bound ? "at least " : "", f.active_flows_max,
                     f.active_flows);
  out += fmt::format("packets   {} ({} bytes); tcp {}, udp {}\n", f.packets, f.bytes, f.tcp.packets,
                     f.udp.packets);
  out += super_packets_text(f);
  out += traffic_notes_text(f, "");
  const bool periods = has_lateness(s, info.settings);
  if (periods) {
    out += fmt::format("periods   {}\n", silence_text(s.periodic_flows_max, s.silent_flows_max, f));
  }
  out += fmt::format("lost     {}\n\n", losses_text(s.losses));

  out += latency_table_header();
  if (periods) out += latency_table_row("lateness", f.lateness.summary());
  out += reply_latency_rows(f, info.settings.reply_timeout_ns);
  if (!f.tcp_handshake.empty())
    out += latency_table_row("tcp handshake", f.tcp_handshake.summary());
  if (s.scheduler) {
    const auto row = [&](std::string_view name, const std::optional<Histogram>& histogram) {
      if (histogram) out += latency_table_row(name, histogram->summary());
    };
    row("run-queue latency", s.scheduler->run_queue_latency);
    row("  woken, queued", s.scheduler->queue_wait);
    row("  preempted", s.scheduler->preemption_wait);
    row("wake-up delivery", s.scheduler->wake_delivery);
    row("on CPU", s.scheduler->on_cpu);
    if (s.scheduler->timer_oversleep && !s.scheduler->timer_oversleep->empty()) {
      row("timer oversleep", s.scheduler->timer_oversleep);
      row("  slack", s.scheduler->timer_slack);
      row("  late expiry", s.scheduler->timer_late_expiry);
      row("  fired, queued", s.scheduler->timer_queueing);
    }
  }
  if (s.sockets) out += socket_latency_rows(*s.sockets);

  if (report.ticks.size() > 1) {
    out += "\n";
    out += chart_row(
        report, "active flows",
        [](const ReportTick& t) { return static_cast<double>(t.sample.flows.active_flows); },
        fmt::format("{}", f.active_flows_max));
    const auto of = [](const std::optional<int64_t>& value) {
      return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
    };
    const auto reply = [&](const ReportTick& t) { return of(t.reply_latency_ns.p99); };
    double top = 0;
    for (const ReportTick& t : report.ticks) top = std::max(top, reply(t).value_or(0));
    if (top > 0)
      out += chart_row(report, "reply p99", reply, format_duration(static_cast<int64_t>(top)));
    if (s.rss_bytes.max) {
      out += chart_row(
          report, "rss",
          [&](const ReportTick& t) {
            return t.sample.resources ? of(t.sample.resources->rss_bytes) : std::nullopt;
          },
          format_bytes(*s.rss_bytes.max));
    }
  }

  if (s.scheduler) {
    out += fmt::format(
        "\ncpu       {}{}\nswitches  {} voluntary, {} involuntary; {} migrations\n",
        s.scheduler->cpu_ns ? format_duration(static_cast<int64_t>(*s.scheduler->cpu_ns)) : "-",
        s.scheduler->cpu_ns && report.run.end.duration_ns > 0
            ? fmt::format(" ({:.1f}% of one CPU)",
                          100 * static_cast<double>(*s.scheduler->cpu_ns) /
                              static_cast<double>(report.run.end.duration_ns))
            : "",
        count_or_dash(s.scheduler->voluntary_switches),
        count_or_dash(s.scheduler->involuntary_switches), count_or_dash(s.scheduler->migrations));
    if (s.scheduler->kernel_run_delay_ns) {
      out +=
          fmt::format("waiting   {} for a CPU; the kernel's own run_delay: {}\n",
                      s.scheduler->run_queue_wait_ns
                          ? format_duration(static_cast<int64_t>(*s.scheduler->run_queue_wait_ns))
                          : "-",
                      format_duration(static_cast<int64_t>(*s.scheduler->kernel_run_delay_ns)));
    }
    out += scheduler_causes_text(*s.scheduler);
  }
  if (s.rss_bytes.max || s.threads.max) {
    const auto count = [](const std::optional<int64_t>& v) { return count_or_dash(v); };
    out += fmt::format("\n  {:<18} {:>12} {:>12}\n", "", "max", "last");
    out += gauge_row("rss", s.rss_bytes, bytes_or_dash);
    out += gauge_row("pss", s.pss_bytes, bytes_or_dash);
    out += gauge_row("anonymous", s.anonymous_bytes, bytes_or_dash);
    if (s.file_bytes.max) out += gauge_row("file", s.file_bytes, bytes_or_dash);
    if (s.shared_bytes.max) out += gauge_row("shared", s.shared_bytes, bytes_or_dash);
    if (s.swap_bytes.max.value_or(0) > 0) out += gauge_row("swap", s.swap_bytes, bytes_or_dash);
    if (s.page_table_bytes.max) out += gauge_row("page tables", s.page_table_bytes, bytes_or_dash);
    if (s.cgroup_bytes.max) out += gauge_row("cgroup", s.cgroup_bytes, bytes_or_dash);
    out += gauge_row("vsz", s.vsz_bytes, bytes_or_dash);
    out += gauge_row("mappings", s.mappings, count);
    out += gauge_row("processes", s.processes, count);
    out += gauge_row("threads", s.threads, count);
    out += gauge_row("fds", s.fds, count);
    const std::pair<const char*, const GaugeSummary&> kinds[] = {
        {"  sockets", s.socket_fds},
        {"  pipes", s.pipe_fds},
        {"  files", s.file_fds},
        {"  epoll and such", s.anonymous_fds},
        {"  other", s.other_fds}};
    for (const auto& [name, gauge] : kinds) {
      if (gauge.max.value_or(0) > 0) out += gauge_row(name, gauge, count);
    }
    out += "\n" + growth_text(report.growth) + pressure_text(s.pressure);
  }
  out += counters_text(s.counters);
  if (!report.threads.empty()) {
    out +=
        fmt::format("\n  {:>8} {:>8} {:<16} {:>9} {:>9} {:>9} {:>10} {:>10} {:>9}\n", "pid", "tid",
                    "thread", "cpu", "runq wait", "wait max", "voluntary", "involunt.", "migrated");
    const auto time = [](const std::optional<uint64_t>& ns) {
      return ns ? format_duration(static_cast<int64_t>(*ns)) : std::string("-");
    };
    for (size_t i = 0; i < report.threads.size() && i < kThreadsShown; ++i) {
      const ThreadRow& t = report.threads[i];
      out += fmt::format("  {:>8} {:>8} {:<16} {:>9} {:>9} {:>9} {:>10} {:>10} {:>9}\n", t.pid,
                         t.tid, safe(t.name), time(t.cpu_ns), time(waited_ns(t)),
                         time(t.run_queue_wait_max_ns), count_or_dash(t.voluntary_switches),
                         count_or_dash(t.involuntary_switches), count_or_dash(t.migrations));
    }
    if (report.threads.size() > kThreadsShown) {
      out += fmt::format("  and {} more\n", report.threads.size() - kThreadsShown);
    }
    if (std::any_of(report.threads.begin(), report.threads.end(),
                    [](const ThreadRow& t) { return t.run_queue_wait_ns && !t.run_queue_wait; })) {
      out += "  (runq wait by the kernel's run_delay: single waits were not measured)\n";
    }
  }
  if (const std::string counts = other_counts_text(s.fold); !counts.empty()) out += "\n" + counts;
  if (report.load) out += load_text(*report.load);
  out += sockets_text(report);
  out += syscalls_text(report);
  out += busiest_flows_text(report);
  for (const StoredEvent& event : report.events) {
    out +=
        fmt::format("\nevent     at {}: {}", format_duration(event.elapsed_ns), safe(event.text));
  }
  if (!report.events.empty()) out += "\n";
  out += fmt::format("\ntopspin   {} of CPU, {} resident at most\n", format_duration(s.self_cpu_ns),
                     format_bytes(s.self_rss_bytes_max));
  return out;
}

std::string run_list_text(const std::vector<ListedRun>& runs) {
  std::string out =
      fmt::format("{:<36}  {:<24} {:>9} {:<12} {:<7} {:<7} {:<21} {}\n", "RUN", "STARTED",
                  "DURATION", "STATUS", "USABLE", "JUDGED", "COMMIT", "COMMAND OR SUBJECT");
  for (const auto& [run, standing] : runs) {
    std::string what =
        run.info.command.empty() ? safe(run.info.settings.subject) : command_line(run.info.command);
    for (const auto& [key, value] : run.info.labels)
      what += fmt::format(" {}={}", safe(key), safe(value));
    out += fmt::format("{:<36}  {:<24} {:>9} {:<12} {:<7} {:<7} {:<21} {}\n",
                       safe_at_line_start(run.info.id), format_utc(run.info.started_wall_ns),
                       format_duration(run.end.duration_ns), run_status_name(run.end.status),
                       standing.usable ? "yes" : "no", standing.may_be_judged ? "may be" : "no",
                       or_dash(safe(short_commit(run.info.source))), what);
  }
  return out;
}

}  // namespace topspin
