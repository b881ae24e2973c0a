// The numbers that reports in words show first, and the words of verdicts: shared by HTML and
// Markdown. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "report/model/report_page.h"

namespace topspin {

/// One headline number of each run of the page.
struct Headline {
  struct Value {
    std::optional<double> raw;  // absent: not measured
    std::string text;           // as people read it; "–" if absent
    std::string extra;          // a word on it; may be empty
  };
  std::string path;  // where `report --format json` has it: summary.missed_ticks; may be empty
  std::string label;
  std::vector<Value> of_run;
  std::string change{};  // of A and B compared: the table's
};
std::vector<Headline> headlines(const ReportPage& page);

/// How good a verdict is: what colours it.
enum class Tone : uint8_t { kGood, kBad, kOpen };

/// What stands at the top of a report.
struct TopVerdict {
  Tone tone = Tone::kGood;
  std::string word;                  // "Pass", "Valid", ...
  std::string sentence;              // what that means
  std::vector<std::string> reasons;  // hostile text
};
TopVerdict top_verdict(const ReportPage& page);
TopVerdict judgement_verdict(const Judgement& judgement);

/// What a report is of: "node server.js 8888", "Traffic on lo", "A against B"; hostile text.
std::string report_title(const ReportPage& page);
std::string run_title(const StoredRun& run);

/// A metric's value in its unit ("ns", "bytes", "1", "1/s"), "–" if there is none.
std::string metric_value(const std::string& unit, const std::optional<double>& value);
/// A change of a comparison, its interval ("A to B") and an amount without a sign; "–" if absent.
std::string page_change(const Comparison& comparison, const std::optional<double>& change);
std::string page_interval(const Comparison& comparison);
std::string page_amount(const Comparison& comparison, const std::optional<double>& amount);
std::string probability_text(const std::optional<double>& p);

/// Whether lateness, missed ticks and silence are shown: some flow of some run had a period.
bool has_lateness(const ReportPage& page);

/// "2,000 of 20,131 requests not answered within 1 s, 256 of them later": stands beside every
/// percentile of reply latency.
std::string unanswered_text(const RunPage& run);

/// A reply latency, with a sign where it is only known to be at least that (core/periods.h).
std::string reply_latency_text(const RunPage& run, int64_t ns);

/// Losses that are not 0, in the order of LossInterval.
struct LossCount {
  std::string name;  // capture_kernel_drops
  std::string text;  // its count, or its time
  uint64_t raw = 0;
};
std::vector<LossCount> losses_that_occurred(const LossInterval& losses);

}  // namespace topspin
