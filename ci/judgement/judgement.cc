#include "ci/judgement/judgement.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "ci/statistics/statistics.h"
#include "core/base/check.h"

namespace topspin {
namespace {

/// Takes the most severe verdict of the gating metrics. Their reasons come first, and those of
/// failing metrics before the others.
void conclude_from_metrics(Judgement& judgement, bool strict, std::string_view nothing_to_judge) {
  std::vector<std::string> reasons;
  Verdict verdict = Verdict::kPass;
  bool any = false;
  for (const Verdict wanted : {Verdict::kFail, Verdict::kInconclusive}) {
    for (const Comparison& c : judgement.metrics) {
      if (!c.metric.gating) continue;
      any = true;
      if (c.verdict != wanted) continue;
      if (verdict == Verdict::kPass) verdict = wanted;
      if (!c.reason.empty()) reasons.push_back(c.reason);
    }
  }
  if (!any) {
    verdict = Verdict::kInconclusive;
    reasons.emplace_back(nothing_to_judge);
  }
  reasons.insert(reasons.end(), judgement.reasons.begin(), judgement.reasons.end());
  judgement.reasons = std::move(reasons);
  judgement.verdict = verdict;
  judgement.exit_code = exit_code(verdict, strict);
}

bool is_worse(const Metric& metric, double before, double after) {
  return metric.better == Better::kLower ? after > before : after < before;
}

/// An acknowledgement covers a change that is fewer than `reach` places away.
void acknowledge(HistoryChange& change, const OnPurpose& on_purpose, size_t reach) {
  const size_t index = change.index;
  const auto near = on_purpose.changes.lower_bound(index - std::min(index, reach - 1));
  if (near != on_purpose.changes.end() && near->first < index + reach) {
    change.acknowledged = true;
    change.because = near->second;
  } else if (on_purpose.baseline && index < on_purpose.baseline->first + reach) {
    change.acknowledged = true;
    change.because = on_purpose.baseline->second;
  }
}

}  // namespace

void conclude(Judgement& judgement, bool strict, double level) {
  judge(judgement.metrics, level);
  conclude_from_metrics(judgement, strict, "no gating metric was measured on both sides");
}

namespace {

/// The newest run is worse than chance if at least this share of earlier runs was better.
constexpr double kUsualRuns = 0.95;

/// Judges the failed work of only the newest run, because a change of level would be found only
/// some runs later. It fails if it is above the value of 95 of 100 earlier runs by more than their
/// variation and the margin. Earlier runs are those since the last intended change.
void judge_newest(Comparison& whole, const History& history, const OnPurpose& on_purpose,
                  size_t fewest) {
  size_t from = on_purpose.baseline ? on_purpose.baseline->first : 0;
  if (!on_purpose.changes.empty()) from = std::max(from, on_purpose.changes.rbegin()->first);
  const size_t last = history.values.size() - 1;
  if (from >= last) return;
  const double newest = history.values[last];
  std::vector<double> earlier(history.values.begin() + static_cast<ptrdiff_t>(from),
                              history.values.end() - 1);
  if (earlier.size() < fewest) return;
  const double usual = median(earlier);
  // The most recent runs may have the same disturbance, not yet long enough for a change of level.
  // They must not count as usual.
  for (size_t i = 1;
       i < fewest && earlier.size() > fewest && is_worse(history.metric, usual, earlier.back()) &&
       std::abs(earlier.back() - usual) > history.metric.margin;
       ++i)
    earlier.pop_back();
  if (history.metric.better == Better::kLower)
    std::sort(earlier.begin(), earlier.end());
  else
    std::sort(earlier.begin(), earlier.end(), std::greater<>());
  const auto rank =
      static_cast<size_t>(std::ceil(kUsualRuns * static_cast<double>(earlier.size())));
  const double worst = earlier[rank - 1];
  if (!is_worse(history.metric, usual, newest) ||
      std::abs(newest - usual) <= history.metric.margin + 2 * std::abs(worst - usual))
    return;
  whole.a = usual;
  whole.b = newest;
  whole.change = newest - usual;
  whole.absolute = true;
  whole.verdict = Verdict::kFail;
  whole.reason = fmt::format(
      "{} of the newest run is {:.6g}; the median of the {} runs before it is {:.6g}, and 95 of "
      "100 are no worse than {:.6g}",
      history.metric.name, newest, earlier.size(), usual, worst);
}

}  // namespace

void judge_history(Judgement& judgement, const History& history,
                   const std::set<size_t>& acknowledged) {
  OnPurpose on_purpose;
  for (const size_t index : acknowledged) on_purpose.changes[index];
  judge_history(judgement, history, on_purpose);
}

void judge_history(Judgement& judgement, const History& history, const OnPurpose& on_purpose) {
  CHECK(history.run_ids.empty() || history.run_ids.size() == history.values.size());
  CHECK(history.times.empty() || history.times.size() == history.values.size());
  ChangePointSettings settings;
  // For a share, the size of a change is a difference, which is checked below.
  settings.min_change = history.metric.absolute ? 0 : history.metric.margin;
  settings.seed = judgement.seed;
  const std::vector<ChangePoint> points = find_change_points(history.values, settings);

  Comparison whole;  // the last level against the one before it
  whole.metric = history.metric;
  whole.n = history.values.size();
  if (history.values.size() < kFewestHistoryValues) {
    whole.reason = fmt::format("{} has {} values; a change point needs at least {}",
                               history.metric.name, whole.n, kFewestHistoryValues);
    judgement.metrics.push_back(std::move(whole));
    return;
  }
  whole.verdict = Verdict::kPass;
  if (points.empty()) {
    whole.a = whole.b = mean(history.values);
    whole.change = 0;
  } else {
    whole.a = points.back().before;
    whole.b = points.back().after;
    whole.change = points.back().change;
    whole.p = points.back().p;
  }
  // The current level is the end of the last segment, because the level may have drifted since its
  // change.
  const size_t last_change = points.empty() ? 0 : points.back().index;
  const size_t tail = std::min(history.values.size() - last_change, settings.window);
  const double newest = mean(std::span(history.values).last(tail));
  for (const ChangePoint& point : points) {
    if (history.metric.absolute && point.before != 0 &&
        std::abs(point.after - point.before) < history.metric.margin)
      continue;
    HistoryChange change;
    change.metric = history.metric.name;
    change.index = point.index;
    if (!history.times.empty()) change.time = history.times[point.index];
    change.point = point;
    change.worse = is_worse(history.metric, point.before, point.after);
    if (!history.run_ids.empty()) change.run_id = history.run_ids[point.index];
    acknowledge(change, on_purpose, settings.min_segment);
    const double tolerated = history.metric.absolute ? history.metric.margin
                                                     : settings.min_change * std::abs(point.before);
    change.recovered =
        change.worse && (!is_worse(history.metric, point.before, newest) ||
                         (point.before != 0 && std::abs(newest - point.before) < tolerated));
    if (change.worse && !change.acknowledged && !change.recovered) {
      whole.verdict = Verdict::kFail;
      if (whole.reason.empty()) {
        whole.reason = fmt::format(
            "{} went from {:.6g} to {:.6g} ({}p = {:.1e}) at index {}{}", history.metric.name,
            point.before, point.after,
            std::isfinite(point.change) ? format_change(point.change) + ", " : std::string(),
            point.p, point.index,
            change.time.empty() ? std::string() : fmt::format(", {}", change.time));
      }
    }
    judgement.changes.push_back(std::move(change));
  }
  if (history.metric.absolute && whole.verdict == Verdict::kPass)
    judge_newest(whole, history, on_purpose, settings.min_segment);
  if (whole.verdict == Verdict::kPass && whole.n < kFewestToSeeChanges) {
    whole.verdict = Verdict::kInconclusive;
    whole.reason =
        fmt::format("{} has {} values, too few to say that nothing changed; at least {} are needed",
                    history.metric.name, whole.n, kFewestToSeeChanges);
  }
  judgement.metrics.push_back(std::move(whole));
}

void conclude_history(Judgement& judgement, bool strict) {
  conclude_from_metrics(judgement, strict, "none of the gating metrics has a history");
}

}  // namespace topspin
