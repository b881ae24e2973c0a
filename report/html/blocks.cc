#include "report/html/blocks.h"

#include <algorithm>

#include "report/html/page_assets.h"
#include "report/html/plot_data.h"

namespace topspin {

using namespace document;

Html html_tone(Tone tone) {
  switch (tone) {
    case Tone::kGood: return "word-good";
    case Tone::kBad: return "word-bad";
    case Tone::kOpen: return "word-open";
    case Tone::kPlain: break;
  }
  return {};
}

namespace {

/// Code that may break after each frame of a stack.
Html code_text(const Span& span) {
  const std::string cut = plain_text(span.text, span.most_bytes);
  Html html;
  for (size_t from = 0; from <= cut.size();) {
    const size_t end = std::min(cut.find(';', from), cut.size());
    html += html_words(std::string_view(cut).substr(from, end - from));
    if (end < cut.size()) html += ";<wbr>";
    from = end + 1;
  }
  return Html::format("<code>{}</code>", html);
}

Html number_text(const Span& span) {
  Html text = html_words(before_number(span, "≥ ") + page_number(span.unit, span.value));
  if (span.path.empty()) return text;
  // Adds the machine-readable value and its path in the JSON report.
  return Html::format(R"(<data value="{}" data-path="{}" data-run="{}">{}</data>)",
                      html_words(json_number(span.value)), html_words(span.path), span.run, text);
}

Html bare_span(const Span& span) {
  switch (span.kind) {
    case Span::Kind::kCode: return code_text(span);
    case Span::Kind::kNumber: return number_text(span);
    case Span::Kind::kAbsent: return "–";
    case Span::Kind::kTime: return html_words(page_time(static_cast<int64_t>(span.value)));
    case Span::Kind::kSide:
      return Html::format(R"(<span class="side side-{}">{}</span>)",
                          span.run == 0 ? Html("a") : Html("b"), html_words(span.text));
    case Span::Kind::kWords:
    case Span::Kind::kOurs: break;
  }
  return Html::escaped(span.text, span.most_bytes);
}

}  // namespace

Html html_span(const Span& span) {
  Html html = bare_span(span);
  if (span.tone == Tone::kPlain) return html;
  return Html::format(R"(<span class="{}">{}</span>)", html_tone(span.tone), html);
}

Html html_line(const Line& line) {
  Html html;
  for (const Span& span : line) html += html_span(span);
  return html;
}

namespace {

Html title_text(const std::string& title) { return Html::escaped(title, kPageTextBytes); }

/// A table that scrolls separately on a narrow screen, also by keyboard.
Html scrolling(const Html& name, const Html& table) {
  return Html::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{}</div>\n", name,
      table);
}

Html cell_html(const Cell& cell, const Column& column, bool names_the_row) {
  Html content = html_line(cell.line);
  if (!cell.under.empty())
    content += Html::format(R"(<span class="under">{}</span>)", html_line(cell.under));
  if (names_the_row) return Html::format(R"(<th scope="row">{}</th>)", content);
  const bool is_absent = cell.line.size() == 1 && cell.line[0].kind == Span::Kind::kAbsent;
  return Html::format(R"(<td class="{}{}">{}</td>)", column.is_number ? Html("n") : Html("text"),
                      is_absent ? Html(" absent") : Html(), content);
}

Html bare_table(const Table& table, const Html& caption) {
  Html head, body;
  const bool has_titles = std::any_of(table.columns.begin(), table.columns.end(),
                                      [](const Column& c) { return !c.title.empty(); });
  for (const Column& column : table.columns) {
    head +=
        Html::format(R"(<th scope="col"{}>{}</th>)",
                     column.is_number ? Html(R"( class="n")") : Html(), title_text(column.title));
  }
  for (const Row& row : table.rows) {
    body += "<tr>";
    for (size_t c = 0; c < row.cells.size(); ++c)
      body += cell_html(row.cells[c], table.columns[c], c == 0 && !table.columns[c].is_number);
    body += "</tr>\n";
  }
  return Html::format("<table>{}{}<tbody>{}</tbody></table>", caption,
                      has_titles ? Html::format("<thead><tr>{}</tr></thead>\n", head) : Html(),
                      body);
}

Html table_html(const Table& table) {
  Html html;
  if (!table.title.empty()) html += Html::format("<h3>{}</h3>\n", title_text(table.title));
  html += scrolling(table.title.empty() ? Html("Table") : title_text(table.title),
                    bare_table(table, {}));
  if (table.more > 0)
    html += Html::format("<p class=\"note\">and {} more</p>\n", html_words(page_count(table.more)));
  return html;
}

Html facts_html(const Facts& facts) {
  Html list;
  for (const auto& [key, line] : facts.list)
    list += Html::format("<dt>{}</dt><dd>{}</dd>\n", title_text(key), html_line(line));
  const Html title =
      facts.title.empty() ? Html() : Html::format("<h3>{}</h3>\n", title_text(facts.title));
  return title + Html::format("<dl>{}</dl>\n", list);
}

Html look(size_t index) {
  switch (index) {
    case 0: return "main";
    case 1: return "tail";
    default: return "third";
  }
}

/// Draws the bar as widths in an SVG. Without inline styles (the page's policy forbids them) and
/// without a script there is no other way.
Html parts_html(const Parts& parts) {
  Html bars, names;
  double x = 0;
  for (size_t i = 0; i < parts.parts.size(); ++i) {
    const Parts::Part& part = parts.parts[i];
    const double width = 1000 * part.share;
    bars += Html::format(R"(<rect class="{}" x="{:.1f}" y="0" width="{:.1f}" height="22"/>)",
                         look(i), x, width);
    x += width;
    names += Html::format("<li><i class=\"key {}\"></i>{} <b>{}</b> {}</li>", look(i),
                          title_text(part.name), html_span(part.value),
                          html_words(page_percent(part.share)));
  }
  return Html::format(
      "<h3>{}</h3>\n<svg class=\"bar\" viewBox=\"0 0 1000 22\" preserveAspectRatio=\"none\" "
      "role=\"img\" aria-label=\"Parts of a whole\">{}</svg>\n<ul class=\"legend parts\">{}</ul>\n",
      html_line(parts.title), bars, names);
}

Html shares_html(const Shares& shares) {
  Table table{shares.title, {{"Range", false}, {"A"}, {"B"}}};
  for (const Shares::Bar& bar : shares.bars)
    table.rows.push_back({{bar.name, share(bar.a), share(bar.b)}});
  return table_html(table);
}

Html plot_html(const Plot& plot) {
  // Without plots only the tables are left.
  if (!kPageHasPlots && plot.tables.empty()) return {};
  const Html id = html_words(plot.id);
  Html html = Html::format("<figure id=\"figure-{}\">\n<figcaption><h3>{}</h3></figcaption>\n", id,
                           html_line(plot.title));
  if (!plot.note.empty()) html += Html::format("<p class=\"note\">{}</p>\n", html_line(plot.note));
  if (kPageHasPlots) html += Html::format("<div class=\"plot\" data-plot=\"{}\"></div>\n", id);
  if (plot.tables.empty()) return html + "</figure>\n";
  Html tables;
  if (!plot.caption.empty())
    tables += Html::format("<p class=\"noplot\">{}</p>", html_line(plot.caption));
  for (const Table& table : plot.tables) {
    tables += bare_table(table, table.title.empty() ? Html()
                                                    : Html::format("<caption>{}</caption>",
                                                                   title_text(table.title)));
  }
  return html + Html::format("<details{}><summary>Table</summary>{}</details>\n</figure>\n",
                             kPageHasPlots ? Html() : Html(" open"), scrolling("Table", tables));
}

struct BlockHtml {
  Html operator()(const Paragraph& p) const {
    return p.aside ? Html::format("<p class=\"note\">{}</p>\n", html_line(p.line))
                   : Html::format("<p>{}</p>\n", html_line(p.line));
  }
  Html operator()(const Facts& facts) const { return facts_html(facts); }
  Html operator()(const Table& table) const { return table_html(table); }
  Html operator()(const Side& side) const {
    return side.run == 0 ? Html("<h3><span class=\"side side-a\">A</span></h3>\n")
                         : Html("<h3><span class=\"side side-b\">B</span></h3>\n");
  }
  Html operator()(const Parts& parts) const { return parts_html(parts); }
  Html operator()(const Shares& shares) const { return shares_html(shares); }
  Html operator()(const Curves&) const { return {}; }
  Html operator()(const Plot& plot) const { return plot_html(plot); }
  Html operator()(const PlotControls&) const {
    if (!kPageHasPlots)
      return "<p class=\"noplot\">This topspin was built without plots; the tables hold the same "
             "numbers.</p>\n";
    return "<div class=\"toolbar\"><span>Showing <span class=\"span\" id=\"zoom-span\">the whole "
           "run</span></span><button id=\"zoom-reset\" type=\"button\" disabled>Show all</button>"
           "<span class=\"hint\">Drag across a plot to zoom all of them. By keyboard: arrows move "
           "the cursor, + and − zoom, 0 shows all.</span></div>\n";
  }
};

bool is_small_plot(const Block& block) {
  const Plot* plot = std::get_if<Plot>(&block.body);
  return plot != nullptr && plot->small;
}

/// The blocks in order. Those placed in columns, and small plots, are side by side.
Html blocks_html(const std::vector<Block>& blocks) {
  Html html;
  for (size_t i = 0; i < blocks.size();) {
    if (is_small_plot(blocks[i])) {
      html += "<div class=\"columns wide\">\n";
      for (; i < blocks.size() && is_small_plot(blocks[i]); ++i)
        html += std::visit(BlockHtml{}, blocks[i].body);
      html += "</div>\n";
      continue;
    }
    // A page has plots instead of curves, and so no heading for them.
    if (std::holds_alternative<Side>(blocks[i].body) && i + 1 < blocks.size() &&
        std::holds_alternative<Curves>(blocks[i + 1].body)) {
      i += 2;
      continue;
    }
    if (blocks[i].place == Place::kWhole) {
      html += std::visit(BlockHtml{}, blocks[i++].body);
      continue;
    }
    Html left, right;
    for (; i < blocks.size() && blocks[i].place != Place::kWhole; ++i)
      (blocks[i].place == Place::kLeft ? left : right) += std::visit(BlockHtml{}, blocks[i].body);
    html +=
        Html::format("<div class=\"columns wide\"><div>{}</div><div>{}</div></div>\n", left, right);
  }
  return html;
}

}  // namespace

Html html_section(const Section& section) {
  Html body = blocks_html(section.blocks);
  if (section.fold == Fold::kAlways)
    body = Html::format("<details><summary>Show</summary>{}</details>\n", body);
  return Html::format("<section id=\"{}\"><h2>{}</h2>\n{}</section>\n", html_words(section.id),
                      title_text(section.title), body);
}

}  // namespace topspin
