// FlowFilter: which rows of the flow table to show. It never changes what is counted.
//
//   filter  := term { [and|or] term }      left-associative, same precedence, as in pcap
//   term    := not term | ( filter ) | test
//   test    := [ip|ip6|tcp|udp] [src|dst|src or dst|src and dst] [TYPE] VALUE
//            | ip | ip6 | tcp | udp | late | missed | unanswered | ended
//            | TEXT                         contained in "source destination", or in the name or
//                                           the number of a process at one end
//   TYPE    := host ADDRESS | net ADDRESS[/LENGTH| mask MASK] | port N | portrange N-M | proto N
//
// Words that pcap has mean the same here (tests/app/screen/filter_test.cc compares the two). A bare
// number or address after one with a TYPE gets the same TYPE. src is the initiator. pcap's words
// about single packets are refused, because rows are flows. Host and service names are not looked
// up. docs/decisions/0010-the-filter-key-filters-rows.md says why. Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/flow/flow.h"
#include "core/flow/flow_owner.h"

namespace topspin {

class FlowFilter {
 public:
  struct Node;

  /// kUsage describes the mistake. An empty text matches everything.
  static Result<FlowFilter> parse(std::string_view text);
  FlowFilter() = default;

  bool empty() const { return root_ == nullptr; }
  /// Whether they come from the same parse().
  bool operator==(const FlowFilter&) const = default;
  bool matches(const FlowRow& row, const OwnerTable& owners) const;

 private:
  std::shared_ptr<const Node> root_;
};

/// Writes "127.0.0.1:8888" into `buffer`, and returns its length. Like format_endpoint(), but
/// without allocation.
inline constexpr size_t kEndpointTextMax = 64;
size_t write_endpoint(const Endpoint& endpoint, uint8_t ip_version, char* buffer);

/// Whether `text` is part of "source destination" of the row, or of the name or the number of a
/// process at one of its ends.
bool row_contains(const FlowRow& row, const OwnerTable& owners, std::string_view text);

}  // namespace topspin
