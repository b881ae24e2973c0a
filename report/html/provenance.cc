#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/document/number_views.h"
#include "report/html/sections.h"
#include "report/html/table.h"
#include "report/model/headlines.h"

namespace topspin {
namespace {

class Definitions {
 public:
  /// `html` is escaped already; an empty one is left out.
  void add(std::string_view term, const std::string& html) {
    if (!html.empty()) list_ += fmt::format("<dt>{}</dt><dd>{}</dd>\n", html_text(term), html);
  }
  std::string html() const { return "<dl>" + list_ + "</dl>\n"; }

 private:
  std::string list_;
};

std::string host_html(const HostInfo& host) {
  Definitions list;
  list.add("Host", html_text(host.hostname));
  list.add("CPU", host.cpus_online
                      ? fmt::format("{} × {}", *host.cpus_online, html_text(host.cpu_model))
                      : html_text(host.cpu_model));
  list.add("Memory", host.memory_bytes ? page_bytes(*host.memory_bytes) : "");
  list.add("System", html_text(host.os));
  list.add("Kernel", html_text(host.kernel) + " " + html_text(host.architecture));
  list.add("Virtual machine", html_text(host.hypervisor));
  list.add("Fingerprint", host.fingerprint.empty()
                              ? ""
                              : fmt::format("<code>{}</code>", html_text(host.fingerprint)));
  return list.html();
}

std::string settings_html(const RunPage& page) {
  const RunInfo& info = page.run.info;
  const RunSettings& s = info.settings;
  Definitions list;
  list.add("Run", fmt::format("<code>{}</code>", html_text(info.id)));
  if (!info.command.empty()) {
    list.add("Command",
             fmt::format("<code>{}</code>",
                         html_text(fmt::format("{}", fmt::join(info.command, " ")), 2000)));
  }
  list.add("Subject", html_text(s.subject));
  list.add("Interface", html_text(s.interface));
  list.add("Filter", html_text(s.filter, 2000));
  list.add("Period",
           s.period_ns ? page_duration(*s.period_ns) : "learned, of flows that are regular");
  list.add("Window", page_duration(s.window_ns));
  list.add("Tick", page_duration(s.interval_ns));
  list.add("Reply timeout", page_duration(s.reply_timeout_ns));
  list.add("Ticks", page_count(page.run.ticks));
  list.add("Status", std::string(run_status_name(page.run.end.status)));
  list.add("topspin", html_text(info.topspin_version));
  return list.html();
}

std::string probes_html(const std::vector<ProbeStatus>& probes) {
  if (probes.empty()) return {};
  std::string rows;
  for (const ProbeStatus& probe : probes) {
    rows += "<tr>" + row_head(html_text(probe.name, 80)) +
            fmt::format("<td><code>{}</code></td>", rung_name(probe.rung)) +
            text_cell(html_text(probe.reason)) + "</tr>\n";
  }
  return scrolling("Probes", "<table>" + table_head({"Probe", "Rung", "Why not a better one"}) +
                                 "<tbody>" + rows + "</tbody></table>");
}

std::string losses_html(const LossInterval& losses) {
  std::string rows;
  LossInterval::for_each_number([&](const Number& number, auto field) {
    const std::string_view name = LossInterval::bare_name(number), what = number.label;
    const uint64_t raw = losses.*field;
    rows += fmt::format(
        "<tr>{}<td class=\"n{}\"><data value=\"{}\" data-path=\"losses.{}\">{}</data></td></tr>\n",
        row_head(fmt::format("<code>{}</code><span class=\"under\">{}</span>", html_text(name),
                             html_text(what))),
        raw == 0 ? " absent" : "", raw, html_text(name),
        name.ends_with("_ns") ? page_duration(clamped(raw)) : page_count(raw));
  });
  return scrolling("Losses", "<table><tbody>" + rows + "</tbody></table>");
}

std::string self_html(const RunPage& page) {
  const RunSummary& s = page.summary;
  Definitions list;
  std::string cpu = page_duration(s.self_cpu_ns);
  if (page.elapsed_ns > 0) {
    cpu += fmt::format(", {} of one CPU", page_percent(static_cast<double>(s.self_cpu_ns) /
                                                       static_cast<double>(page.elapsed_ns)));
  }
  list.add("CPU", cpu);
  if (s.flows.packets > 0) {
    list.add("CPU per packet",
             page_duration(static_cast<int64_t>(static_cast<double>(s.self_cpu_ns) /
                                                static_cast<double>(s.flows.packets))));
  }
  list.add("BPF programs",
           s.self_bpf_ns ? page_duration(*s.self_bpf_ns) : "run time not counted by this kernel");
  list.add("Resident memory", page_bytes(s.self_rss_bytes_max) + " at most");
  if (s.host_steal_ns && page.elapsed_ns > 0) {
    list.add("Stolen by the hypervisor", page_percent(static_cast<double>(*s.host_steal_ns) /
                                                      static_cast<double>(page.elapsed_ns)) +
                                             " of one CPU");
  }
  return list.html();
}

}  // namespace

std::string numbers_section(const ReportPage& page) {
  std::string html = "<section id=\"numbers\"><h2>All numbers</h2>\n";
  for (size_t r = 0; r < page.runs.size(); ++r) {
    html +=
        fmt::format("<details><summary>{}Every number that was measured</summary>{}</details>\n",
                    side_prefix(page, r),
                    scrolling("All numbers",
                              numbers_html_table(page.runs[r].summary.fold, has_lateness(page))));
  }
  return html + "</section>\n";
}

std::string provenance_section(const ReportPage& page) {
  std::string html = "<section id=\"provenance\"><h2>How it was measured</h2>\n";
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    const std::string side = side_prefix(page, r);
    html += fmt::format("<div class=\"columns\"><div><h3>{}Host</h3>\n{}</div>\n", side,
                        host_html(run.run.info.host));
    html +=
        fmt::format("<div><h3>{}Run and settings</h3>\n{}</div></div>\n", side, settings_html(run));
    html += fmt::format("<div class=\"columns\"><div><h3>{}Probes</h3>\n{}", side,
                        probes_html(run.run.info.probes));
    html += fmt::format("<h3>{}What topspin itself used</h3>\n{}</div>\n", side, self_html(run));
    html += fmt::format("<div><h3>{}Losses</h3>\n{}</div></div>\n", side,
                        losses_html(run.summary.losses));
  }
  return html + "</section>\n";
}

}  // namespace topspin
