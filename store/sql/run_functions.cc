#include "store/sql/run_functions.h"

#include <algorithm>
#include <array>
#include <map>
#include <type_traits>

#include <fmt/format.h>

#include "core/tick/numbers.h"
#include "store/runs/fold_rows.h"

namespace topspin {
namespace {

template <typename T>
SqlValue sql_value(const T& value) {
  if constexpr (std::is_same_v<T, Histogram> || std::is_same_v<T, SignedHistogram>) {
    return SqlBlob{value.encode()};
  } else if constexpr (std::is_same_v<T, EventCount>) {
    return value.scaled() ? sql_value(*value.scaled()) : SqlValue();
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return static_cast<int64_t>(std::min<uint64_t>(value, INT64_MAX));
  } else {
    return int64_t{value};
  }
}
template <typename T>
SqlValue sql_value(const std::optional<T>& value) {
  return value ? sql_value(*value) : SqlValue();
}

using TakeNumber = std::function<SqlValue(const RunFold&)>;

/// How each column of a run's numbers is taken from its fold.
const std::map<std::string, TakeNumber, std::less<>>& numbers_of_runs() {
  static const auto kNumbers = [] {
    std::map<std::string, TakeNumber, std::less<>> numbers;
    for_each_number([&](const Number& number, auto at) {
      const auto take = [at](const Sample& sample) {
        const auto* value = at.find(sample);
        return value == nullptr ? SqlValue() : sql_value(*value);
      };
      numbers.emplace(number.name, [take](const RunFold& fold) { return take(fold.merged); });
      if (number.kind == NumberKind::kGauge) {
        numbers.emplace(fmt::format("{}{}", number.name, kGreatestSuffix),
                        [take](const RunFold& fold) { return take(fold.greatest); });
      }
    });
    return numbers;
  }();
  return kNumbers;
}

SqlValue text_or_null(const std::string& text) { return text.empty() ? SqlValue() : text; }

/// A word about a run: of what is stored, or of its description, which costs a reading of the run.
struct RunWord {
  std::string_view name;
  SqlValue (*of_run)(const StoredRun&);
  SqlValue (*of_description)(const RunDescription&);
};
constexpr std::array<RunWord, 7> kWords = {
    {{"status",
      [](const StoredRun& run) { return SqlValue(std::string(run_status_name(run.end.status))); },
      nullptr},
     {"duration_ns", [](const StoredRun& run) { return SqlValue(run.end.duration_ns); }, nullptr},
     {"ticks", [](const StoredRun& run) { return sql_value(run.ticks); }, nullptr},
     {"state", nullptr, [](const RunDescription& d) { return text_or_null(d.state); }},
     {"reasons", nullptr, [](const RunDescription& d) { return text_or_null(d.reasons); }},
     {"p99", nullptr, [](const RunDescription& d) { return sql_value(d.reply_latency_ns_p99); }},
     {"failed_share", nullptr, [](const RunDescription& d) {
        return d.failed_share ? SqlValue(*d.failed_share) : SqlValue();
      }}}};

/// The texts that a view gave; a statement may give anything.
Result<std::vector<std::string_view>> texts(std::span<const SqlValue> arguments) {
  std::vector<std::string_view> all;
  for (const SqlValue& argument : arguments) {
    const auto* text = std::get_if<std::string>(&argument);
    if (text == nullptr)
      return make_error(ErrorCode::kUsage,
                        "run_word() and number_of_run() take the texts that the views give them");
    all.emplace_back(*text);
  }
  return all;
}

}  // namespace

Result<SqlValue> RunFunctions::run_word(std::span<const SqlValue> arguments) {
  TOPSPIN_ASSIGN(const auto given, texts(arguments));
  if (run_.info.id != given[0]) {
    description_.reset();
    run_ = {};
    TOPSPIN_ASSIGN(run_, store_.find_run(given[0]));
  }
  for (const RunWord& word : kWords) {
    if (word.name != given[1]) continue;
    if (word.of_run != nullptr) return word.of_run(run_);
    if (!description_) description_ = describe_(store_, run_);
    return word.of_description(*description_);
  }
  return SqlValue();
}

Result<SqlValue> RunFunctions::number_of_run(std::span<const SqlValue> arguments) {
  TOPSPIN_ASSIGN(const auto given, texts(arguments));
  const RunPart part =
      given[1] == run_part_name(RunPart::kMeasured) ? RunPart::kMeasured : RunPart::kWhole;
  if (folded_id_ != given[0] || folded_part_ != part) {
    folded_id_.clear();
    auto fold = store_.fold(std::string(given[0]), part);
    if (!fold.ok()) {
      Error error = std::move(fold).error();
      error.message = fmt::format("run {}: {}", given[0], error.message);
      return error;
    }
    fold_ = *std::move(fold);
    folded_id_ = given[0];
    folded_part_ = part;
  }
  const auto number = numbers_of_runs().find(given[2]);
  return number == numbers_of_runs().end() ? SqlValue() : number->second(fold_);
}

Status RunFunctions::add_to(ForeignSql& sql) {
  TOPSPIN_TRY(sql.add_function(
      "run_word", 2, [this](std::span<const SqlValue> arguments) { return run_word(arguments); }));
  return sql.add_function("number_of_run", 3, [this](std::span<const SqlValue> arguments) {
    return number_of_run(arguments);
  });
}

}  // namespace topspin
