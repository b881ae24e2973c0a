// How often the gate raises a false alarm, and how often it finds a real change. The series are
// runs of one identical binary, so every alarm is false. For a real change, values are multiplied.
//
// usage: ci_detection [SERIES.csv COLUMN [TRIALS]]; default: aa_sqlite_insert.csv in
// $TOPSPIN_SERIES, cpu_us_per_row, 1000.
#include <cmath>
#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include "ci/judgement/compare.h"
#include "ci/statistics/change_points.h"
#include "ci/statistics/random.h"
#include "core/number/csv.h"

namespace topspin {
namespace {

using Values = std::vector<double>;

struct Counts {
  int fail = 0;
  int pass = 0;
  int inconclusive = 0;
};

/// A pair is two runs in a row. A random bit decides which is A; B is `ratio` times as expensive.
Counts judge_trials(const Values& series, size_t pairs, double ratio, int trials) {
  Random random(2026);
  Counts counts;
  for (int trial = 0; trial < trials; ++trial) {
    const size_t begin = random.below(series.size() - 2 * pairs + 1);
    Values a, b;
    for (size_t i = 0; i < pairs; ++i) {
      const size_t first = random.coin() ? 0 : 1;
      a.push_back(series[begin + 2 * i + first]);
      b.push_back(series[begin + 2 * i + 1 - first] * ratio);
    }
    std::vector<Comparison> all{
        measure(Metric{}, a, b, Layout::kPaired, static_cast<uint64_t>(trial))};
    judge(all);
    if (all[0].verdict == Verdict::kFail) ++counts.fail;
    if (all[0].verdict == Verdict::kPass) ++counts.pass;
    if (all[0].verdict == Verdict::kInconclusive) ++counts.inconclusive;
  }
  return counts;
}

struct HistoryCounts {
  int found = 0;   // histories whose step was found within kNear commits
  int alarms = 0;  // all other changes
};
constexpr size_t kHistory = 80;
constexpr double kNear = 10;

/// Histories of consecutive runs with a step of `ratio` somewhere in the middle half.
HistoryCounts judge_histories(const Values& series, double ratio, int histories) {
  Random random(2026);
  HistoryCounts counts;
  for (int i = 0; i < histories; ++i) {
    const auto begin =
        series.begin() + static_cast<std::ptrdiff_t>(random.below(series.size() - kHistory + 1));
    Values history(begin, begin + kHistory);
    const size_t step = kHistory / 4 + random.below(kHistory / 2 + 1);
    for (size_t k = step; k < kHistory; ++k) history[k] *= ratio;
    bool found = false;
    for (const ChangePoint& point : find_change_points(history)) {
      const double away = std::abs(static_cast<double>(point.index) - static_cast<double>(step));
      if (ratio != 1 && away <= kNear && point.change > 0)
        found = true;
      else
        ++counts.alarms;
    }
    counts.found += found ? 1 : 0;
  }
  return counts;
}

int run(const std::string& path, const std::string& column, int trials) {
  const auto table = read_csv_file(path);
  const auto at = table.ok() ? find_column(*table, column) : Result<size_t>(table.error());
  const auto numbers =
      at.ok() ? column_numbers(*table, *at) : Result<std::vector<double>>(at.error());
  if (!numbers.ok()) {
    fmt::print(stderr, "ci_detection: {}\n", numbers.error().message);
    return exit_code(numbers.error().code);
  }
  if (numbers->size() < 2 * kHistory || trials < 1) {
    fmt::print(stderr, "ci_detection: at least {} rows and 1 trial are needed\n", 2 * kHistory);
    return 2;
  }
  fmt::print("{}, {}: {} runs of identical code\n\n", path, column, numbers->size());
  fmt::print("A/B, interleaved pairs, margin 3%, {} trials each (% of trials)\n", trials);
  fmt::print("{:>6} {:>7} {:>7} {:>7} {:>13}\n", "pairs", "step", "fail", "pass", "inconclusive");
  const auto percent = [&](int count) { return 100.0 * count / trials; };
  for (const size_t pairs : {10u, 20u, 30u}) {
    for (const double ratio : {1.0, 1.05, 1.10}) {
      const Counts c = judge_trials(*numbers, pairs, ratio, trials);
      fmt::print("{:>6} {:>6.0f}% {:>7.1f} {:>7.1f} {:>13.1f}\n", pairs, 100 * (ratio - 1),
                 percent(c.fail), percent(c.pass), percent(c.inconclusive));
    }
  }
  fmt::print("\nhistories of {} commits, {} each\n", kHistory, trials);
  fmt::print("{:>6} {:>9} {:>29}\n", "step", "found %", "false changes per 100 commits");
  for (const double ratio : {1.0, 1.05, 1.10, 1.20}) {
    const HistoryCounts c = judge_histories(*numbers, ratio, trials);
    fmt::print("{:>5.0f}% {:>9.1f} {:>29.2f}\n", 100 * (ratio - 1), percent(c.found),
               percent(c.alarms) / kHistory);
  }
  return 0;
}

}  // namespace
}  // namespace topspin

int main(int argc, char** argv) {
  const char* named = std::getenv("TOPSPIN_SERIES");
  const std::string directory = named != nullptr ? named : TOPSPIN_SOURCE_DIR "/../shared/series";
  return topspin::run(argc > 1 ? argv[1] : directory + "/aa_sqlite_insert.csv",
                      argc > 2 ? argv[2] : "cpu_us_per_row", argc > 3 ? std::atoi(argv[3]) : 1000);
}
