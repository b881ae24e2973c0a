#include "report/json/values.h"

#include "core/base/check.h"
#include "core/tick/numbers.h"

namespace topspin {

Json latency_json(const HistogramSummary& s) {
  return {{"count", s.count},
          {"sum", s.sum},
          {"min", json_or_null(s.min)},
          {"p50", json_or_null(s.p50)},
          {"p90", json_or_null(s.p90)},
          {"p99", json_or_null(s.p99)},
          {"p999", json_or_null(s.p999)},
          {"max", json_or_null(s.max)}};
}

namespace {

template <typename T>
Json value_json(const T& value) {
  if constexpr (requires { value.has_value(); })
    return json_or_null(value);
  else if constexpr (requires { value.summary(); })
    return latency_json(value.summary());
  else
    return Json(value);
}

}  // namespace

Json numbers_json(const RunFold& fold) {
  Json json = Json::object();
  for_each_number([&](const Number& number, auto at) {
    Json& entry = json[std::string(number.name)];
    const auto* value = at.find(fold.merged);
    if (value == nullptr) return;
    if (number.kind == NumberKind::kGauge) {
      const auto* greatest = at.find(fold.greatest);
      entry = {{"last", value_json(*value)},
               {"max", greatest == nullptr ? Json(nullptr) : value_json(*greatest)}};
    } else {
      entry = value_json(*value);
    }
  });
  return json;
}

PlainNumbers::PlainNumbers(const Sample& sample) {
  for_each_number([&](const Number& number, auto at) {
    if constexpr (!kIsDistribution<typename decltype(at)::Value>) {
      const auto* value = at.find(sample);
      values_.emplace(number.name, value == nullptr ? Json(nullptr) : value_json(*value));
    }
  });
}

const Json& PlainNumbers::operator[](std::string_view name) const {
  const auto found = values_.find(name);
  CHECK(found != values_.end());
  return found->second;
}

void PlainNumbers::copy(std::initializer_list<const char*> names, Json& into) const {
  for (const char* name : names) into[name] = (*this)[name];
}

std::string dump_json(const Json& json, int indent) {
  return json.dump(indent, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace topspin
