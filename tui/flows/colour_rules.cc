#include "tui/flows/colour_rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

constexpr std::array<std::string_view, 8> kColours = {"black", "red",     "green", "yellow",
                                                      "blue",  "magenta", "cyan",  "white"};

bool is_any(std::string_view word) { return word == "*" || word == "any" || word == "all"; }

Error wrong(std::string what) { return make_error(ErrorCode::kUsage, std::move(what)); }

std::optional<uint16_t> parse_number(std::string_view word, unsigned most) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size() || number > most) {
    return std::nullopt;
  }
  return static_cast<uint16_t>(number);
}

/// The protocol's number; 0 for a protocol that has no flows; nullopt if it is not a protocol.
std::optional<uint8_t> parse_protocol(std::string_view word) {
  if (word == "tcp") return kProtocolTcp;
  if (word == "udp") return kProtocolUdp;
  constexpr std::array<std::string_view, 12> kOthers = {"icmp", "icmp6", "ipv6-icmp", "igmp",
                                                        "esp",  "ah",    "gre",       "ospf",
                                                        "sctp", "ipip",  "pim",       "arp"};
  if (std::find(kOthers.begin(), kOthers.end(), word) != kOthers.end()) return uint8_t{0};
  return std::nullopt;
}

/// The index of one of the eight colours. Sets `bright` if it is written with a capital letter.
std::optional<size_t> parse_colour_name(std::string_view word, bool& bright) {
  const auto at = std::find(kColours.begin(), kColours.end(), lower_case(word));
  if (at == kColours.end()) return std::nullopt;
  bright = word.front() >= 'A' && word.front() <= 'Z';
  return static_cast<size_t>(at - kColours.begin());
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  line = line.substr(0, line.find('#'));
  constexpr std::string_view kBlanks = " \t\r";
  while (true) {
    const size_t first = line.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return words;
    line.remove_prefix(first);
    const size_t length = std::min(line.find_first_of(kBlanks), line.size());
    words.push_back(line.substr(0, length));
    line.remove_prefix(length);
  }
}

}  // namespace

Result<Style> ColourRules::parse_colour(std::string_view word) {
  const size_t colon = word.find(':');
  bool bright = false, ignored = false;
  const auto front = parse_colour_name(word.substr(0, colon), bright);
  if (!front) {
    return wrong(
        fmt::format("'{}' is not a colour; there are black, red, green, yellow, blue, "
                    "magenta, cyan and white",
                    sanitize_for_terminal(word)));
  }
  Style style(rule_role(*front + (bright ? 8 : 0)));
  if (colon == std::string_view::npos) return style;
  const auto back = parse_colour_name(word.substr(colon + 1), ignored);
  if (!back)
    return wrong(fmt::format("'{}' has no colour after the :", sanitize_for_terminal(word)));
  style.behind = rule_role(*back);
  return style;
}

Result<ColourRules::End> ColourRules::parse_end(std::string_view word) {
  End end;
  const auto refuse = [&](std::string_view what) {
    return wrong(fmt::format("'{}' has no {}", sanitize_for_terminal(word), what));
  };
  std::string_view address = word.substr(0, word.find(','));
  if (address.size() < word.size()) {
    const std::string_view port = word.substr(address.size() + 1);
    if (!is_any(port)) {
      end.port = parse_number(port, 65535);
      if (!end.port) return refuse("port's number after the ,");
    }
  }
  if (is_any(address)) return end;
  std::optional<uint16_t> bits;
  if (const size_t slash = address.find('/'); slash != std::string_view::npos) {
    bits = parse_number(address.substr(slash + 1), 128);
    if (!bits) return refuse("prefix length after the /");
    address = address.substr(0, slash);
  }
  const std::string text(address);
  Endpoint net;
  if (inet_pton(AF_INET, text.c_str(), net.address.data()) == 1)
    end.ip_version = 4;
  else if (inet_pton(AF_INET6, text.c_str(), net.address.data()) == 1)
    end.ip_version = 6;
  else
    return refuse("address; write a number, or any");
  const unsigned whole = end.ip_version == 4 ? 32 : 128;
  if (bits.value_or(0) > whole) return refuse("prefix length that its address can have");
  end.prefix_bits = static_cast<uint8_t>(bits.value_or(static_cast<uint16_t>(whole)));
  end.net = net;
  return end;
}

Result<ColourRules::Rule> ColourRules::parse_rule(const std::vector<std::string_view>& words) {
  Rule rule;
  TOPSPIN_ASSIGN(rule.style, parse_colour(words.back()));
  if (words.size() == 2) {
    const std::string_view port = words[0].substr(0, words[0].find('/'));
    if (port.size() < words[0].size()) {
      const std::string_view protocol = words[0].substr(port.size() + 1);
      if (!is_any(protocol)) {
        rule.protocol = parse_protocol(protocol);
        if (!rule.protocol)
          return wrong(fmt::format("'{}' is no protocol", sanitize_for_terminal(protocol)));
      }
    }
    if (is_any(port)) return rule;
    rule.either_port = parse_number(port, 65535);
    if (!rule.either_port) {
      return wrong(fmt::format("'{}' is not a port number; names are not looked up",
                               sanitize_for_terminal(port)));
    }
    return rule;
  }
  size_t at = 0;
  if (words.size() == 4) {
    if (!is_any(words[0])) {
      rule.protocol = parse_protocol(words[0]);
      if (!rule.protocol)
        return wrong(fmt::format("'{}' is no protocol", sanitize_for_terminal(words[0])));
    }
    at = 1;
  }
  TOPSPIN_ASSIGN(rule.source, parse_end(words[at]));
  TOPSPIN_ASSIGN(rule.destination, parse_end(words[at + 1]));
  return rule;
}

Result<ColourRules> ColourRules::parse(std::string_view text) {
  ColourRules rules;
  size_t number = 0;
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size());
    const std::vector<std::string_view> words = words_of(text.substr(0, length));
    text.remove_prefix(std::min(length + 1, text.size()));
    ++number;
    if (words.empty()) continue;
    if (words.size() < 2 || words.size() > 4) {
      return wrong(
          fmt::format("line {}: a rule is PORT COLOUR or SOURCE DESTINATION COLOUR", number));
    }
    if (words.size() == 2 && words[0] == "default") {
      auto style = parse_colour(words[1]);
      if (!style.ok()) return wrong(fmt::format("line {}: {}", number, style.error().message));
      rules.default_ = *style;
      continue;
    }
    auto rule = parse_rule(words);
    if (!rule.ok()) return wrong(fmt::format("line {}: {}", number, rule.error().message));
    if (rules.rules_.size() == kMaxRules) {
      return wrong(fmt::format("line {}: more than {} rules", number, kMaxRules));
    }
    rules.rules_.push_back(std::move(rule).value());
  }
  return rules;
}

bool ColourRules::matches(const End& end, const Endpoint& endpoint, uint8_t ip_version) {
  if (end.port && *end.port != endpoint.port) return false;
  if (!end.net) return true;
  if (end.ip_version != ip_version) return false;
  const size_t whole = end.prefix_bits / 8;
  if (std::memcmp(endpoint.address.data(), end.net->address.data(), whole) != 0) return false;
  const unsigned rest = end.prefix_bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xFF00 >> rest);
  return ((endpoint.address[whole] ^ end.net->address[whole]) & mask) == 0;
}

std::optional<Style> ColourRules::style(const FlowRow& row) const {
  for (const Rule& rule : rules_) {
    if (rule.protocol && *rule.protocol != row.key.protocol) continue;
    if (rule.either_port && *rule.either_port != row.key.low.port &&
        *rule.either_port != row.key.high.port) {
      continue;
    }
    if (matches(rule.source, row.initiator(), row.key.ip_version) &&
        matches(rule.destination, row.responder(), row.key.ip_version)) {
      return rule.style;
    }
  }
  return default_;
}

}  // namespace topspin
