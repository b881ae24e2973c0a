#include "report/text/text_report.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "report/document/document.h"
#include "report/sections/sections.h"
#include "report/text/text.h"

namespace topspin {

std::string TextWay::escape(std::string_view text, size_t most_bytes) {
  return document::plain_text(text, most_bytes);
}

std::string ended_line(const Text& line) {
  std::string text = line.str();
  const size_t end = text.find_last_not_of(' ');
  text.resize(end == std::string::npos ? 0 : end + 1);
  return no_command(std::move(text)) + "\n";
}

namespace {

using namespace document;

constexpr size_t kWidestWords = 58;    // a longer cell of words shifts the cells after it
constexpr size_t kLeastCutWidth = 18;  // a column is not cut below this

std::string upper_case(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
    return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  return upper;
}

size_t columns_of(const Text& text) { return static_cast<size_t>(text_width(text.str())); }

Text spaces(size_t count) { return Text::escaped(std::string(count, ' '), count); }

Text padded(const Text& text, size_t width, bool to_the_right) {
  const size_t wide = columns_of(text);
  if (wide >= width) return text;
  return to_the_right ? spaces(width - wide) + text : text + spaces(width - wide);
}

Text own(const std::string& text) { return Text::escaped(text, text.size()); }

/// Bad values are in capitals, because there are no colours.
Text span_text(const Span& span) {
  switch (span.kind) {
    case Span::Kind::kAbsent: return "-";
    case Span::Kind::kTime: return own(format_utc(static_cast<int64_t>(span.value)));
    case Span::Kind::kNumber:
      return own(before_number(span, ">=") + plain_number(span.unit, span.value));
    case Span::Kind::kWords:
    case Span::Kind::kOurs:
    case Span::Kind::kCode:
    case Span::Kind::kSide: break;
  }
  return Text::escaped(span.tone == Tone::kBad ? upper_case(span.text) : span.text,
                       span.most_bytes);
}

Text line_text(const Line& line) {
  Text text;
  for (const Span& span : line) text += span_text(span);
  return text;
}

/// A table as cells of text: which columns are shown, and how wide each is.
struct Grid {
  std::vector<size_t> shown;
  std::vector<size_t> widths;  // of all columns
  std::vector<const Row*> rows;
  std::vector<std::vector<Text>> cells;  // of each row, of all columns
  std::vector<std::string> left_out;     // titles

  size_t width() const {
    size_t sum = 0;
    for (const size_t column : shown) sum += widths[column] + 2;
    return sum;
  }
};

Text cut(const Text& text, size_t cells) {
  size_t used = 0, kept = 0;
  for (size_t at = 0; at < text.size();) {
    const auto c = next_code_point(text.str(), at);
    used += c ? static_cast<size_t>(code_point_width(*c)) : 1;
    if (used > cells) return own(text.str().substr(0, kept)) + "…";
    if (used < cells) kept = at;  // leaves a cell for the ellipsis
  }
  return text;
}

/// Cuts the last column to the part of `width` that the others leave, but not below its least
/// width.
void cut_last_column(const Table& table, Grid& grid, size_t width) {
  if (table.columns.empty() || !table.columns.back().cut || grid.width() <= width) return;
  const size_t last = table.columns.size() - 1;
  const size_t others = grid.width() - grid.widths[last];
  grid.widths[last] = std::max(width - std::min(width, others), kLeastCutWidth);
  for (std::vector<Text>& cells : grid.cells) cells[last] = cut(cells[last], grid.widths[last]);
}

/// Leaves out spare columns from the last on until the table fits `width`.
void leave_out_columns(const Table& table, Grid& grid, size_t width) {
  // A column that can be cut needs no more than its least width.
  const auto needed = [&] {
    const size_t last = grid.shown.empty() ? 0 : grid.shown.back();
    const bool can_be_cut = !grid.shown.empty() && table.columns[last].cut;
    return grid.width() -
           (can_be_cut ? grid.widths[last] - std::min(grid.widths[last], kLeastCutWidth) : 0);
  };
  for (size_t c = table.columns.size(); c-- > 0 && needed() > width;) {
    if (!table.columns[c].spare) continue;
    grid.left_out.insert(grid.left_out.begin(), table.columns[c].title);
    std::erase(grid.shown, c);
  }
}

Grid make_grid(const Table& table, size_t width) {
  Grid grid;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    grid.shown.push_back(c);
    grid.widths.push_back(columns_of(own(table.columns[c].title)));
  }
  for (const Row& row : table.rows) {
    if (row.shown != Shown::kEverywhere || grid.rows.size() >= table.most_in_text) continue;
    grid.rows.push_back(&row);
    std::vector<Text> cells;
    for (size_t c = 0; c < row.cells.size(); ++c) {
      cells.push_back(line_text(row.cells[c].line));
      const size_t wide = columns_of(cells[c]);
      grid.widths[c] =
          std::max(grid.widths[c], table.columns[c].cut ? wide : std::min(wide, kWidestWords));
    }
    grid.cells.push_back(std::move(cells));
  }
  leave_out_columns(table, grid, width);
  cut_last_column(table, grid, width);
  return grid;
}

std::string grid_line(const Table& table, const Grid& grid, const std::vector<Text>& cells) {
  Text line;
  for (const size_t c : grid.shown) {
    line += "  ";
    line += padded(cells[c], grid.widths[c], table.columns[c].is_number);
  }
  return ended_line(line);
}

std::string head_line(const Table& table, Grid& grid) {
  std::vector<Text> cells;
  for (const Column& column : table.columns) cells.push_back(own(column.title));
  std::string text;
  if (!table.title.empty() && !cells.empty() && cells[0].empty() && !table.columns[0].is_number) {
    cells[0] = Text::escaped(table.title, kPageTextBytes);
    grid.widths[0] = std::max(grid.widths[0], columns_of(cells[0]));
  } else if (!table.title.empty()) {
    text += ended_line("  " + Text::escaped(table.title, kPageTextBytes));
  }
  const bool untitled =
      std::all_of(cells.begin(), cells.end(), [](const Text& cell) { return cell.empty(); });
  return untitled ? text : text + grid_line(table, grid, cells);
}

/// Wraps to lines of at most `width` columns, the first indented by `first`, the others by `rest`.
std::string wrapped(const Text& text, size_t first, size_t rest, size_t width = kTextWidth) {
  std::string out, line(first, ' ');
  bool is_begun = false;
  for (size_t at = 0; at < text.str().size();) {
    const size_t end = std::min(text.str().find(' ', at), text.str().size());
    const std::string word = text.str().substr(at, end - at);
    if (is_begun && columns_of(own(line)) + 1 + columns_of(own(word)) > width) {
      out += no_command(line) + "\n";
      line.assign(rest, ' ');
      is_begun = false;
    }
    line += (is_begun ? " " : "") + word;
    is_begun = true;
    at = end + 1;
  }
  return out + no_command(line) + "\n";
}

std::string table_text(const Table& table, size_t width = kTextWidth) {
  Grid grid = make_grid(table, width);
  if (grid.rows.empty()) return {};
  std::string text = head_line(table, grid);
  for (size_t r = 0; r < grid.rows.size(); ++r) {
    text += grid_line(table, grid, grid.cells[r]);
    for (const Cell& cell : grid.rows[r]->cells) {
      if (!cell.under.empty() && table.unders_in_text)
        text += ended_line("      " + line_text(cell.under));
    }
  }
  size_t shown_everywhere = 0;
  for (const Row& row : table.rows) shown_everywhere += row.shown == Shown::kEverywhere ? 1 : 0;
  if (const size_t more = table.more + shown_everywhere - grid.rows.size(); more > 0)
    text += ended_line("  and " + own(page_count(more)) + " more");
  if (!grid.left_out.empty()) {
    Text names;
    for (const std::string& title : grid.left_out)
      names += (names.empty() ? Text() : Text(", ")) + own(title);
    text += wrapped("(no room for: " + names + "; other formats have them)", 2, 3, width);
  }
  return text;
}

std::string facts_text(const Facts& facts, const Text& indent) {
  std::string text;
  size_t width = 8;
  for (const auto& [key, line] : facts.list) width = std::max(width, columns_of(own(key)));
  if (!facts.title.empty()) text += ended_line(indent + own(facts.title));
  for (const auto& [key, line] : facts.list)
    text += ended_line(indent + padded(own(key), width + 2, false) + line_text(line));
  return text;
}

/// Bars of eight heights, with the greatest value full. If nothing was measured there is a gap,
/// which differs from 0.
Text sparkline(const Curves::Curve& curve, double top) {
  static constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string out;
  for (const Curves::Point& point : curve.points) {
    if (point.absent) {
      out += " ";
      continue;
    }
    const double share = top > 0 ? std::clamp(point.greatest / top, 0.0, 1.0) : 0;
    out += kBars[static_cast<size_t>(share * 7 + 0.5)];
  }
  return own(out);
}

std::string curves_text(const Curves& curves) {
  std::string text;
  size_t width = 18;
  for (const Curves::Curve& curve : curves.curves) width = std::max(width, curve.name.size());
  for (const Curves::Curve& curve : curves.curves) {
    double top = 0;
    for (const Curves::Point& point : curve.points) {
      if (!point.absent) top = std::max(top, point.greatest);
    }
    text += ended_line("  " + padded(own(curve.name), width, false) + " " + sparkline(curve, top) +
                       " max " + own(plain_number(curve.unit, top)));
  }
  return text;
}

/// A share as a bar of at most `width` cells, in eighths of a cell.
Text bar(double share, double greatest, size_t width) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<size_t>(
      greatest > 0 ? std::lround(share / greatest * static_cast<double>(width * 8)) : 0);
  std::string text;
  for (size_t i = 0; i < eighths / 8; ++i) text += "█";
  text += kEighths[eighths % 8];
  if (text.empty() && share > 0) text = kEighths[1];  // a small share is not 0
  return own(text);
}

std::string shares_text(const Shares& shares) {
  constexpr size_t kBarWidth = 40;
  double greatest = 0;
  for (const Shares::Bar& b : shares.bars) greatest = std::max({greatest, b.a, b.b});
  std::string text;
  const auto row = [&](const Text& name, const Text& side, double share) {
    text += ended_line("  " + padded(name, 22, true) + " " + side + " " +
                       padded(own(plain_number(Unit::kShare, share)), 6, true) + " " +
                       bar(share, greatest, kBarWidth));
  };
  for (const Shares::Bar& b : shares.bars) {
    row(line_text(b.name), "A", b.a);
    row("", "B", b.b);
  }
  return text;
}

std::string parts_text(const Parts& parts) {
  Text line = "  " + line_text(parts.title) + ": ";
  for (const Parts::Part& part : parts.parts) {
    if (&part != &parts.parts.front()) line += ", ";
    line += own(plain_number(Unit::kShare, part.share)) + " " + own(part.name) + " (" +
            span_text(part.value) + ")";
  }
  return ended_line(line);
}

struct BlockText {
  size_t width;
  std::string operator()(const Paragraph& p) const {
    return p.aside ? std::string() : ended_line("  " + line_text(p.line));
  }
  std::string operator()(const Facts& facts) const { return facts_text(facts, "  "); }
  std::string operator()(const Table& table) const { return table_text(table, width); }
  std::string operator()(const Side& side) const { return side.run == 0 ? "  A\n" : "  B\n"; }
  std::string operator()(const Parts& parts) const { return parts_text(parts); }
  std::string operator()(const Shares& shares) const { return shares_text(shares); }
  std::string operator()(const Curves& curves) const { return curves_text(curves); }
  std::string operator()(const Plot& plot) const {
    std::string text;
    for (const Table& table : plot.tables)
      if (plot.tables_in_text) text += table_text(table, width);
    return text;
  }
  std::string operator()(const PlotControls&) const { return {}; }
};

std::string section_text(const Section& section, size_t width) {
  std::string text;
  for (const Block& block : section.blocks) {
    if (block.is_detail) continue;
    const std::string of_block = std::visit(BlockText{width}, block.body);
    if (!text.empty() && !of_block.empty()) text += "\n";
    text += of_block;
  }
  return text.empty() || section.title.empty() ? text : ended_line(own(section.title)) + text;
}

std::string verdict_text(const TopVerdict& verdict, const std::string& title) {
  std::string text;
  if (!verdict.word.empty())
    text = ended_line(own(upper_case(verdict.word)));
  else if (!title.empty())
    text = ended_line(Text::escaped(title, kPageTextBytes));
  if (!verdict.sentence.empty()) text += ended_line("  " + own(verdict.sentence));
  for (const std::string& reason : verdict.reasons)
    text += ended_line("  " + Text::escaped(reason, 1000));
  for (const Line& remark : verdict.remarks) text += ended_line("  " + line_text(remark));
  return text;
}

/// A line of words under a cause, wrapped: "because: ..."
std::string under_cause(const char* what, const Line& line) {
  if (line.empty()) return {};
  return wrapped(padded(own(what), 12, false) + line_text(line), 3, 15);
}

std::string causes_text(const std::vector<Cause>& causes) {
  if (causes.empty()) return {};
  std::string text = "FINDINGS\n";
  size_t number = 0;
  for (const Cause& cause : causes) {
    text += wrapped(own(std::to_string(++number) + " ") + line_text(cause.sentence), 1, 3);
    text += under_cause("evidence", cause.evidence) + under_cause("refuted by", cause.refuted_by) +
            under_cause("next", cause.next_step);
  }
  return text;
}

std::string headlines_text(const std::vector<Headline>& headlines) {
  if (headlines.empty()) return {};
  Table table;
  const bool two = headlines.front().of_run.size() > 1;
  table.columns = two ? std::vector<Column>{{"", false}, {"A"}, {"B"}, {"Change"}}
                      : std::vector<Column>{{"", false}, {""}, {"", false}};
  for (const Headline& h : headlines) {
    Row row{{words(h.label), h.of_run[0].number}};
    row.cells.emplace_back(two ? Line{h.of_run[1].number} : h.of_run[0].extra);
    if (two) row.cells.emplace_back(h.change);
    table.rows.push_back(std::move(row));
  }
  return table_text(table);
}

}  // namespace

std::string document_text(const document::Document& document, size_t width) {
  std::string text;
  const auto add = [&](const std::string& piece) {
    if (!text.empty() && !piece.empty()) text += "\n";
    text += piece;
  };
  if (document.causes_lead) add(causes_text(document.causes));
  add(verdict_text(document.verdict, document.title));
  if (!document.causes_lead) add(causes_text(document.causes));
  for (const Facts& run : document.runs) add(facts_text(run, {}));
  add(headlines_text(document.headlines));
  for (const Section& section : document.sections) add(section_text(section, width));
  return text;
}

std::string text_report(const ReportPage& page) { return document_text(sections::report(page)); }

std::string findings_text(const std::vector<Finding>& findings) {
  return document_text(sections::findings(findings));
}

std::string slow_moment_text(const SlowMoment& moment) {
  return document_text(sections::slow_moment(moment));
}

std::string judgement_text(const Judgement& judgement, bool with_bars) {
  return document_text(sections::judgement(judgement, with_bars));
}

std::string file_reading_text(const FileReading& reading) {
  return document_text(sections::file_reading(reading));
}

std::string two_ends_text(const TwoEnds& ends) { return document_text(sections::two_ends(ends)); }

std::string doctor_text(const DoctorReport& report) {
  return document_text(sections::doctor(report));
}
std::string proof_text(const ProofReport& report) { return document_text(sections::proof(report)); }

std::string aa_check_text(const AaCheck& check) { return document_text(sections::aa_check(check)); }

std::string load_result_text(const LoadResult& load) {
  return document_text(sections::load_result(load));
}

}  // namespace topspin
