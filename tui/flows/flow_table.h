// The flow table's rows: filtered, gathered, sorted, but only those that are visible.
//
// A query over the model's rows costs one pass over them and a selection of the visible ones, never
// a sort of all. Pure.
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
};

struct FlowPage {
  uint64_t matching = 0;  // flows that the filter lets through
  uint64_t rows = 0;      // the same, or the number of groups
  uint64_t first = 0;     // position of page.front() in the order
  std::vector<TableRow> page;
};

/// The rows at positions [first, first + count), first moved back so that the page is full if it
/// can be. With count 0: how many there are.
FlowPage query_flows(const Model& model, const FlowQuery& query, uint64_t first, uint64_t count);

/// Where the flow with this id stands in the order; nullopt: filtered out or not there.
/// REQUIRES: query.grouping is kNone.
std::optional<uint64_t> position_of(const Model& model, const FlowQuery& query, uint64_t id);

/// The next flow after position `from` in the order (from there on with `include_from`), going
/// round, whose text contains `text`. REQUIRES: query.grouping is kNone.
struct Found {
  uint64_t id = 0;
  uint64_t position = 0;
  bool operator==(const Found&) const = default;
};
std::optional<Found> search_flows(const Model& model, const FlowQuery& query, std::string_view text,
                                  uint64_t from, bool include_from);

}  // namespace topspin
