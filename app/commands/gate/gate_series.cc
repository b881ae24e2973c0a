#include "app/commands/gate/gate_series.h"

#include <charconv>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "core/number/csv.h"
#include "store/runs/gate_log.h"

namespace topspin {
namespace {

struct Samples {
  std::string column;
  std::vector<double> values;
};

Result<Samples> read_samples(const std::string& path, const std::string& column) {
  TOPSPIN_ASSIGN(const CsvTable table, read_csv_file(path));
  TOPSPIN_ASSIGN(const size_t at, column.empty() ? only_column(table) : find_column(table, column));
  TOPSPIN_ASSIGN(std::vector<double> values, column_numbers(table, at));
  if (values.empty()) {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} has no rows; there is nothing to compare", path));
  }
  if (values.size() > kMostValues) {
    return make_error(ErrorCode::kInput, fmt::format("{} has {} rows; at most {} can be compared",
                                                     path, values.size(), kMostValues));
  }
  return Samples{table.columns[at], std::move(values)};
}

}  // namespace

Result<Judgement> compare_samples(const GateOptions& o) {
  TOPSPIN_ASSIGN(const Samples a, read_samples(o.samples[0], o.column));
  TOPSPIN_ASSIGN(const Samples b, read_samples(o.samples[1], o.column));
  TOPSPIN_ASSIGN(const Metric metric, metric_of(o, a.column));
  if (o.paired && a.values.size() != b.values.size()) {
    return make_error(
        ErrorCode::kInput,
        fmt::format("{} has {} rows and {} has {}; with --paired both need the same number",
                    o.samples[0], a.values.size(), o.samples[1], b.values.size()));
  }
  Judgement judgement;
  judgement.mode = "compare";
  judgement.seed = o.seed;
  judgement.metrics.push_back(
      measure(metric, a.values, b.values, o.paired ? Layout::kPaired : Layout::kUnpaired, o.seed));
  conclude(judgement, o.strict);
  return judgement;
}

namespace {

/// The column with the times: the named one, or "time" if it exists.
Result<std::optional<size_t>> time_column_of(const CsvTable& table, const std::string& name) {
  if (!name.empty()) {
    TOPSPIN_ASSIGN(const size_t at, find_column(table, name));
    return std::optional(at);
  }
  const auto time = find_column(table, "time");
  return time.ok() ? std::optional(*time) : std::nullopt;
}

Result<std::set<size_t>> parse_indexes(const std::vector<std::string>& texts) {
  std::set<size_t> indexes;
  for (const std::string& text : texts) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (error != std::errc() || end != text.data() + text.size()) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("--acknowledge {} must be the index of a row, counted from 0", text));
    }
    indexes.insert(index);
  }
  return indexes;
}

std::string series_name(const GateOptions& o, const std::string& column) {
  return fmt::format("{}:{}", std::filesystem::path(o.series).filename().string(), column);
}

struct Series {
  std::string name;
  History history;
};

Result<Series> read_series(const GateOptions& o) {
  TOPSPIN_ASSIGN(const CsvTable table, read_csv_file(o.series));
  TOPSPIN_ASSIGN(const size_t at,
                 o.column.empty() ? only_column(table) : find_column(table, o.column));
  TOPSPIN_ASSIGN(const std::optional<size_t> time_at, time_column_of(table, o.time_column));
  Series series;
  series.name = series_name(o, table.columns[at]);
  TOPSPIN_ASSIGN(series.history.metric, metric_of(o, table.columns[at]));
  TOPSPIN_ASSIGN(series.history.values, column_numbers(table, at));
  if (time_at) {
    for (const auto& row : table.rows) series.history.times.push_back(row[*time_at]);
  }
  return series;
}

/// A series from a file has a log only if a database was named.
Result<std::vector<Acceptance>> acceptances_for_series(const GateOptions& o) {
  if (o.db.empty()) return std::vector<Acceptance>();
  return read_acceptances(o.db);
}

}  // namespace

Result<JudgedSeries> judge_series(const GateOptions& o) {
  TOPSPIN_ASSIGN(const Series series, read_series(o));
  TOPSPIN_ASSIGN(const std::set<size_t> acknowledged, parse_indexes(o.acknowledged));
  TOPSPIN_ASSIGN(const auto accepted, acceptances_for_series(o));
  OnPurpose on_purpose;
  for (const size_t index : acknowledged) on_purpose.changes[index];
  for (const Acceptance& acceptance : accepted) {
    if (acceptance.series == series.name)
      on_purpose.changes[acceptance.row_index] = acceptance.because;
  }
  JudgedSeries judged;
  judged.name = series.name;
  judged.judgement.mode = "history";
  judged.judgement.seed = o.seed;
  judge_history(judged.judgement, series.history, on_purpose);
  conclude_history(judged.judgement, o.strict);
  return judged;
}

}  // namespace topspin
