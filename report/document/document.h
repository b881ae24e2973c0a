// A report as a tree. It holds the content but not the layout. It is built once
// (report/sections), and each format has a renderer that walks it (report/text, report/markdown,
// report/html).
//
// All text in it may be hostile; renderers escape it. Numbers are not formatted; each renderer
// formats them in its own way. Plain values.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "report/document/readable.h"

namespace topspin::document {

enum class Tone : uint8_t { kPlain, kGood, kBad, kOpen };

/// A piece of a line.
struct Span {
  enum class Kind : uint8_t {
    kWords,  // may be hostile
    kOurs,   // words from the source code
    kCode,
    kNumber,
    kAbsent,  // was not measured
    kTime,    // `value` is wall-clock time
    kSide,    // A or B
  };
  Kind kind = Kind::kWords;
  std::string text = {};  // for all kinds except numbers and times
  size_t most_bytes = kPageTextBytes;
  double value = 0;  // for numbers and times
  Unit unit = Unit::kCount;
  bool at_least = false;  // `value` is only a lower bound
  bool plus = false;      // a difference: `value` is shown with its sign
  bool strong = false;
  Tone tone = Tone::kPlain;
  std::string path = {};  // where `report --format json` has the number; empty: nowhere
  size_t run = 0;         // the run that the number is from
};
using Line = std::vector<Span>;

/// What stands before a number; a minus is part of the number.
inline std::string before_number(const Span& span, std::string_view at_least) {
  return std::string(span.at_least ? at_least : "") + (span.plus && span.value >= 0 ? "+" : "");
}

Span words(std::string_view text, size_t most_bytes = kPageTextBytes);
/// REQUIRES: `text` is a literal in the source.
Span ours(std::string_view text);
Span code(std::string_view text, size_t most_bytes = kPageTextBytes);
Span absent();
Span number(Unit unit, double value);
Span time_of_day(int64_t wall_ns);
/// A metric's value in its unit ("ns", "bytes", "share", "1", "1/s").
Span metric_value(const std::string& unit, const std::optional<double>& value);
inline Span share(double of_one) { return number(Unit::kShare, of_one); }

template <typename T>
concept OptionalNumber = requires(const T& value) {
  *value;
  value.has_value();
};

namespace detail {
template <typename T>
Span measured(Unit unit, const T& value) {
  if constexpr (OptionalNumber<T>)
    return value ? number(unit, static_cast<double>(*value)) : absent();
  else
    return number(unit, static_cast<double>(value));
}
}  // namespace detail

/// `value` is an integer or an optional integer.
template <typename T>
Span count(const T& value) {
  return detail::measured(Unit::kCount, value);
}
template <typename T>
Span duration(const T& ns) {
  return detail::measured(Unit::kNanoseconds, ns);
}
template <typename T>
Span bytes(const T& value) {
  return detail::measured(Unit::kBytes, value);
}

/// "+13.2us".
inline Span difference(Span span) {
  span.plus = true;
  return span;
}
inline Span strong(Span span) {
  span.strong = true;
  return span;
}
inline Span toned(Tone tone, Span span) {
  span.tone = tone;
  return span;
}
inline Span at_path(Span span, std::string path, size_t run = 0) {
  span.path = std::move(path);
  span.run = run;
  return span;
}

inline void append(Line& line, Span span) { line.push_back(std::move(span)); }
inline void append(Line& line, const Line& more) {
  line.insert(line.end(), more.begin(), more.end());
}
inline void append(Line& line, const char* text) { line.push_back(ours(text)); }
inline void append(Line& line, std::string_view text) { line.push_back(words(text)); }
inline void append(Line& line, const std::string& text) { line.push_back(words(text)); }

/// A line with a piece (Span, Line or text) for each "{}" of `layout`.
template <typename... Pieces>
Line say(std::string_view layout, const Pieces&... pieces) {
  Line line;
  [[maybe_unused]] const auto before_piece = [&] {
    const size_t at = layout.find("{}");
    if (at > 0) line.push_back(ours(layout.substr(0, at)));
    layout.remove_prefix(at + 2);
  };
  ((before_piece(), append(line, pieces)), ...);
  if (!layout.empty()) line.push_back(ours(layout));
  return line;
}

/// The pieces, separated by `between`.
Line listed(const std::vector<Line>& parts, std::string_view between = ", ");

/// A cell of a table.
struct Cell {
  Cell(Span span) : line{std::move(span)} {}
  Cell(Line of) : line(std::move(of)) {}
  Cell(const char* text) : line{ours(text)} {}

  Line line;
  Line under = {};  // a remark, shown below
  Tone tone = Tone::kPlain;
};

struct Column {
  std::string title = {};
  bool is_number = true;
  bool spare = false;  // left out if there is no room
  bool cut = false;    // cut if there is no room; only for the last column
};

enum class Shown : uint8_t { kEverywhere, kNotAtTerminals, kOnPages };

struct Row {
  std::vector<Cell> cells;  // one per column; the first one names the row
  Shown shown = Shown::kEverywhere;
};

struct Table {
  std::string title = {};
  std::vector<Column> columns = {};
  std::vector<Row> rows = {};
  size_t more = 0;  // how many rows were left out
  size_t most_in_text = SIZE_MAX;
  bool unders_in_text = true;  // false: a terminal leaves out what is under cells
};

struct Paragraph {
  Line line;
  bool aside = false;  // explains how to read the next block; a terminal leaves it out
};

/// Keys and values, one pair per line.
struct Facts {
  std::string title = {};
  std::vector<std::pair<std::string, Line>> list = {};
};

/// The blocks that follow are about this one of two runs.
struct Side {
  size_t run = 0;
};

/// A bar that shows the parts of a whole.
struct Parts {
  struct Part {
    std::string name;
    Span value;
    double share = 0;  // of the whole
  };
  Line title = {};
  std::vector<Part> parts = {};
};

/// Shares of A and B side by side.
struct Shares {
  struct Bar {
    Line name;
    double a = 0;
    double b = 0;
  };
  std::string title = {};
  std::vector<Bar> bars = {};
};

/// The most important curves of a run. A terminal shows a line of blocks, Markdown a table. A page
/// has plots instead.
struct Curves {
  struct Point {
    double least = 0;
    double greatest = 0;
    bool absent = true;
  };
  struct Curve {
    std::string name;
    Unit unit = Unit::kCount;
    std::vector<Point> points = {};  // one for each of `ends_ns`
  };
  std::vector<int64_t> ends_ns = {};
  std::vector<Curve> curves = {};
};

/// The place of the plot with this id in the page's data (report/html/plot_data.h), with tables of
/// the same numbers. Only pages have plots.
struct Plot {
  std::string id;
  Line title;
  Line caption = {};
  std::vector<Table> tables = {};
  Line note = {};               // how to read it
  bool tables_in_text = false;  // formats without plots show the tables instead
  bool small = false;           // placed beside another one if there is room
};
/// The controls of all plots over time.
struct PlotControls {};

using Body = std::variant<Paragraph, Facts, Table, Side, Parts, Shares, Curves, Plot, PlotControls>;

/// The place of a block on a page that has room for two columns.
enum class Place : uint8_t { kWhole, kLeft, kRight };

struct Block {
  template <typename T>
  requires std::constructible_from<Body, T> &&
      (!std::same_as<std::remove_cvref_t<T>, Block>)Block(T of, Place at = Place::kWhole,
                                                          bool detail = false)
      : body(std::move(of)), place(at), is_detail(detail) {}

  Body body;
  Place place = Place::kWhole;
  bool is_detail = false;  // a terminal leaves it out
};

/// Whether a section is always open, folded where space is short (Markdown), or always folded.
enum class Fold : uint8_t { kOpen, kWhereShort, kAlways };

struct Section {
  std::string id;     // "flows"
  std::string title;  // "Flows"; empty: no heading
  std::vector<Block> blocks = {};
  Fold fold = Fold::kOpen;
};

/// The verdict at the top.
struct TopVerdict {
  Tone tone = Tone::kGood;
  std::string word;      // "Pass", "Usable", ...
  std::string sentence;  // explains the word
  std::vector<std::string> reasons = {};
  std::vector<Line> remarks = {};  // on single runs
};

/// A finding: why work failed or was late in a run.
struct Cause {
  Line sentence;
  Line evidence = {};    // the numbers that support it
  Line refuted_by = {};  // what would disprove it
  Line next_step = {};
  Tone tone = Tone::kBad;  // kPlain: nothing stands out
};

/// A headline number of each run.
struct Headline {
  struct Value {
    Span number;
    Line extra = {};  // a remark
  };
  std::string label;
  std::vector<Value> of_run = {};
  Line change = {};  // from A to B
};

struct Document {
  std::string title;             // empty: the titles of the sections are enough
  std::vector<Facts> runs = {};  // describes each run
  TopVerdict verdict = {};
  std::vector<Cause> causes = {};  // for each run in turn, the worst first
  bool causes_lead = false;        // show them before the verdict
  std::vector<Headline> headlines = {};
  std::vector<Section> sections = {};  // the sections that are not empty, in order
};

}  // namespace topspin::document
