#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "core/headroom_watch.h"
#include "report/html/sections.h"
#include "report/html/table.h"
#include "report/model/headlines.h"

namespace topspin {
namespace {

std::string section_of(std::string_view id, std::string_view title, std::string_view note,
                       const std::string& body) {
  if (body.empty()) return {};
  return fmt::format("<section id=\"{}\"><h2>{}</h2>\n{}{}</section>\n", id, title,
                     note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>\n", note), body);
}

/// One part for each run that has something to show.
template <typename Make>
std::string for_each_run(const ReportPage& page, const Make& make) {
  std::string html;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const std::string part = make(page.runs[r]);
    if (part.empty()) continue;
    if (page.runs.size() > 1) html += fmt::format("<h3>{}</h3>\n", side_mark(page, r));
    html += part;
  }
  return html;
}

std::string titled_table(std::string_view title, const std::string& head, const std::string& rows) {
  if (rows.empty()) return {};
  return fmt::format(
      "<h3>{}</h3>\n{}", title,
      scrolling(std::string(title), "<table>" + head + "<tbody>" + rows + "</tbody></table>"));
}

std::string share_cell(double part, double whole) {
  return whole > 0 ? number_cell(page_percent(part / whole)) : absent_cell();
}

std::string clients_text(const std::optional<uint32_t>& from, const std::optional<uint32_t>& to) {
  if (!from || !to) return std::string(kNotMeasured);
  return *from == *to ? page_count(*to)
                      : fmt::format("{} to {}", page_count(*from), page_count(*to));
}

// ---- load

std::string stages_html(const RunPage& run) {
  std::string rows;
  for (const RunStage& stage : run.stages) {
    rows += "<tr>" + row_head(html_text(stage.name, 80)) +
            text_cell(html_text(stage_kind_name(stage.kind))) +
            number_cell(elapsed_text(stage.start_ns)) +
            (stage.end_ns ? number_cell(elapsed_text(*stage.end_ns)) : absent_cell()) +
            number_cell(clients_text(stage.clients_from, stage.clients_to)) + "</tr>\n";
  }
  return titled_table("Stages", table_head({"Stage", "Kind", "#From", "#To", "#Clients"}), rows);
}

std::string load_row(const std::string& name, const LoadPart& part, bool is_http) {
  const LoadAccounts& a = part.accounts;
  const HistogramSummary latency = part.latency_intended.summary();
  return "<tr>" + row_head(name) + number_cell(clients_text(part.clients_from, part.clients_to)) +
         number_cell(page_count(a.scheduled)) + number_cell(page_count(a.sent)) +
         number_cell(page_count(a.replied)) +
         (is_http ? number_cell(page_count(a.http_errors)) : std::string()) +
         number_cell(page_count(a.late_replies)) + number_cell(page_count(a.lost)) +
         number_cell(page_count(a.sent_late)) + number_cell(page_count(a.never_scheduled)) +
         duration_cell(latency.p50) + duration_cell(latency.p99) + duration_cell(latency.max) +
         "</tr>\n";
}

std::string load_html(const RunPage& run) {
  if (!run.load) return {};
  const LoadResult& load = *run.load;
  std::string rows;
  for (const LoadPart& part : load.stages) {
    if (&part - load.stages.data() >= static_cast<ptrdiff_t>(kPageStages)) break;
    rows += load_row(html_text(part.name, 80), part, load.http.has_value());
  }
  rows += load_row("<strong>all</strong>", load.total, load.http.has_value());
  std::string verdict =
      fmt::format("{} to {}, {}", workload_name(load.workload), html_text(load.target, 120),
                  load.valid() ? "valid" : "<span class=\"word-bad\">invalid</span>");
  for (const std::string& reason : load.invalid_reasons) verdict += "; " + html_text(reason);
  std::string statuses;
  if (load.http) {
    const uint64_t errors = load.http->errors();
    statuses =
        fmt::format("<p>HTTP statuses: {}; {}{} errors{}.</p>\n", http_statuses_text(*load.http),
                    errors > 0 ? "<span class=\"word-bad\">" : "", page_count(errors),
                    errors > 0 ? "</span>" : "");
  }
  return fmt::format("<p>{}.</p>\n", verdict) + statuses +
         titled_table(
             "What became of it",
             load.http
                 ? table_head({"Stage", "#Clients", "#Due", "#Sent", "#Replied", "#HTTP errors",
                               "#Late", "#Lost", "#Sent late", "#Not sent", "#p50", "#p99", "#Max"})
                 : table_head({"Stage", "#Clients", "#Due", "#Sent", "#Replied", "#Late", "#Lost",
                               "#Sent late", "#Not sent", "#p50", "#p99", "#Max"}),
             rows);
}

// ---- scheduling

std::string words(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

std::string preemptions_html(const SchedulerInterval& s) {
  std::string rows;
  for (size_t i = 0; i < kPreemptorCount; ++i) {
    const Preemptions& p = s.preempted_by[i];
    if (!p.count && !p.wait_ns) continue;
    rows += "<tr>" + row_head(words(preemptor_name(static_cast<Preemptor>(i)))) +
            count_cell(p.count) + duration_cell(p.wait_ns) + "</tr>\n";
  }
  return titled_table("Preempted by", table_head({"", "#Times", "#Waited"}), rows);
}

std::string waits_html(const SchedulerInterval& s) {
  std::string rows;
  const auto row = [&](std::string_view name, const std::optional<uint64_t>& ns) {
    if (ns) rows += "<tr>" + row_head(std::string(name)) + duration_cell(ns) + "</tr>\n";
  };
  row("Sum of its single waits", s.run_queue_wait_ns);
  row("The kernel's run_delay, which may count sleeping from Linux 6.12 on", s.kernel_run_delay_ns);
  return titled_table("Waiting for a CPU", table_head({"", "#Time"}), rows);
}

std::string off_cpu_html(const SchedulerInterval& s) {
  std::string rows;
  for (size_t i = 0; i < kOffCpuStateCount; ++i) {
    const OffCpuTime& t = s.off_cpu[i];
    if (!t.count && !t.ns) continue;
    rows += "<tr>" + row_head(words(off_cpu_state_name(static_cast<OffCpuState>(i)))) +
            count_cell(t.count) + duration_cell(t.ns) + "</tr>\n";
  }
  return titled_table("Off the CPU of its own accord", table_head({"", "#Times", "#Time"}), rows);
}

std::string cpus_html(const SchedulerInterval& s) {
  constexpr size_t kCpusShown = 64;
  std::string rows;
  for (size_t i = 0; i < std::min(s.cpus.size(), kCpusShown); ++i) {
    const CpuScheduling& c = s.cpus[i];
    const auto mean = [](uint64_t sum, uint64_t count) {
      return static_cast<double>(sum) / static_cast<double>(count);
    };
    rows +=
        "<tr>" + row_head(fmt::format("{}", c.cpu)) + number_cell(page_count(c.switches)) +
        number_cell(page_count(c.waits)) +
        (c.waits > 0 ? number_cell(page_duration(static_cast<int64_t>(mean(c.wait_ns, c.waits))))
                     : absent_cell()) +
        (c.queue_samples > 0
             ? number_cell(fmt::format("{:.2f}, {}", mean(c.queue_length_sum, c.queue_samples),
                                       page_count(c.queue_length_max)))
             : absent_cell()) +
        "</tr>\n";
  }
  return titled_table(
      "By CPU",
      table_head({"CPU", "#Switched to", "#After a wait", "#Mean wait", "#Queue, mean and max"}),
      rows);
}

std::string counters_html(const CounterInterval& counters) {
  std::string rows;
  CounterInterval::for_each_field([&](std::string_view name, auto field) {
    const auto& counter = counters.*field;
    if (!counter) return;
    const auto scaled = counter->scaled();
    rows += "<tr>" + row_head("<code>" + html_text(name) + "</code>");
    if (!scaled) {
      rows += absent_cell();
    } else {
      rows += number_cell(name.ends_with("_ns") ? page_duration(clamped(*scaled))
                                                : page_count(*scaled));
    }
    rows += share_cell(static_cast<double>(counter->running_ns),
                       static_cast<double>(counter->enabled_ns)) +
            "</tr>\n";
  });
  return titled_table("Counters", table_head({"Event", "#Count", "#Counted for"}), rows);
}

/// Escaped, and free to break behind each frame (and each entity, which nobody sees).
std::string frames_html(const std::string& frames) {
  std::string html;
  for (const char c : html_text(frames, 1000)) {
    html += c;
    if (c == ';') html += "<wbr>";
  }
  return html;
}

std::string stacks_html(const RunPage& run) {
  std::string rows;
  for (const StackRow& stack : run.stacks) {
    const std::string& frames = stack.frames;
    const size_t last = frames.rfind(';');
    const std::string innermost = last == std::string::npos ? frames : frames.substr(last + 1);
    rows += "<tr>" +
            share_cell(static_cast<double>(stack.samples), static_cast<double>(run.stack_samples)) +
            text_cell(html_text(stack.thread, 60)) +
            text_cell(fmt::format("<code>{}</code><span class=\"under\">{}</span>",
                                  html_text(innermost, 120), frames_html(frames))) +
            "</tr>\n";
  }
  return titled_table("Where CPU time went", table_head({"#Share", "Thread", "Stack"}), rows);
}

// ---- sockets

/// The three parts of a mean reply as one bar, in widths of an SVG: a policy without inline styles
/// leaves no other way to draw a number without a script.
std::string reply_bar(const SocketInterval& s) {
  struct Part {
    std::string_view name;
    const std::optional<Histogram>* histogram;
    std::string_view look;
  };
  const std::array<Part, 3> parts = {{{"in the socket", &s.reply_socket, "main"},
                                      {"waiting for a CPU", &s.reply_cpu_queue, "tail"},
                                      {"in the runtime", &s.reply_runtime, "third"}}};
  double whole = 0;
  std::array<double, 3> means{};
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto& histogram = *parts[i].histogram;
    if (!histogram || histogram->empty()) continue;
    means[i] = static_cast<double>(histogram->sum()) / static_cast<double>(histogram->count());
    whole += means[i];
  }
  if (whole <= 0) return {};
  std::string bars, words_html;
  double x = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double width = 1000 * means[i] / whole;
    bars += fmt::format(R"(<rect class="{}" x="{:.1f}" y="0" width="{:.1f}" height="22"/>)",
                        parts[i].look, x, width);
    x += width;
    words_html += fmt::format("<li><i class=\"key {}\"></i>{} <b>{}</b> {}</li>", parts[i].look,
                              parts[i].name, page_duration(static_cast<int64_t>(means[i])),
                              page_percent(means[i] / whole));
  }
  return fmt::format(
      "<h3>Inside a mean reply of {}</h3>\n<svg class=\"bar\" viewBox=\"0 0 1000 22\" "
      "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Parts of a mean reply\">{}</svg>\n"
      "<ul class=\"legend parts\">{}</ul>\n",
      page_duration(static_cast<int64_t>(whole)), bars, words_html);
}

std::string sockets_html(const RunPage& run) {
  std::string html;
  if (run.summary.sockets) {
    const SocketInterval& s = *run.summary.sockets;
    html += reply_bar(s);
    std::string rows;
    const auto row = [&](std::string_view name, const std::optional<uint64_t>& value) {
      if (value) rows += "<tr>" + row_head(std::string(name)) + count_cell(value) + "</tr>\n";
    };
    row("Turns that were not split: TLS handshakes and multiplexed connections",
        s.replies_multiplexed);
    row("Fullest accept queue", s.accept_queue_max);
    row("Its limit", s.accept_queue_limit);
    row("Connections refused for want of room in an accept queue", s.listen_overflows);
    row("Connections refused for another reason", s.syn_drops);
    row("Accept queues that overflowed, of the whole network namespace", s.host_listen_overflows);
    row("Connections dropped, of the whole network namespace", s.host_listen_drops);
    row("Datagrams dropped at the subject's sockets", s.udp_drops);
    if (!rows.empty()) html += scrolling("Sockets", "<table><tbody>" + rows + "</tbody></table>");
  }
  std::string rows;
  for (const SocketRow& socket : run.socket_rows) {
    const bool listens = socket.accept_queue_limit.has_value();
    rows += "<tr>" +
            row_head(html_text(format_protocol(socket.protocol) + " " +
                               format_endpoint(socket.local, socket.ip_version))) +
            number_cell(fmt::format("{}", socket.pid));
    const auto& most = listens ? socket.accept_queue_max : socket.receive_queue_bytes_max;
    const auto& limit = listens ? socket.accept_queue_limit : socket.receive_queue_bytes_limit;
    for (const auto& value : {most, limit}) {
      rows += !value    ? absent_cell()
              : listens ? number_cell(page_count(*value))
                        : number_cell(page_bytes(clamped(*value)));
    }
    rows += number_cell(page_count(socket.drops)) + "</tr>\n";
  }
  html +=
      titled_table("Listening and UDP sockets",
                   table_head({"Socket", "#Process", "#Queue, max", "#Limit", "#Dropped"}), rows);
  if (run.sockets_in_all > run.socket_rows.size()) {
    html += fmt::format("<p class=\"note\">The {} that dropped the most, of {}.</p>\n",
                        run.socket_rows.size(), page_count(run.sockets_in_all));
  }
  return html;
}

// ---- system calls

std::string syscalls_html(const RunPage& run) {
  std::string rows;
  for (const SyscallRow& call : run.syscalls) {
    const HistogramSummary s = call.latency.summary();
    const auto inside = static_cast<double>(call.latency.sum());
    rows += "<tr>" + row_head("<code>" + html_text(call.name, 60) + "</code>") +
            number_cell(page_count(call.count)) + number_cell(page_count(call.errors)) +
            number_cell(page_duration(clamped(call.latency.sum()))) +
            number_cell(page_duration(clamped(call.working_ns()))) +
            share_cell(static_cast<double>(std::min(call.blocked_ns, call.latency.sum())), inside) +
            duration_cell(s.p50) + duration_cell(s.p99) + duration_cell(s.max) + "</tr>\n";
  }
  if (rows.empty()) return {};
  std::string html =
      scrolling("System calls", "<table>" +
                                    table_head({"Call", "#Calls", "#Errors", "#Inside", "#On a CPU",
                                                "#Blocked", "#p50", "#p99", "#Max"}) +
                                    "<tbody>" + rows + "</tbody></table>");
  if (run.syscalls_in_all > run.syscalls.size()) {
    html += fmt::format("<p class=\"note\">The {} that took the most time, of {}.</p>\n",
                        run.syscalls.size(), run.syscalls_in_all);
  }
  return html;
}

// ---- cost and limits

std::string amount(bool bytes, double value) {
  return page_number(bytes ? Unit::kBytes : Unit::kCount, value);
}

std::string per_flow_html(const PerFlowCost& cost) {
  std::string rows;
  const auto row = [&](std::string_view name, const std::optional<Slope>& slope, bool bytes) {
    if (!slope) return;
    rows += "<tr>" + row_head(std::string(name)) + number_cell(amount(bytes, slope->value)) +
            number_cell(amount(bytes, slope->ci_low) + " to " + amount(bytes, slope->ci_high)) +
            "</tr>\n";
  };
  row("Resident memory", cost.rss_bytes, true);
  row("Proportional memory", cost.pss_bytes, true);
  row("Address space", cost.vsz_bytes, true);
  row("Mappings", cost.mappings, false);
  row("Descriptors", cost.fds, false);
  return titled_table("Cost of a flow", table_head({"", "#Each flow", "#Interval"}), rows);
}

std::string headroom_html(const std::vector<Headroom>& headroom) {
  std::string rows;
  for (const Headroom& h : headroom) {
    const auto count = [](int64_t flows) {
      return page_count(static_cast<uint64_t>(std::max<int64_t>(flows, 0)));
    };
    rows += "<tr>" + row_head(words(h.limit)) + number_cell(count(h.flows)) +
            number_cell(count(h.flows_low) + " to " + count(h.flows_high)) + "</tr>\n";
  }
  return titled_table("Flows at which a limit is reached, at that cost",
                      table_head({"", "#Flows", "#Interval"}), rows);
}

std::string leak_html(const LeakReport& leak) {
  if (leak.metrics.empty()) return {};
  std::string rows;
  for (const LeakMetric& m : leak.metrics) {
    const bool bytes = m.name.ends_with("_bytes");
    const char* tone = m.verdict == LeakVerdict::kLeak      ? "bad"
                       : m.verdict == LeakVerdict::kUnclear ? "open"
                                                            : "good";
    rows +=
        "<tr>" + row_head("<code>" + html_text(m.name) + "</code>") +
        fmt::format(R"(<td class="word-{}">{}</td>)", tone, leak_verdict_name(m.verdict)) +
        (m.residue ? number_cell(amount(bytes, *m.residue)) : absent_cell()) +
        (m.slope_per_s ? number_cell(amount(bytes, m.slope_per_s->value) + "/s") : absent_cell()) +
        text_cell(html_text(m.reason)) + "</tr>\n";
  }
  return titled_table(
      fmt::format("Leak: {}, {}", leak_verdict_name(leak.verdict), html_text(leak.reason)),
      table_head({"", "Verdict", "#Not back", "#Since", "Why"}), rows);
}

std::string limits_html(const RunPage& run) {
  const ResourceReading& r = run.resources;
  std::string rows;
  const auto row = [&](std::string_view name, const LimitUse& use, bool bytes) {
    if (!use.used || !use.limit) return;
    const auto text = [&](int64_t value) {
      return bytes ? page_bytes(value)
                   : page_count(static_cast<uint64_t>(std::max<int64_t>(value, 0)));
    };
    rows += "<tr>" + row_head(std::string(name)) + number_cell(text(*use.used)) +
            number_cell(text(*use.limit)) +
            share_cell(static_cast<double>(*use.used), static_cast<double>(*use.limit)) + "</tr>\n";
  };
  row("Memory of the host that is left to it", r.memory_bytes, true);
  row("Address space of a process", r.address_space_bytes, true);
  row("Mappings of a process", r.process_mappings, false);
  row("Descriptors of a process", r.process_fds, false);
  return per_flow_html(run.growth.per_flow) + headroom_html(run.growth.headroom) +
         titled_table("Use of limits, as last read, of the process nearest to its own",
                      table_head({"", "#Used", "#Limit", "#Share"}), rows) +
         leak_html(run.growth.leak);
}

}  // namespace

std::string load_section(const ReportPage& page) {
  return section_of("load", "Load", "", for_each_run(page, [](const RunPage& run) {
                      return load_html(run) + stages_html(run);
                    }));
}

std::string scheduling_section(const ReportPage& page) {
  return section_of("scheduling", "Scheduling", "", for_each_run(page, [](const RunPage& run) {
                      std::string left, right;
                      if (run.summary.scheduler) {
                        left = waits_html(*run.summary.scheduler) +
                               preemptions_html(*run.summary.scheduler) +
                               off_cpu_html(*run.summary.scheduler);
                        right = cpus_html(*run.summary.scheduler);
                      }
                      right += counters_html(run.summary.counters);
                      std::string html;
                      if (!left.empty() || !right.empty()) {
                        html = "<div class=\"columns wide\"><div>" + left + "</div><div>" + right +
                               "</div></div>\n";
                      }
                      return html + stacks_html(run);
                    }));
}

std::string sockets_section(const ReportPage& page) {
  return section_of("sockets", "Sockets", "", for_each_run(page, sockets_html));
}

std::string syscalls_section(const ReportPage& page) {
  return section_of("syscalls", "System calls",
                    "Inside: from entry to return, summed over all calls; blocked is the share of "
                    "it spent off a CPU.",
                    for_each_run(page, syscalls_html));
}

std::string limits_section(const ReportPage& page) {
  return section_of("limits", "Cost and limits", "", for_each_run(page, limits_html));
}

}  // namespace topspin
