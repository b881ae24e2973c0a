// The visible rows of the flow table, filtered, grouped and sorted.
//
// A query costs one pass over the model's rows and a selection of the visible ones. It never sorts
// all of them. The same query again costs nothing until the rows change (Model::derived()).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tui/flows/flow_columns.h"
#include "tui/flows/flow_filter.h"
#include "tui/model/model.h"

namespace topspin {

struct FlowQuery {
  FlowFilter filter;
  FlowColumn sort = FlowColumn::kSize;
  bool reverse = false;
  Grouping grouping = Grouping::kNone;

  bool operator==(const FlowQuery&) const = default;
};

struct FlowPage {
  uint64_t matching = 0;  // flows that match the filter
  uint64_t rows = 0;      // the same, or the number of groups
  uint64_t first = 0;     // position of page.front() in the order
  std::vector<TableRow> page;
};

/// The rows at positions [first, first + count). `first` is moved back to fill the page if
/// possible. With a `count` of 0, returns only the numbers of rows.
FlowPage query_flows(const Model& model, const FlowQuery& query, uint64_t first, uint64_t count);

/// The position of the flow with this id; nullopt if it is filtered out or does not exist.
/// REQUIRES: query.grouping is kNone.
std::optional<uint64_t> position_of(const Model& model, const FlowQuery& query, uint64_t id);

/// The next flow whose text contains `text`, after position `from` (or at it, with `include_from`).
/// The search wraps around. REQUIRES: query.grouping is kNone.
struct Found {
  uint64_t id = 0;
  uint64_t position = 0;
  bool operator==(const Found&) const = default;
};
std::optional<Found> search_flows(const Model& model, const FlowQuery& query, std::string_view text,
                                  uint64_t from, bool include_from);

}  // namespace topspin
