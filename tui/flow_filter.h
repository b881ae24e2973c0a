// FlowFilter: which rows of the flow table to show. It never changes what is counted.
//
//   filter  := term { [and] term | or term }      left to right, `and` binds tighter
//   term    := not term | ( filter ) | test
//   test    := tcp | udp | proto N | ip | ip6 | late | missed | unanswered | ended
//            | [src|dst] port N | [src|dst] host ADDRESS | [src|dst] net ADDRESS/LENGTH
//            | TEXT                               contained in "source destination"
//
// The words are pcap's where pcap has them, so that hands need not learn; src is the initiator.
// Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/flow.h"
#include "core/result.h"

namespace topspin {

class FlowFilter {
 public:
  struct Node;

  /// kUsage says what is wrong. Blank text lets everything through.
  static Result<FlowFilter> parse(std::string_view text);
  FlowFilter() = default;

  bool empty() const { return root_ == nullptr; }
  bool matches(const FlowRow& row) const;

 private:
  std::shared_ptr<const Node> root_;
};

/// "127.0.0.1:8888" into `buffer`; returns its length. As format_endpoint(), without allocation.
inline constexpr size_t kEndpointTextMax = 64;
size_t write_endpoint(const Endpoint& endpoint, uint8_t ip_version, char* buffer);

/// Whether `text` is part of "source destination" of the row.
bool row_contains(const FlowRow& row, std::string_view text);

}  // namespace topspin
