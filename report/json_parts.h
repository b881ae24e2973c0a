// Pieces that several JSON documents share. Private to report: nlohmann's header stays inside.
#pragma once

#include <optional>

#include <nlohmann/json.hpp>

#include "core/flow.h"
#include "core/flow_owner.h"
#include "core/histogram.h"

namespace topspin {

using Json = nlohmann::ordered_json;

template <typename T>
Json json_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

inline Json latency_json(const HistogramSummary& s) {
  return {{"count", s.count},
          {"sum", s.sum},
          {"min", json_or_null(s.min)},
          {"p50", json_or_null(s.p50)},
          {"p90", json_or_null(s.p90)},
          {"p99", json_or_null(s.p99)},
          {"p999", json_or_null(s.p999)},
          {"max", json_or_null(s.max)}};
}

inline Json protocol_json(const ProtocolCounts& counts) {
  return {{"flows", counts.flows}, {"packets", counts.packets}, {"bytes", counts.bytes}};
}

inline Json skipped_json(const FlowInterval& flows) {
  Json skipped = Json::object();
  for (size_t i = 0; i < kSkipReasonCount; ++i) {
    if (flows.skipped[i] != 0)
      skipped[std::string(skip_reason_name(static_cast<SkipReason>(i)))] = flows.skipped[i];
  }
  return skipped;
}

/// One flow, with the owners of its ends (null: not known). In flow_json.cc.
Json flow_json(const FlowRow& flow, const OwnerTable& owners);

/// ASCII only, and bytes that are no UTF-8 become U+FFFD: nothing hostile passes raw.
inline std::string dump_json(const Json& json, int indent) {
  return json.dump(indent, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace topspin
