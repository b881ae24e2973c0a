#include "report/html/html_report.h"

#include <algorithm>

#include "report/html/blocks.h"
#include "report/html/page_assets.h"
#include "report/html/plot_data.h"
#include "report/sections/sections.h"

namespace topspin {
namespace {

using namespace document;

constexpr size_t kReasonsShown = 20;

Html masthead(const Document& document) {
  Html html = Html::format(
      "<header class=\"masthead\">\n<p class=\"kind\">topspin report</p>\n<h1>{}</h1>\n",
      Html::escaped(document.title, 160));
  for (const Facts& run : document.runs) {
    html += "<ul class=\"facts\">";
    for (const auto& [key, line] : run.list) {
      const bool is_side = line.front().kind == Span::Kind::kSide;
      html +=
          Html::format("<li>{}{}</li>", is_side ? Html() : html_words(key) + " ", html_line(line));
    }
    html += "</ul>\n";
  }
  return html + "</header>\n";
}

Html reasons_html(const std::vector<std::string>& reasons) {
  if (reasons.empty()) return {};
  Html html = "<ul>";
  for (size_t i = 0; i < std::min(reasons.size(), kReasonsShown); ++i)
    html += Html::format("<li>{}</li>", Html::escaped(reasons[i], kPageTextBytes));
  if (reasons.size() > kReasonsShown)
    html += Html::format("<li>and {} more</li>", reasons.size() - kReasonsShown);
  return html + "</ul>";
}

Html verdict_html(const TopVerdict& top) {
  const Html tone = top.tone == Tone::kGood  ? Html("good")
                    : top.tone == Tone::kBad ? Html("bad")
                                             : Html("open");
  const Html word = html_words(top.word);
  Html html = Html::format(
      "<div class=\"verdict is-{}\" id=\"verdict\" data-verdict=\"{}\">\n<h2>{}</h2><p>{}</p>{}\n",
      tone, word, word, html_words(top.sentence), reasons_html(top.reasons));
  for (const Line& remark : top.remarks)
    html += Html::format("<p class=\"quiet\">{}</p>\n", html_line(remark));
  return html + "</div>\n";
}

Html side(size_t run) {
  return run == 0 ? Html("<span class=\"side side-a\">A</span>")
                  : Html("<span class=\"side side-b\">B</span>");
}

/// The first cause is open; the others are folded to their sentence.
Html causes_html(const std::vector<Cause>& causes) {
  if (causes.empty()) return {};
  Html html = "<section class=\"causes\" id=\"findings\" aria-label=\"Findings\">\n";
  for (const Cause& cause : causes) {
    if (cause.tone == Tone::kPlain) {
      html += Html::format("<p class=\"quiet\">{}</p>\n", html_line(cause.sentence));
      continue;
    }
    html +=
        Html::format("<details{}><summary>{}</summary>\n<dl>",
                     &cause == &causes.front() ? Html(" open") : Html(), html_line(cause.sentence));
    const auto row = [&](const char* what, const Line& line) {
      if (!line.empty())
        html += Html::format("<dt>{}</dt><dd>{}</dd>", html_words(what), html_line(line));
    };
    row("Evidence", cause.evidence);
    row("Refuted by", cause.refuted_by);
    row("Next", cause.next_step);
    html += "</dl></details>\n";
  }
  return html + "</section>\n";
}

Html tile(const Headline& h) {
  Html html = Html::format("<div class=\"tile\"><p class=\"label\">{}</p>", html_words(h.label));
  if (h.of_run.size() == 1) {
    html += Html::format(R"(<p class="value">{}</p><p class="extra">{}</p>)",
                         html_span(h.of_run[0].number), html_line(h.of_run[0].extra));
  } else {
    for (size_t r = 0; r < h.of_run.size(); ++r)
      html += Html::format(R"(<p class="pair">{} {}</p>)", side(r), html_span(h.of_run[r].number));
    html += Html::format(R"(<p class="extra">{}</p>)", html_line(h.change));
  }
  return html + "</div>\n";
}

Html tiles(const std::vector<Headline>& headlines) {
  Html html = "<div class=\"tiles\">\n";
  for (const Headline& h : headlines) html += tile(h);
  return html + "</div>\n";
}

Html navigation(const std::vector<Section>& sections) {
  Html html = "<nav aria-label=\"Sections\"><ul>";
  for (const Section& section : sections) {
    html += Html::format("<li><a href=\"#{}\">{}</a></li>", html_words(section.id),
                         html_words(section.title));
  }
  return html + "</ul></nav>\n";
}

Html footer_line(const ReportPage& page) {
  Html ids;
  for (const RunPage& run : page.runs)
    ids += (ids.empty() ? Html() : Html(" and ")) + Html::escaped(run.run.info.id, 60);
  return Html::format(
      "<p>Made by topspin from run{} {}. This file is whole: it loads nothing.</p>\n",
      page.runs.size() > 1 ? Html("s") : Html(), ids);
}

}  // namespace

std::string html_report(const ReportPage& page) {
  const Document document = sections::report(page);
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  // The policy must come before anything that it governs.
  html += fmt::format(
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src {}; "
      "style-src {}; base-uri 'none'; form-action 'none'\">\n",
      kPageScriptSources, kPageStyleSources);
  html +=
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n";
  Html title = Html::escaped(document.title, 100), body = masthead(document);
  body += "<main>\n";
  const Html verdict = verdict_html(document.verdict), causes = causes_html(document.causes);
  body += document.causes_lead ? causes + verdict : verdict + causes;
  body += tiles(document.headlines);
  body += navigation(document.sections);
  for (const Section& section : document.sections) body += html_section(section);
  body += "</main>\n";
  html += fmt::format("<title>{} – topspin</title>\n<style>{}</style>\n</head>\n<body>\n{}",
                      title.str(), kPageStyle, body.str());
  html += fmt::format("<footer>{}{}</footer>\n", footer_line(page).str(), kPageNotice);
  html += "<script type=\"application/json\" id=\"page-data\">" +
          json_for_script(page_data_json(page)) + "</script>\n";
  for (const std::string_view script : kPageScripts)
    html += fmt::format("<script>{}</script>\n", script);
  return html + "</body>\n</html>\n";
}

}  // namespace topspin
