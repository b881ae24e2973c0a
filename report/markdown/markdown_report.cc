#include "report/markdown/markdown_report.h"

#include <algorithm>
#include <cctype>

#include "report/document/document.h"
#include "report/sections/sections.h"

namespace topspin {
namespace {

using namespace document;

constexpr size_t kCurveRows = 20;
constexpr size_t kThingsShown = 12;    // rows of a table that has a limit for terminals
constexpr size_t kClosingBytes = 600;  // for the sentence that names what was dropped

/// The program's own words, and numbers. They are short and never cut.
Markdown own(std::string_view text) {
  // These are the only characters of Markdown in them.
  Markdown out;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find_first_of("()", from), text.size());
    out += Markdown::escaped(text.substr(from, end - from), text.size());
    if (end < text.size()) out += text[end] == '(' ? Markdown("(") : Markdown(")");
    from = end + 1;
  }
  return out;
}

Markdown bare_span(const Span& span) {
  switch (span.kind) {
    case Span::Kind::kAbsent: return "–";
    case Span::Kind::kTime: return own(page_time(static_cast<int64_t>(span.value)));
    case Span::Kind::kNumber:
      return own(before_number(span, "≥ ") + page_number(span.unit, span.value));
    case Span::Kind::kCode:
      return Markdown::format("<code>{}</code>", Markdown::escaped(span.text, span.most_bytes));
    case Span::Kind::kOurs: return own(span.text);
    case Span::Kind::kSide: return Markdown::format("**{}**", own(span.text));
    case Span::Kind::kWords: break;
  }
  return Markdown::escaped(span.text, span.most_bytes);
}

Markdown span_markdown(const Span& span) {
  const Markdown text = bare_span(span);
  return span.tone == Tone::kBad && !text.empty() ? Markdown::format("**{}**", text) : text;
}

Markdown line_markdown(const Line& line) {
  Markdown text;
  for (const Span& span : line) text += span_markdown(span);
  return text;
}

Markdown title_text(const std::string& title) { return Markdown::escaped(title, 200); }

Markdown table_markdown(const Table& table) {
  Markdown text, rule = "|";
  if (!table.title.empty()) text += Markdown::format("**{}**\n\n", title_text(table.title));
  text += "|";
  for (const Column& column : table.columns) {
    text += Markdown::format(" {} |", title_text(column.title));
    rule += column.is_number ? Markdown(" --: |") : Markdown(" :-- |");
  }
  text += "\n" + rule + "\n";
  size_t left_out = table.more, shown = 0;
  for (const Row& row : table.rows) {
    if (row.shown == Shown::kOnPages) continue;
    if (table.most_in_text != SIZE_MAX && shown == kThingsShown) {
      ++left_out;
      continue;
    }
    ++shown;
    text += "|";
    for (const Cell& cell : row.cells) {
      text += Markdown::format(" {}", line_markdown(cell.line));
      if (!cell.under.empty())
        text += Markdown::format(" <sub>{}</sub>", line_markdown(cell.under));
      text += " |";
    }
    text += "\n";
  }
  if (shown == 0) return {};
  if (left_out > 0) text += Markdown::format("\nand {} more\n", own(page_count(left_out)));
  return text;
}

Markdown facts_markdown(const Facts& facts) {
  Markdown text;
  if (!facts.title.empty()) text += Markdown::format("**{}**\n\n", title_text(facts.title));
  for (const auto& [key, line] : facts.list)
    text += Markdown::format("- {} {}\n", title_text(key), line_markdown(line));
  return text;
}

/// Merges neighbouring points until there are few rows.
Markdown curves_markdown(const Curves& curves) {
  Table table;
  table.columns.push_back({"Time", true});
  for (const Curves::Curve& curve : curves.curves) table.columns.push_back({curve.name, true});
  const size_t step = (curves.ends_ns.size() + kCurveRows - 1) / kCurveRows;
  for (size_t from = 0; from < curves.ends_ns.size(); from += step) {
    const size_t to = std::min(from + step, curves.ends_ns.size());
    Row row{{ours(fmt::format("{:.1f} s", static_cast<double>(curves.ends_ns[to - 1]) / 1e9))}};
    for (const Curves::Curve& curve : curves.curves) {
      Curves::Point merged;
      for (size_t i = from; i < to; ++i) {
        const Curves::Point& point = curve.points[i];
        if (point.absent) continue;
        merged.least = merged.absent ? point.least : std::min(merged.least, point.least);
        merged.greatest =
            merged.absent ? point.greatest : std::max(merged.greatest, point.greatest);
        merged.absent = false;
      }
      const Span least = number(curve.unit, merged.least);
      const Span greatest = number(curve.unit, merged.greatest);
      row.cells.emplace_back(merged.absent ? Line{absent()}
                             : bare_span(least).str() == bare_span(greatest).str()
                                 ? Line{greatest}
                                 : say("{} – {}", least, greatest));
    }
    table.rows.push_back(std::move(row));
  }
  return table_markdown(table);
}

Markdown parts_markdown(const Parts& parts) {
  Markdown text = line_markdown(parts.title);
  for (const Parts::Part& part : parts.parts) {
    text += Markdown::format(
        "{}{} {} ({})", &part == &parts.parts.front() ? Markdown(": ") : Markdown(", "),
        own(page_percent(part.share)), own(part.name), span_markdown(part.value));
  }
  return text + "\n";
}

Markdown shares_markdown(const Shares& shares) {
  Table table{"", {{"Range", false}, {"A"}, {"B"}}};
  for (const Shares::Bar& bar : shares.bars)
    table.rows.push_back({{bar.name, share(bar.a), share(bar.b)}});
  return table_markdown(table);
}

struct BlockMarkdown {
  Markdown operator()(const Paragraph& p) const {
    return p.aside ? Markdown() : Markdown::format("{}\n", line_markdown(p.line));
  }
  Markdown operator()(const Facts& facts) const { return facts_markdown(facts); }
  Markdown operator()(const Table& table) const { return table_markdown(table); }
  Markdown operator()(const Side& side) const {
    return side.run == 0 ? Markdown("**A**\n") : Markdown("**B**\n");
  }
  Markdown operator()(const Parts& parts) const { return parts_markdown(parts); }
  Markdown operator()(const Shares& shares) const { return shares_markdown(shares); }
  Markdown operator()(const Curves& curves) const { return curves_markdown(curves); }
  Markdown operator()(const Plot& plot) const {
    Markdown text;
    for (const Table& table : plot.tables)
      if (plot.tables_in_text) text += table_markdown(table);
    return text;
  }
  Markdown operator()(const PlotControls&) const { return {}; }
};

struct Piece {
  std::string name;  // in the closing sentence
  Markdown text;     // ends in a newline
};

std::string lower_case_first(std::string text) {
  if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

Piece section_piece(const Section& section) {
  Markdown body;
  for (const Block& block : section.blocks) {
    const Markdown of_block = std::visit(BlockMarkdown{}, block.body);
    if (!body.empty() && !of_block.empty()) body += "\n";
    body += of_block;
  }
  if (body.empty() || section.title.empty()) return {lower_case_first(section.title), body};
  const Markdown title = title_text(section.title);
  return {
      lower_case_first(section.title),
      section.fold == Fold::kOpen
          ? Markdown::format("### {}\n\n{}", title, body)
          : Markdown::format("<details><summary>{}</summary>\n\n{}\n</details>\n", title, body)};
}

/// The verdict with as many of its reasons as fit. This piece is never left out.
Markdown verdict_markdown(const Document& document, size_t max_bytes) {
  const TopVerdict& top = document.verdict;
  if (top.word.empty()) return {};
  Markdown text = Markdown::format("## {} {}\n\n{}\n",
                                   top.tone == Tone::kGood  ? Markdown("✅")
                                   : top.tone == Tone::kBad ? Markdown("❌")
                                                            : Markdown("⚠️"),
                                   own(top.word), own(top.sentence));
  const bool is_history = document.title.starts_with("History of ");
  if (is_history) text += Markdown::format("\n{}\n", title_text(document.title));
  std::vector<Markdown> lines;
  for (const std::string& reason : top.reasons) lines.push_back(Markdown::escaped(reason, 400));
  for (const Line& remark : top.remarks) lines.push_back(line_markdown(remark));
  if (!lines.empty()) text += "\n";
  constexpr size_t kMoreBytes = 40;  // "- and 12345 more"
  for (size_t i = 0; i < lines.size(); ++i) {
    if (text.size() + lines[i].size() + kMoreBytes > max_bytes)
      return text + Markdown::format("- and {} more\n", lines.size() - i);
    text += Markdown::format("- {}\n", lines[i]);
  }
  return text;
}

/// The first cause with its evidence, the others as their sentence.
Markdown causes_markdown(const std::vector<Cause>& causes) {
  Markdown text;
  for (const Cause& cause : causes) {
    const Markdown sentence = line_markdown(cause.sentence);
    if (cause.tone == Tone::kPlain) {
      text += sentence + "\n";
      continue;
    }
    text += Markdown::format("- **{}**\n", sentence);
    if (&cause != &causes.front()) continue;
    const auto row = [&](const char* what, const Line& line) {
      if (!line.empty()) text += Markdown::format("  - {}: {}\n", own(what), line_markdown(line));
    };
    row("Evidence", cause.evidence);
    row("Refuted by", cause.refuted_by);
    row("Next", cause.next_step);
  }
  return text;
}

Markdown runs_markdown(const std::vector<Facts>& runs) {
  Markdown text;
  for (const Facts& run : runs) {
    Markdown line = "-", between = " ";
    for (const auto& [key, value] : run.list) {
      const bool is_side = value.front().kind == Span::Kind::kSide;
      line += is_side ? Markdown::format("{}{}", between, line_markdown(value))
                      : Markdown::format("{}{} {}", between, own(key), line_markdown(value));
      between = is_side ? Markdown() : Markdown("; ");
    }
    text += line + "\n";
  }
  return text;
}

Markdown headlines_markdown(const std::vector<Headline>& headlines) {
  if (headlines.empty()) return {};
  const bool two = headlines.front().of_run.size() > 1;
  Markdown text = two ? Markdown("| | A | B | |\n| :-- | --: | --: | --: |\n")
                      : Markdown("| | | |\n| :-- | --: | :-- |\n");
  for (const Headline& h : headlines) {
    const Markdown first = span_markdown(h.of_run[0].number);
    text += two ? Markdown::format("| {} | {} | {} | {} |\n", own(h.label), first,
                                   span_markdown(h.of_run[1].number), line_markdown(h.change))
                : Markdown::format("| {} | **{}** | {} |\n", own(h.label), first,
                                   line_markdown(h.of_run[0].extra));
  }
  return text;
}

/// Joins the pieces that fit. The first piece is always kept; its size is bounded by its maker.
std::string fitted(std::vector<Piece> pieces, size_t max_bytes) {
  std::vector<std::string> dropped;
  const auto closing = [&] {
    Markdown names;
    for (const std::string& name : dropped)
      names += (names.empty() ? Markdown() : Markdown(", ")) + own(name);
    return dropped.empty() ? Markdown()
                           : Markdown::format("\n<sub>Left out to fit: {}.</sub>\n", names);
  };
  size_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.text.size() + 1;
  while (pieces.size() > 1 && bytes + closing().size() > max_bytes) {
    bytes -= pieces.back().text.size() + 1;
    dropped.insert(dropped.begin(), pieces.back().name);
    pieces.pop_back();
  }
  Markdown text;
  for (const Piece& piece : pieces)
    text += (text.empty() ? Markdown() : Markdown("\n")) + piece.text;
  return (text + closing()).str();
}

}  // namespace

std::string document_markdown(const document::Document& document, size_t max_bytes) {
  max_bytes = std::max(max_bytes, kLeastMarkdownBytes);
  const Markdown causes = causes_markdown(document.causes);
  constexpr size_t kHeadingBytes = 20;
  const bool lead = document.causes_lead && causes.size() < max_bytes / 2;
  std::vector<Piece> pieces;
  if (lead) {  // makes them one piece with the verdict, which is never left out
    pieces.push_back(
        {"the verdict", Markdown("## Findings\n\n") + causes + "\n" +
                            verdict_markdown(document, max_bytes - kClosingBytes - causes.size() -
                                                           kHeadingBytes)});
  } else {
    pieces.push_back({"the verdict", verdict_markdown(document, max_bytes - kClosingBytes)});
    pieces.push_back({"findings", causes});
  }
  pieces.push_back({"headline numbers", headlines_markdown(document.headlines)});
  pieces.push_back({"the runs", runs_markdown(document.runs)});
  for (const Section& section : document.sections) pieces.push_back(section_piece(section));
  std::erase_if(pieces, [](const Piece& piece) { return piece.text.empty(); });
  return fitted(std::move(pieces), max_bytes);
}

std::string markdown_report(const ReportPage& page, size_t max_bytes) {
  return document_markdown(sections::report(page), max_bytes);
}

std::string judgement_markdown(const Judgement& judgement, size_t max_bytes) {
  return document_markdown(sections::judgement(judgement), max_bytes);
}

std::string load_result_markdown(const LoadResult& load, size_t max_bytes) {
  return document_markdown(sections::load_result(load), max_bytes);
}

}  // namespace topspin
