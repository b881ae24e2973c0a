// Building blocks of the page's sections: cells, tables, figures, marks of A and B. Private to the
// page; every function that takes `html` wants it escaped already, every other escapes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

#include "report/document/readable.h"
#include "report/html/page_assets.h"
#include "report/html/plot_data.h"

namespace topspin {

inline constexpr size_t kTableRows = 48;  // under a plot

/// A count as a time or a size, which it may be too great for.
inline int64_t clamped(uint64_t value) {
  return static_cast<int64_t>(std::min<uint64_t>(value, INT64_MAX));
}

inline std::string absent_cell() { return R"(<td class="n absent">–</td>)"; }
inline std::string number_cell(const std::string& text) {
  return fmt::format(R"(<td class="n">{}</td>)", text);
}
/// `html` is escaped already.
inline std::string text_cell(const std::string& html) {
  return fmt::format(R"(<td class="text">{}</td>)", html.empty() ? "–" : html);
}

template <typename T>
inline std::string count_cell(const std::optional<T>& value) {
  return value ? number_cell(page_count(static_cast<uint64_t>(*value))) : absent_cell();
}

template <typename T>
inline std::string duration_cell(const std::optional<T>& ns) {
  if (!ns) return absent_cell();
  if constexpr (std::is_unsigned_v<T>) {
    return number_cell(page_duration(clamped(*ns)));
  } else {
    return number_cell(page_duration(*ns));
  }
}

/// Titles beginning with '#' stand over numbers.
inline std::string table_head(std::initializer_list<std::string_view> titles) {
  std::string html = "<thead><tr>";
  for (const std::string_view title : titles) {
    html += title.starts_with('#')
                ? fmt::format(R"(<th scope="col" class="n">{}</th>)", html_text(title.substr(1)))
                : fmt::format(R"(<th scope="col">{}</th>)", html_text(title));
  }
  return html + "</tr></thead>\n";
}

inline std::string row_head(const std::string& html) {
  return fmt::format(R"(<th scope="row">{}</th>)", html);
}

/// A table that scrolls on its own on a narrow screen, and can be reached by keyboard to do so.
inline std::string scrolling(const std::string& name, const std::string& table) {
  return fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{}</div>\n", name,
      table);
}

inline std::string side_mark(const ReportPage& page, size_t run) {
  const std::string_view side = side_name(page, run);
  if (side.empty()) return {};
  return fmt::format(R"(<span class="side side-{}">{}</span>)", run == 0 ? "a" : "b", side);
}

/// "A: " in headings of what each run has of its own.
inline std::string side_prefix(const ReportPage& page, size_t run) {
  const std::string mark = side_mark(page, run);
  return mark.empty() ? mark : mark + " ";
}

inline std::string figure_open(const std::string& id, const std::string& title_html) {
  return fmt::format(
      "<figure id=\"figure-{0}\">\n<figcaption><h3>{1}</h3></figcaption>\n{2}", id, title_html,
      kPageHasPlots ? fmt::format("<div class=\"plot\" data-plot=\"{}\"></div>\n", id) : "");
}

inline std::string details(const std::string& table) {
  return fmt::format("<details{}><summary>Table</summary>{}</details>\n",
                     kPageHasPlots ? "" : " open", scrolling("Table", table));
}

/// "12.0 s", with as many decimals as the run's ticks need.
inline std::string elapsed_text(int64_t ns) {
  return fmt::format("{:.{}f}\u202fs", static_cast<double>(ns) / 1e9, ns % 1'000'000'000 ? 1 : 0);
}

}  // namespace topspin
