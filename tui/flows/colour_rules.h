// ColourRules: the colours of flows, from a file in trafshow's format. It has one rule per line.
// The first rule that matches a flow gives its colour:
//
//   PORT[/PROTOCOL] COLOUR                                   either end's port
//   [PROTOCOL] SOURCE[/LENGTH][,PORT] DESTINATION[/LENGTH][,PORT] COLOUR
//   default COLOUR                                           flows that no rule matches
//
// SOURCE, DESTINATION and PORT may be *, any or all. PROTOCOL is tcp or udp. (Lines with others,
// such as icmp, are accepted and match nothing, because they have no flows.) COLOUR is
// FOREGROUND[:BACKGROUND] of black, red, green, yellow, blue, magenta, cyan and white. A foreground
// with a capital letter is bright. A background with a capital letter blinks in trafshow, but not
// here. # begins a comment. Ports are numbers; service names are not looked up. The source is the
// initiator. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/flow/flow.h"
#include "tui/terminal/grid.h"

namespace topspin {

class ColourRules {
 public:
  static constexpr size_t kMaxRules = 1000;

  /// kUsage names the line and the mistake.
  static Result<ColourRules> parse(std::string_view text);

  bool empty() const { return rules_.empty() && !default_; }
  /// nullopt if no rule matches this flow.
  std::optional<Style> style(const FlowRow& row) const;

 private:
  struct End {
    std::optional<Endpoint> net;  // nullopt: any
    uint8_t ip_version = 4;
    uint8_t prefix_bits = 0;
    std::optional<uint16_t> port;  // nullopt: any
  };
  struct Rule {
    std::optional<uint8_t> protocol;  // 0: a protocol that has no flows
    std::optional<uint16_t> either_port;
    End source, destination;
    Style style;
  };
  static Result<Style> parse_colour(std::string_view word);
  static Result<End> parse_end(std::string_view word);
  static Result<Rule> parse_rule(const std::vector<std::string_view>& words);
  static bool matches(const End& end, const Endpoint& endpoint, uint8_t ip_version);

  std::vector<Rule> rules_;
  std::optional<Style> default_;
};

}  // namespace topspin
