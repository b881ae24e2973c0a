// HdrHistogram's percentile text, which its plotter and wrk2's scripts read.
//
//        Value     Percentile TotalCount 1/(1-Percentile)
//
//     1234.000 0.500000000000       5000           2.00
//     ...
//   #[Mean    =     1300.000, StdDeviation   =      210.000]
//   #[Max     =     9000.000, Total count    =        10000]
//   #[Buckets =           39, SubBuckets     =           32]
//
// Percentiles get denser towards 1: there are 5 steps for each halving of the distance. A value is
// the upper edge of its bucket, but never above the greatest value. Values are in nanoseconds.
// Lateness is signed; an early message counts as 0, because a plot of waiting cannot show negative
// values.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/text.h"
#include "report/export/export.h"
#include "report/export/rows.h"

namespace topspin {
namespace {

constexpr double kStepsAHalving = 5;

void add(std::optional<Histogram>& total, const Histogram& part) {
  if (!total) total.emplace();
  total->merge(part);
}
void add(std::optional<Histogram>& total, const std::optional<Histogram>& part) {
  if (part) add(total, *part);
}
void add(std::optional<Histogram>& total, const SignedHistogram& part) {
  if (!total) total.emplace();
  total->record_n(0, part.negative().count());
  total->merge(part.non_negative());
}

double standard_deviation(const Histogram& histogram, double mean) {
  double squares = 0;
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    if (histogram.cell(i) == 0) continue;
    const double middle = (static_cast<double>(histogram_bucket_min(i)) +
                           static_cast<double>(histogram_bucket_max(i))) /
                          2;
    squares += static_cast<double>(histogram.cell(i)) * (middle - mean) * (middle - mean);
  }
  return std::sqrt(squares / static_cast<double>(histogram.count()));
}

/// Writes one line for each step of percentiles that the samples can distinguish, up to 1.
void write_lines(const Histogram& histogram, ExportOutput& output) {
  const auto count = static_cast<double>(histogram.count());
  const uint64_t max = histogram.max().value_or(0);
  double wanted = 0;
  uint64_t below = 0;  // samples up to and including bucket i
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    const uint64_t cell = histogram.cell(i);
    if (cell == 0) continue;
    below += cell;
    const double reached = static_cast<double>(below) / count;
    if (reached < wanted) continue;
    const uint64_t value = std::min(histogram_bucket_max(i), max);
    if (below == histogram.count()) {
      output.write(fmt::format("{:12.3f} {:2.12f} {:10d} {:>14}\n", static_cast<double>(max), 1.0,
                               below, "inf"));
      return;
    }
    output.write(fmt::format("{:12.3f} {:2.12f} {:10d} {:14.2f}\n", static_cast<double>(value),
                             reached, below, 1 / (1 - reached)));
    // The next percentile: a fifth of the way towards half of the remaining distance.
    const double halvings = std::floor(std::log2(1 / (1 - reached))) + 1;
    wanted = reached + 1 / (kStepsAHalving * std::exp2(halvings));
  }
}

}  // namespace

Status export_hdr(RunStore& store, const StoredRun& run, std::string_view histogram,
                  ExportOutput& output) {
  std::optional<Histogram> total;
  std::vector<std::string> all;
  for_each_tick_histogram(Sample{},
                          [&](std::string_view name, const auto&) { all.emplace_back(name); });
  for_each_load_histogram(LoadResult{},
                          [&](std::string_view name, const Histogram&) { all.emplace_back(name); });
  const std::string names = fmt::format("{}", fmt::join(all, ", "));
  if (std::find(all.begin(), all.end(), histogram) == all.end()) {
    const std::vector<std::string_view> views(all.begin(), all.end());
    return make_error(ErrorCode::kUsage, fmt::format("--histogram {} is not one of {}{}", histogram,
                                                     names, did_you_mean(histogram, views)));
  }
  TOPSPIN_TRY(store.for_each_tick(run.info.id, [&](const Sample& sample) {
    for_each_tick_histogram(sample, [&](std::string_view name, const auto& part) {
      if (name == histogram) add(total, part);
    });
  }));
  TOPSPIN_ASSIGN(const auto load, store.load_load(run.info.id));
  if (load) {
    for_each_load_histogram(*load, [&](std::string_view name, const Histogram& part) {
      if (name == histogram) add(total, part);
    });
  }
  if (!total || total->empty()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("run {} has no samples of {}; choose another with --histogram, "
                                  "one of {}",
                                  run.info.id, histogram, names));
  }
  const double mean = static_cast<double>(total->sum()) / static_cast<double>(total->count());
  output.write(fmt::format("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount",
                           "1/(1-Percentile)"));
  write_lines(*total, output);
  output.write(fmt::format("#[Mean    = {:12.3f}, StdDeviation   = {:12.3f}]\n", mean,
                           standard_deviation(*total, mean)));
  output.write(fmt::format("#[Max     = {:12.3f}, Total count    = {:12d}]\n",
                           static_cast<double>(total->max().value_or(0)), total->count()));
  output.write(fmt::format("#[Buckets = {:12d}, SubBuckets     = {:12d}]\n",
                           kHistogramBuckets / TOPSPIN_HISTOGRAM_SUB_BUCKETS,
                           TOPSPIN_HISTOGRAM_SUB_BUCKETS));
  return output.finish();
}

}  // namespace topspin
