#include "report/markdown/markdown_report.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/check.h"
#include "core/source_text.h"
#include "core/thread_wait.h"
#include "report/document/number_views.h"
#include "report/document/readable.h"
#include "report/export/export.h"
#include "report/html/plot_data.h"
#include "report/model/headlines.h"

namespace topspin {
namespace {

constexpr size_t kTimelineRows = 20;
constexpr size_t kThreadsShown = 12;
constexpr size_t kMetricsShown = 200;

/// Between a sign and what it would refer to: nothing to see, and no mention, issue or address.
constexpr std::string_view kWordJoiner = "\u2060";

struct Section {
  std::string_view name;  // as the closing sentence calls it
  std::string text;       // ends in a newline
};

std::string code(std::string_view text, size_t most_bytes = 200) {
  return "<code>" + markdown_text(text, most_bytes) + "</code>";
}

std::string bold_word(const TopVerdict& top) {
  const char* mark = top.tone == Tone::kGood ? "✅" : top.tone == Tone::kBad ? "❌" : "⚠️";
  return fmt::format("## {} {}\n\n{}\n", mark, top.word, top.sentence);
}

/// The verdict, with as many of its reasons as fit: this section is never left out.
std::string verdict_section(const TopVerdict& top, std::string_view title, size_t max_bytes) {
  std::string text = bold_word(top);
  if (!title.empty()) text += "\n" + markdown_text(title, 80) + "\n";
  if (top.reasons.empty()) return text;
  text += "\n";
  const std::string_view more_layout = "- and 00000000000000000000 more\n";
  for (size_t i = 0; i < top.reasons.size(); ++i) {
    const std::string line = "- " + markdown_text(top.reasons[i], 400) + "\n";
    if (text.size() + line.size() + more_layout.size() > max_bytes) {
      text += fmt::format("- and {} more\n", top.reasons.size() - i);
      break;
    }
    text += line;
  }
  return text;
}

/// Joins what fits. The first section is kept whatever its size, which its maker has bounded.
std::string fitted(std::vector<Section> sections, size_t max_bytes) {
  const auto closing = [](const std::vector<std::string_view>& dropped) {
    return dropped.empty()
               ? std::string()
               : fmt::format("\n<sub>Left out to fit: {}.</sub>\n", fmt::join(dropped, ", "));
  };
  size_t bytes = 0;
  for (const Section& section : sections) bytes += section.text.size() + 1;
  std::vector<std::string_view> dropped;
  while (sections.size() > 1 && bytes + closing(dropped).size() > max_bytes) {
    bytes -= sections.back().text.size() + 1;
    dropped.insert(dropped.begin(), sections.back().name);
    sections.pop_back();
  }
  std::string text;
  for (const Section& section : sections) {
    if (!text.empty()) text += "\n";
    text += section.text;
  }
  return text + closing(dropped);
}

std::string share(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? format_change(*value) : std::string(kNotMeasured);
}

std::string comparison_table(const Judgement& judgement) {
  std::string text =
      "| metric | A | B | change | 95% interval | margin | n | verdict |\n"
      "| :-- | --: | --: | --: | --: | --: | --: | :-- |\n";
  for (size_t i = 0; i < std::min(judgement.metrics.size(), kMetricsShown); ++i) {
    const Comparison& c = judgement.metrics[i];
    const Verdict settled = settled_verdict(judgement, c);
    const std::string verdict =
        settled == Verdict::kFail && c.metric.gating
            ? "**fail**"
            : fmt::format("{}{}", verdict_name(settled), c.metric.gating ? "" : " (informs)");
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", code(c.metric.name, 80),
                        markdown_text(metric_value(c.metric.unit, c.a)),
                        markdown_text(metric_value(c.metric.unit, c.b)), page_change(c, c.change),
                        page_interval(c), page_amount(c, c.margin), c.n, verdict);
  }
  if (judgement.metrics.size() > kMetricsShown)
    text += fmt::format("\nand {} metrics more\n", judgement.metrics.size() - kMetricsShown);
  return text + fmt::format("\n<sub>Change of B against A; seed {}.</sub>\n", judgement.seed);
}

std::string changes_table(const Judgement& judgement) {
  if (judgement.changes.empty()) return "No change of level.\n";
  std::string text =
      "| metric | first on the new level | before | after | change | |\n"
      "| :-- | :-- | --: | --: | --: | :-- |\n";
  for (size_t i = 0; i < std::min(judgement.changes.size(), kMetricsShown); ++i) {
    const HistoryChange& c = judgement.changes[i];
    text += fmt::format("| {} | {} | {:.5g} | {:.5g} | {} | {}{}{} |\n", code(c.metric, 80),
                        c.time.empty() ? fmt::format("{}", c.index) : markdown_text(c.time, 120),
                        c.point.before, c.point.after, share(c.point.change),
                        c.worse ? "**worse**" : "better", c.acknowledged ? ", acknowledged" : "",
                        c.recovered ? ", recovered since" : "");
  }
  return text;
}

std::vector<Section> judgement_sections(const Judgement& judgement) {
  std::vector<Section> sections;
  if (judgement.mode == "history") {
    sections.push_back({"the changes", changes_table(judgement)});
  } else if (!judgement.metrics.empty()) {
    sections.push_back({"the comparison", comparison_table(judgement)});
  }
  return sections;
}

std::string run_line(const ReportPage& page, size_t r) {
  const StoredRun& run = page.runs[r].run;
  const std::string_view side = side_name(page, r);
  const RunStanding& standing = page.runs[r].standing;
  std::string text =
      fmt::format("- {}{}, {}, {}, {}", side.empty() ? "" : fmt::format("**{}** ", side),
                  code(run_title(run), 160), page_time(run.info.started_wall_ns),
                  page_duration(run.end.duration_ns),
                  standing.may_be_judged ? "usable, may be judged"
                  : standing.usable      ? "usable, **may not be judged**"
                                         : "**not usable**");
  if (!standing.reasons.empty())
    text += ": " + markdown_text(fmt::format("{}", fmt::join(standing.reasons, "; ")), 600);
  for (const std::string& note : standing.notes) text += "; " + markdown_text(note, 600);
  if (!run.info.source.commit.empty())
    text += ", commit " + code(run.info.source.commit.substr(0, 12)) +
            std::string(commit_remark(run.info.source));
  const auto losses = losses_that_occurred(page.runs[r].summary.losses);
  std::vector<std::string> parts;
  for (const LossCount& loss : losses)
    parts.push_back(fmt::format("{} {}", code(loss.name), loss.text));
  text +=
      losses.empty() ? "; nothing was lost" : fmt::format("; losses: {}", fmt::join(parts, ", "));
  return text + "\n";
}

std::string headline_table(const ReportPage& page) {
  const bool two = page.runs.size() > 1;
  std::string text = two ? "| | A | B |\n| :-- | --: | --: |\n" : "| | | |\n| :-- | --: | :-- |\n";
  for (const Headline& h : headlines(page)) {
    text += "| " + h.label + " | " + (two ? "" : "**") + h.of_run[0].text + (two ? "" : "**") +
            " | " + (two ? h.of_run[1].text : h.of_run[0].extra) + " |\n";
  }
  return text;
}

std::string latency_table(const ReportPage& page) {
  std::string text =
      "| latency | samples | min | p50 | p90 | p99 | p99.9 | max |\n"
      "| :-- | --: | --: | --: | --: | --: | --: | --: |\n";
  bool any = false;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (const LatencyCurve& d : distributions(page.runs[r])) {
      any = true;
      const std::string_view side = side_name(page, r);
      text += fmt::format("| {}{} | {} |", side.empty() ? "" : fmt::format("{}: ", side), d.title,
                          page_count(d.summary.count));
      for (const auto& value : {d.summary.min, d.summary.p50, d.summary.p90, d.summary.p99,
                                d.summary.p999, d.summary.max}) {
        text += fmt::format(" {} |", !value ? std::string(kNotMeasured)
                                     : d.id == "reply_latency_ns"
                                         ? reply_latency_text(page.runs[r], *value)
                                         : page_duration(*value));
      }
      text += "\n";
    }
  }
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const FlowInterval& f = page.runs[r].summary.flows;
    if (f.reply_latency.empty() && f.unanswered == 0) continue;
    const std::string_view side = side_name(page, r);
    text += fmt::format("\n{}{}\n", side.empty() ? "" : fmt::format("{}: ", side),
                        unanswered_text(page.runs[r]));
  }
  return any ? text : std::string();
}

/// Sections that a reader may want and can do without are folded.
std::string folded(std::string_view title, const std::string& body) {
  return fmt::format("<details><summary>{}</summary>\n\n{}\n</details>\n", title, body);
}

std::string timeline_table(const ReportPage& page, size_t r) {
  constexpr std::string_view kShown[] = {"active_flows",
                                         "missed_ticks",
                                         "silent_flows",
                                         "unanswered",
                                         "lateness_ns_p99",
                                         "reply_latency_ns_p99",
                                         "run_queue_latency_ns_p99",
                                         "cpu",
                                         "rss_bytes"};
  const Timeline timeline = page.runs[r].timeline.folded(kTimelineRows);
  std::vector<size_t> curves;
  std::vector<Unit> units;
  std::string text = "| time |", rule = "| --: |";
  for (size_t c = 0; c < curve_specs().size(); ++c) {
    const CurveSpec& curve = curve_specs()[c];
    if (std::find(std::begin(kShown), std::end(kShown), curve.name) == std::end(kShown)) continue;
    if (!timeline.measured(c)) continue;
    const auto figure = std::find_if(figure_specs().begin(), figure_specs().end(),
                                     [&](const FigureSpec& f) { return f.id == curve.figure; });
    curves.push_back(c);
    units.push_back(figure->unit);
    text += fmt::format(" {} |", curve.name == "cpu" ? "cpu" : curve.name);
    rule += " --: |";
  }
  if (curves.empty()) return {};
  text += "\n" + rule + "\n";
  for (size_t i = 0; i < timeline.bins().size(); ++i) {
    text += fmt::format("| {:.1f} s |", static_cast<double>(timeline.bins()[i].end_ns) / 1e9);
    for (size_t k = 0; k < curves.size(); ++k) {
      const CurveBin& bin = timeline.curve(curves[k])[i];
      if (bin.absent) {
        text += fmt::format(" {} |", kNotMeasured);
        continue;
      }
      const std::string low = page_number(units[k], bin.min);
      const std::string high = page_number(units[k], bin.max);
      text += low == high ? fmt::format(" {} |", high) : fmt::format(" {} – {} |", low, high);
    }
    text += "\n";
  }
  return text;
}

std::string threads_table(const RunPage& run) {
  if (run.threads.empty()) return {};
  std::string text =
      "| thread | process | cpu | waited | longest wait | voluntary | involuntary |\n"
      "| :-- | --: | --: | --: | --: | --: | --: |\n";
  const auto time = [](const std::optional<uint64_t>& ns) {
    return ns ? page_duration(static_cast<int64_t>(std::min<uint64_t>(*ns, INT64_MAX)))
              : std::string(kNotMeasured);
  };
  const auto count = [](const std::optional<uint64_t>& n) {
    return n ? page_count(*n) : std::string(kNotMeasured);
  };
  for (size_t i = 0; i < std::min(run.threads.size(), kThreadsShown); ++i) {
    const ThreadRow& t = run.threads[i];
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", code(t.name, 60), t.pid,
                        time(t.cpu_ns), time(waited_ns(t)), time(t.run_queue_wait_max_ns),
                        count(t.voluntary_switches), count(t.involuntary_switches));
  }
  if (run.threads_in_all > kThreadsShown)
    text += fmt::format("\nand {} more\n", run.threads_in_all - kThreadsShown);
  return text;
}

std::string flows_table(const RunPage& run) {
  if (run.busiest_flows.empty()) return {};
  const bool periods = has_lateness(run.summary, run.run.info.settings);
  std::string text = periods ? "| flow | packets | latest | missed | reply max | unanswered |\n"
                               "| :-- | --: | --: | --: | --: | --: |\n"
                             : "| flow | packets | reply max | unanswered |\n"
                               "| :-- | --: | --: | --: |\n";
  const auto time = [](const std::optional<int64_t>& ns) {
    return ns ? page_duration(*ns) : std::string(kNotMeasured);
  };
  for (const FlowRow& flow : run.busiest_flows) {
    const std::string ends = fmt::format("{} {} > {}", format_protocol(flow.key.protocol),
                                         format_endpoint(flow.initiator(), flow.key.ip_version),
                                         format_endpoint(flow.responder(), flow.key.ip_version));
    const std::string late =
        periods ? fmt::format(" {} | {}{} |", time(flow.lateness_max_ns),
                              page_count(flow.missed_ticks), flow.silent ? ", **silent**" : "")
                : std::string();
    text += fmt::format("| {} | {} |{} {} | {} |\n", code(ends),
                        page_count(flow.packets[0] + flow.packets[1]), late,
                        time(flow.reply_latency_max_ns), page_count(flow.unanswered));
  }
  return text;
}

std::string host_lines(const StoredRun& run) {
  const HostInfo& host = run.info.host;
  std::string text = fmt::format("- host {}: {} × {}, {}, kernel {}\n", code(host.hostname, 80),
                                 host.cpus_online ? fmt::format("{}", *host.cpus_online) : "?",
                                 markdown_text(host.cpu_model, 120), markdown_text(host.os, 120),
                                 code(host.kernel, 120));
  for (const ProbeStatus& probe : run.info.probes) {
    text += fmt::format("- probe {} by {}{}\n", code(probe.name, 60), code(rung_name(probe.rung)),
                        probe.reason.empty() ? "" : ": " + markdown_text(probe.reason, 300));
  }
  text += fmt::format("- run {} by topspin {}\n", code(run.info.id, 60),
                      markdown_text(run.info.topspin_version, 40));
  return text;
}

/// "threads of B"; one run's have no "of".
std::string of_side(std::string_view what, const ReportPage& page, size_t r) {
  const std::string_view side = side_name(page, r);
  return side.empty() ? std::string(what) : fmt::format("{} of {}", what, side);
}

std::string rules_table(const ReportPage& page, size_t r) {
  const RunPage& run = page.runs[r];
  if (run.slos.empty()) return {};
  std::string text = fmt::format("| {} | | |\n| :-- | :-- | :-- |\n", of_side("rule", page, r));
  for (const SloResult& slo : run.slos) {
    const std::string_view verdict = slo_verdict_name(slo.verdict);
    text += fmt::format(
        "| {} | {} | {} |\n", code(slo.rule),
        slo.verdict == SloVerdict::kKept ? std::string(verdict) : fmt::format("**{}**", verdict),
        markdown_text(slo.explanation, 300));
  }
  return text;
}

std::string load_table(const ReportPage& page, size_t r) {
  constexpr size_t kStagesShown = 40;
  const auto& load = page.runs[r].load;
  if (!load) return {};
  std::string text = fmt::format(
      "| {} | due | sent | replied | late | lost |{} p50 | p99 |\n"
      "| :-- | --: | --: | --: | --: | --: |{} --: | --: |\n",
      of_side(workload_name(load->workload), page, r), load->http ? " HTTP errors |" : "",
      load->http ? " --: |" : "");
  const auto row = [&](const std::string& name, const LoadPart& part) {
    const HistogramSummary latency = part.latency_intended.summary();
    const auto time = [](const std::optional<int64_t>& ns) {
      return ns ? page_duration(*ns) : std::string(kNotMeasured);
    };
    const LoadAccounts& a = part.accounts;
    text += fmt::format(
        "| {} | {} | {} | {} | {} | {} |{} {} | {} |\n", name, page_count(a.scheduled),
        page_count(a.sent), page_count(a.replied), page_count(a.late_replies), page_count(a.lost),
        load->http ? fmt::format(" {} |", page_count(a.http_errors)) : std::string(),
        time(latency.p50), time(latency.p99));
  };
  for (size_t i = 0; i < std::min(load->stages.size(), kStagesShown); ++i)
    row(code(load->stages[i].name, 60), load->stages[i]);
  row("all", load->total);
  if (load->http) text += fmt::format("\nHTTP statuses: {}.\n", http_statuses_text(*load->http));
  return text;
}

}  // namespace

std::string markdown_text(std::string_view text, size_t most_bytes) {
  const std::string plain = plain_text(text, most_bytes);
  std::string out;
  const auto entity = [&](char c) { out += fmt::format("&#{};", static_cast<int>(c)); };
  for (size_t i = 0; i < plain.size(); ++i) {
    const char c = plain[i];
    const char before = i > 0 ? plain[i - 1] : ' ';
    const bool is_ascii = static_cast<unsigned char>(c) < 0x80;
    if (!is_ascii || std::isalnum(static_cast<unsigned char>(c)) || c == ' ') {
      // A line of spaces and two spaces at a line's end have a meaning; one space has none.
      if (c != ' ' || before != ' ') out += c;
      continue;
    }
    switch (c) {
      case '@':
      case '#':
        entity(c);
        out += kWordJoiner;
        break;
      case '-':
        out += c;
        // GH-12 is an issue, and a mention may follow a hyphen.
        if (before == 'H' || before == 'h') out += kWordJoiner;
        break;
      case '.':
        // www.example.org becomes a link.
        if (before == 'w' || before == 'W')
          entity(c);
        else
          out += c;
        break;
      case ',':
      case ';':
      case '%':
      case '+':
      case '=':
      case '/':
      case '\'':
      case '?': out += c; break;
      case '_':
        // Between letters it emphasises nothing.
        if (i + 1 < plain.size() && std::isalnum(static_cast<unsigned char>(before)) &&
            std::isalnum(static_cast<unsigned char>(plain[i + 1]))) {
          out += c;
        } else {
          entity(c);
        }
        break;
      case ':':
        // Neither a scheme, nor an emoji's name.
        if (i + 1 < plain.size() && plain[i + 1] != ' ') {
          entity(c);
        } else {
          out += c;
        }
        break;
      default: entity(c);
    }
  }
  return out;
}

std::string judgement_markdown(const Judgement& judgement, size_t max_bytes) {
  max_bytes = std::max(max_bytes, kLeastMarkdownBytes);
  std::vector<Section> sections = judgement_sections(judgement);
  // Room for the closing sentence, which names what was dropped.
  sections.insert(sections.begin(), {"the verdict", verdict_section(judgement_verdict(judgement),
                                                                    "", max_bytes - 300)});
  return fitted(std::move(sections), max_bytes);
}

std::string markdown_report(const ReportPage& page, size_t max_bytes) {
  CHECK(page.runs.size() == 1 || page.runs.size() == 2);
  max_bytes = std::max(max_bytes, kLeastMarkdownBytes);
  std::vector<std::string> names;  // of sections, that the views in `sections` point to
  names.reserve(24);
  std::vector<Section> sections;
  const auto add = [&](std::string name, std::string text) {
    if (text.empty()) return;
    CHECK(names.size() < names.capacity());
    sections.push_back({names.emplace_back(std::move(name)), std::move(text)});
  };
  add("the verdict",
      verdict_section(top_verdict(page), page.history_runs.size() > 1 ? report_title(page) : "",
                      max_bytes - 600));
  if (page.judgement) {
    for (Section& section : judgement_sections(*page.judgement))
      add(std::string(section.name), std::move(section.text));
  }
  for (size_t r = 0; r < page.runs.size(); ++r)
    add(of_side("rules", page, r), rules_table(page, r));
  std::string runs;
  for (size_t r = 0; r < page.runs.size(); ++r) runs += run_line(page, r);
  add("the runs", std::move(runs));
  add("headline numbers", headline_table(page));
  add("latencies", latency_table(page));
  for (size_t r = 0; r < page.runs.size(); ++r)
    add(of_side("the load", page, r), load_table(page, r));
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const std::string over_time = timeline_table(page, r);
    if (!over_time.empty())
      add(of_side("numbers over time", page, r), folded(of_side("Over time", page, r), over_time));
  }
  std::string hosts;
  for (const RunPage& run : page.runs) hosts += host_lines(run.run);
  add("host and probes", folded("Host and probes", hosts));
  for (size_t r = 0; r < page.runs.size(); ++r) {
    add(of_side("all numbers", page, r),
        folded(of_side("All numbers", page, r),
               numbers_markdown_table(page.runs[r].summary.fold, has_lateness(page))));
  }
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const std::string threads = threads_table(page.runs[r]);
    if (!threads.empty())
      add(of_side("threads", page, r), folded(of_side("Threads", page, r), threads));
  }
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const std::string flows = flows_table(page.runs[r]);
    if (!flows.empty())
      add(of_side("busiest flows", page, r), folded(of_side("Busiest flows", page, r), flows));
  }
  return fitted(std::move(sections), max_bytes);
}

}  // namespace topspin
