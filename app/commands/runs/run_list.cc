#include "app/commands/runs/run_list.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/text.h"
#include "core/run/source_text.h"
#include "tui/terminal/width.h"

namespace topspin {
namespace {

constexpr size_t kWidthWithCommit = 110;  // narrower lists leave the commit out

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

/// "2026-11-28 22:10"
std::string started(int64_t wall_ns) {
  std::string utc = format_utc(wall_ns);
  if (utc.size() < 16) return utc;
  utc[10] = ' ';
  return utc.substr(0, 16);
}

std::string reply_p99(const RunTotals& totals) {
  const auto p99 = totals.flows.reply_latency.summary().p99;
  return p99 ? format_duration(*p99) : "-";
}

std::string failed(const RunTotals& totals) {
  const auto share = failed_share(totals);
  return share ? fmt::format("{:.1f}%", 100 * *share) : "-";
}

/// Labels first: they tell runs of one command apart.
std::string description(const StoredRun& run) {
  std::string text;
  for (const auto& [key, value] : run.info.labels)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", key, value);
  const std::string what = run.info.command.empty()
                               ? run.info.settings.subject
                               : fmt::format("{}", fmt::join(run.info.command, " "));
  if (!what.empty()) text += (text.empty() ? "" : " ") + what;
  return sanitize_for_terminal(text);
}

/// At most `width` cells of `line`, which is fit for a terminal; a cut is shown by "...".
std::string cut(std::string line, size_t width) {
  constexpr std::string_view kMore = "...";
  if (width == 0 || static_cast<size_t>(text_width(line)) <= width) return line;
  while (!line.empty() && static_cast<size_t>(text_width(line)) + kMore.size() > width) {
    do line.pop_back();
    while (!line.empty() && (static_cast<unsigned char>(line.back()) & 0xC0) == 0x80);
    // The first byte of a character whose others are gone.
    if (!line.empty() && static_cast<unsigned char>(line.back()) >= 0xC0) line.pop_back();
  }
  return line + std::string(kMore);
}

}  // namespace

std::string_view run_state(const RunListRow& row) {
  if (!row.standing.complete) return run_status_name(row.measured.run.end.status);
  if (!row.standing.usable) return "unusable";
  return row.standing.may_be_judged ? "ok" : "not judged";
}

std::string run_list(const std::vector<RunListRow>& rows, size_t width) {
  const bool whole = width == 0;
  const bool with_commit = whole || width >= kWidthWithCommit;
  const auto line = [&](std::string_view number, std::string_view id, std::string_view start,
                        std::string_view lasted, std::string_view state, std::string_view p99,
                        std::string_view lost, std::string_view commit, std::string_view what) {
    std::string text = fmt::format("{:>5} ", number);
    if (whole) text += fmt::format("{:<36} ", id);
    text += fmt::format("{:<16} {:>7} {:<11} {:>7} {:>6} ", start, lasted, state, p99, lost);
    if (with_commit) text += fmt::format("{:<21} ", commit);
    text += what;
    while (text.ends_with(' ')) text.pop_back();
    return cut(std::move(text), width) + "\n";
  };
  std::string out = line("RUN", "ID", "STARTED (UTC)", "LASTED", "STATE", "P99", "FAILED", "COMMIT",
                         "LABELS, COMMAND");
  for (const RunListRow& row : rows) {
    const StoredRun& run = row.measured.run;
    out += line(fmt::format("#{}", run.number), sanitize_for_terminal(run.info.id),
                started(run.info.started_wall_ns), format_duration(run.end.duration_ns),
                run_state(row), reply_p99(row.measured.totals), failed(row.measured.totals),
                or_dash(sanitize_for_terminal(short_commit(run.info.source))), description(run));
  }
  return out;
}

}  // namespace topspin
