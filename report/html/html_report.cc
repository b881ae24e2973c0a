#include "report/html/html_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/check.h"
#include "core/source_text.h"
#include "report/html/sections.h"
#include "report/html/table.h"
#include "report/model/headlines.h"

namespace topspin {
namespace {

constexpr size_t kReasonsShown = 20;
constexpr size_t kLabelsShown = 24;

std::string run_facts(const RunPage& run) {
  const RunInfo& info = run.run.info;
  std::string html;
  const auto fact = [&](const std::string& text) { html += "<li>" + text + "</li>"; };
  fact(page_time(info.started_wall_ns));
  fact(page_duration(run.run.end.duration_ns));
  if (!info.settings.interface.empty()) fact("on " + html_text(info.settings.interface, 80));
  if (!info.settings.filter.empty()) fact("filter " + html_text(info.settings.filter, 120));
  if (!info.host.hostname.empty()) fact("host " + html_text(info.host.hostname, 80));
  if (!info.source.commit.empty()) {
    fact(fmt::format("commit <code>{}</code>{}{}", html_text(info.source.commit.substr(0, 12)),
                     commit_remark(info.source),
                     info.source.branch.empty() ? "" : " on " + html_text(info.source.branch, 80)));
  }
  size_t shown = 0;
  for (const auto& [key, value] : info.labels) {
    if (shown++ == kLabelsShown) {
      fact(fmt::format("and {} labels more", info.labels.size() - kLabelsShown));
      break;
    }
    fact(fmt::format("{}={}", html_text(key, 60), html_text(value, 120)));
  }
  return html;
}

std::string masthead(const ReportPage& page) {
  std::string html = "<header class=\"masthead\">\n<p class=\"kind\">topspin report</p>\n";
  html += fmt::format("<h1>{}</h1>\n", html_text(report_title(page), 160));
  for (size_t r = 0; r < page.runs.size(); ++r) {
    std::string facts;
    if (page.runs.size() > 1) {
      facts += fmt::format("<li>{} {}</li>", side_mark(page, r),
                           html_text(run_title(page.runs[r].run), 120));
    } else if (page.history_runs.size() > 1) {
      facts += fmt::format("<li>newest: {}</li>", html_text(run_title(page.runs[r].run), 120));
    }
    html += fmt::format("<ul class=\"facts\">{}{}</ul>\n", facts, run_facts(page.runs[r]));
  }
  return html + "</header>\n";
}

std::string reasons_html(const std::vector<std::string>& reasons) {
  if (reasons.empty()) return {};
  std::string html = "<ul>";
  for (size_t i = 0; i < std::min(reasons.size(), kReasonsShown); ++i)
    html += "<li>" + html_text(reasons[i]) + "</li>";
  if (reasons.size() > kReasonsShown)
    html += fmt::format("<li>and {} more</li>", reasons.size() - kReasonsShown);
  return html + "</ul>";
}

std::string loss_sentence(const RunPage& run, bool page_says_so) {
  const auto losses = losses_that_occurred(run.summary.losses);
  if (losses.empty()) return page_says_so ? std::string() : "Nothing was lost.";
  std::vector<std::string> parts;
  for (const LossCount& loss : losses) {
    std::string name = loss.name;
    std::replace(name.begin(), name.end(), '_', ' ');
    if (name.ends_with(" ns")) name.resize(name.size() - 3);
    parts.push_back(fmt::format("{} {}", name, loss.text));
  }
  return html_text(fmt::format("Losses: {}.", fmt::join(parts, ", ")));
}

/// A plan ends its subjects by SIGTERM, so that is no failure of theirs.
std::string exit_sentence(const StoredRun& run) {
  constexpr int kEndedBySigterm = 128 + 15;
  const int status = *run.end.exit_status;
  if (status == 0) return " The command exited with 0.";
  if (run.info.plan && status == kEndedBySigterm) return " The plan ended the command, by SIGTERM.";
  return fmt::format(" <span class=\"word-bad\">The command exited with {}.</span>", status);
}

std::string verdict_html(const ReportPage& page) {
  const TopVerdict top = top_verdict(page);
  const char* tone = top.tone == Tone::kGood ? "good" : top.tone == Tone::kBad ? "bad" : "open";
  std::string html = fmt::format(
      "<div class=\"verdict is-{}\" id=\"verdict\" data-verdict=\"{}\">\n<h2>{}</h2><p>{}</p>{}\n",
      tone, html_text(top.word), html_text(top.word), html_text(top.sentence),
      reasons_html(top.reasons));
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const StoredRun& run = page.runs[r].run;
    std::string line = side_prefix(page, r);
    if (page.judgement) {
      const RunStanding& standing = page.runs[r].standing;
      line += standing.may_be_judged
                  ? std::string("Usable, may be judged. ")
                  : fmt::format("<span class=\"word-bad\">{}:</span> {}. ",
                                standing.usable ? "Usable, may not be judged" : "Not usable",
                                html_text(fmt::format("{}", fmt::join(standing.reasons, "; "))));
    }
    if (page.judgement) {
      for (const std::string& note : page.runs[r].standing.notes)
        line += fmt::format("<span class=\"word-open\">Not judged:</span> {}. ", html_text(note));
    }
    line += loss_sentence(page.runs[r], !page.judgement);
    if (run.end.exit_status) line += exit_sentence(run);
    if (!line.empty()) html += "<p class=\"quiet\">" + line + "</p>\n";
  }
  return html + "</div>\n";
}

/// Machine-readable beside what people read: <data value> holds the number as JSON reports have it.
std::string data_value(const Headline& headline, size_t run, const std::string& html) {
  const auto& value = headline.of_run[run];
  if (!value.raw) return html;
  return fmt::format(R"(<data value="{}" data-path="{}" data-run="{}">{}</data>)",
                     json_number(*value.raw), headline.path, run, html);
}

std::string tiles(const ReportPage& page) {
  std::string html = "<div class=\"tiles\">\n";
  for (const Headline& h : headlines(page)) {
    html += fmt::format("<div class=\"tile\"><p class=\"label\">{}</p>", html_text(h.label));
    if (page.runs.size() == 1) {
      html +=
          fmt::format(R"(<p class="value">{}</p><p class="extra">{}</p>)",
                      data_value(h, 0, html_text(h.of_run[0].text)), html_text(h.of_run[0].extra));
    } else {
      for (size_t r = 0; r < page.runs.size(); ++r) {
        html += fmt::format(R"(<p class="pair">{} {}</p>)", side_mark(page, r),
                            data_value(h, r, html_text(h.of_run[r].text)));
      }
      const auto& a = h.of_run[0].raw;
      const auto& b = h.of_run[1].raw;
      if (!h.change.empty())
        html += fmt::format(R"(<p class="extra">{}</p>)", html_text(h.change));
      else if (a && b && *a > 0)
        html += fmt::format(R"(<p class="extra">{}</p>)",
                            *a == *b ? "the same" : html_text(format_change(*b / *a - 1)));
    }
    html += "</div>\n";
  }
  return html + "</div>\n";
}

std::string navigation(std::initializer_list<std::pair<const char*, const std::string*>> sections) {
  std::string html = "<nav aria-label=\"Sections\"><ul>";
  for (const auto& [title, body] : sections) {
    if (body->empty()) continue;
    const size_t from = body->find("id=\"") + 4;
    html += fmt::format("<li><a href=\"#{}\">{}</a></li>",
                        body->substr(from, body->find('"', from) - from), title);
  }
  return html + "</ul></nav>\n";
}

}  // namespace

std::string html_report(const ReportPage& page) {
  CHECK(page.runs.size() == 1 || page.runs.size() == 2);
  std::string comparison, history;
  // A history's metrics have no two sides.
  if (page.judgement && page.judgement->mode != "history" && !page.judgement->metrics.empty())
    comparison = comparison_section(*page.judgement);
  if (!page.history.empty()) history = history_section(page);
  const std::string rules = rules_section(page);
  const std::string timeline = timeline_section(page);
  const std::string latency = distributions_section(page);
  const std::string flows = flows_section(page);
  const std::string threads = threads_section(page);
  const std::string load = load_section(page);
  const std::string scheduling = scheduling_section(page);
  const std::string sockets = sockets_section(page);
  const std::string syscalls = syscalls_section(page);
  const std::string limits = limits_section(page);
  const std::string numbers = numbers_section(page);
  const std::string provenance = provenance_section(page);

  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  // Before anything that it governs.
  html += fmt::format(
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src {}; "
      "style-src {}; base-uri 'none'; form-action 'none'\">\n",
      kPageScriptSources, kPageStyleSources);
  html +=
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n";
  html += fmt::format("<title>{} – topspin</title>\n", html_text(report_title(page), 100));
  html += fmt::format("<style>{}</style>\n</head>\n<body>\n", kPageStyle);
  html += masthead(page) + "<main>\n" + verdict_html(page) + tiles(page);
  html += navigation({{"Comparison", &comparison},
                      {"History", &history},
                      {"Rules", &rules},
                      {"Over time", &timeline},
                      {"Distributions", &latency},
                      {"Load", &load},
                      {"Flows", &flows},
                      {"Threads", &threads},
                      {"Scheduling", &scheduling},
                      {"Sockets", &sockets},
                      {"System calls", &syscalls},
                      {"Cost and limits", &limits},
                      {"All numbers", &numbers},
                      {"How it was measured", &provenance}});
  html += comparison + history + rules + timeline + latency + load + flows + threads + scheduling +
          sockets + syscalls + limits + numbers + provenance + "</main>\n";
  html += fmt::format(
      "<footer><p>Made by topspin from run{} {}. This file is whole: it loads nothing.</p>\n{}"
      "</footer>\n",
      page.runs.size() > 1 ? "s" : "",
      html_text(page.runs.size() > 1 ? page.runs[0].run.info.id + " and " + page.runs[1].run.info.id
                                     : page.runs[0].run.info.id),
      kPageNotice);
  html += "<script type=\"application/json\" id=\"page-data\">" +
          json_for_script(page_data_json(page)) + "</script>\n";
  for (const std::string_view script : kPageScripts)
    html += fmt::format("<script>{}</script>\n", script);
  return html + "</body>\n</html>\n";
}

}  // namespace topspin
