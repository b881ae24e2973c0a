// Turns values into JSON: numbers of the registry, histograms, absent values and text. For .cc
// files of report and app; only headers of this room include it.
//
// Values that were not measured are null. dump_json() escapes text.
#pragma once

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/number/coarse_histogram.h"
#include "core/number/histogram.h"
#include "core/run/run_fold.h"
#include "core/tick/sample.h"

namespace topspin {

using Json = nlohmann::ordered_json;

/// The schema version of every JSON object that topspin prints.
inline constexpr int kSchemaVersion = 1;

/// The fields that every latency has.
Json latency_json(const HistogramSummary& summary);

/// JSON has no infinity.
inline Json json_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

template <typename T>
Json json_or_null(const std::optional<T>& value) {
  if (!value) return nullptr;
  if constexpr (std::is_same_v<T, HistogramSummary>)
    return latency_json(*value);
  else if constexpr (requires { value->summary(); })
    return latency_json(value->summary());
  else if constexpr (requires { value->scaled(); })
    return json_or_null(value->scaled());
  else if constexpr (std::is_floating_point_v<T>)
    return json_or_null(double{*value});
  else
    return Json(*value);
}

/// Text, or null if it is empty, which means that it is not known.
inline Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

/// Every number of a run, by name. A count or total is a number, a gauge is {"last", "max"}, and a
/// distribution has the fields of every latency. Null if it was not measured.
Json numbers_json(const RunFold& fold);

/// The plain numbers of a tick or of a merged run, by name. A perf event is its scaled count.
class PlainNumbers {
 public:
  explicit PlainNumbers(const Sample& sample);

  /// REQUIRES: the registry has it.
  const Json& operator[](std::string_view name) const;
  /// Copies those of these names to `into`, under their names.
  void copy(std::initializer_list<const char*> names, Json& into) const;

 private:
  std::map<std::string_view, Json> values_;
};

/// Writes JSON in ASCII. Bytes that are not UTF-8 become U+FFFD, so nothing hostile passes
/// unescaped.
std::string dump_json(const Json& json, int indent);

}  // namespace topspin
