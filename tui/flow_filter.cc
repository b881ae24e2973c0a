#include "tui/flow_filter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace topspin {

struct FlowFilter::Node {
  enum class Kind : uint8_t {
    kAnd,
    kOr,
    kNot,
    kProtocol,
    kVersion,
    kLate,
    kMissed,
    kUnanswered,
    kEnded,
    kPort,
    kNet,
    kText,
  };
  enum class Side : uint8_t { kEither, kSource, kDestination };

  Kind kind = Kind::kText;
  Side side = Side::kEither;
  uint16_t number = 0;  // protocol, IP version or port
  uint8_t prefix_bits = 0;
  Endpoint address;
  std::string text;
  std::shared_ptr<const Node> left, right;
};

namespace {

using Node = FlowFilter::Node;
using NodePtr = std::shared_ptr<const Node>;
using Kind = Node::Kind;
using Side = Node::Side;

constexpr int kMaxDepth = 50;  // of parentheses and nots, which recurse

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (const char c : text) {
    if (c == ' ' || c == '\t') {
      flush();
    } else if (c == '(' || c == ')' || c == '!') {
      flush();
      words.emplace_back(1, c);
    } else {
      word += c;
    }
  }
  flush();
  return words;
}

bool in_net(const Endpoint& endpoint, const Endpoint& net, uint8_t bits) {
  const size_t whole = bits / 8;
  if (std::memcmp(endpoint.address.data(), net.address.data(), whole) != 0) return false;
  const uint8_t rest = bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xFF00 >> rest);
  return ((endpoint.address[whole] ^ net.address[whole]) & mask) == 0;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : words_(split_words(text)) {}

  Result<NodePtr> parse() {
    if (words_.empty()) return NodePtr();
    TOPSPIN_ASSIGN(NodePtr root, parse_or(0));
    if (at_ < words_.size()) return wrong(fmt::format("unexpected '{}'", words_[at_]));
    return root;
  }

 private:
  static Error wrong(std::string what) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("filter: {}; write it as: tcp and port 443, net 10.0.0.0/8, late",
                                  std::move(what)));
  }
  bool take(std::string_view word) {
    if (at_ >= words_.size() || words_[at_] != word) return false;
    ++at_;
    return true;
  }
  static NodePtr join(Kind kind, NodePtr left, NodePtr right) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->left = std::move(left);
    node->right = std::move(right);
    return node;
  }

  Result<NodePtr> parse_or(int depth) {
    TOPSPIN_ASSIGN(NodePtr left, parse_and(depth));
    while (take("or") || take("||")) {
      TOPSPIN_ASSIGN(NodePtr right, parse_and(depth));
      left = join(Kind::kOr, std::move(left), std::move(right));
    }
    return left;
  }

  Result<NodePtr> parse_and(int depth) {
    TOPSPIN_ASSIGN(NodePtr left, parse_term(depth));
    while (at_ < words_.size() && words_[at_] != ")" && words_[at_] != "or" &&
           words_[at_] != "||") {
      if (!take("and")) take("&&");
      TOPSPIN_ASSIGN(NodePtr right, parse_term(depth));
      left = join(Kind::kAnd, std::move(left), std::move(right));
    }
    return left;
  }

  Result<NodePtr> parse_term(int depth) {
    if (depth > kMaxDepth) return wrong("too many parentheses");
    if (at_ >= words_.size()) return wrong("something is missing at the end");
    if (take("not") || take("!")) {
      TOPSPIN_ASSIGN(NodePtr inner, parse_term(depth + 1));
      return join(Kind::kNot, std::move(inner), nullptr);
    }
    if (take("(")) {
      TOPSPIN_ASSIGN(NodePtr inner, parse_or(depth + 1));
      if (!take(")")) return wrong("a ) is missing");
      return inner;
    }
    return parse_test();
  }

  Result<NodePtr> parse_test() {
    auto node = std::make_shared<Node>();
    if (take("src"))
      node->side = Side::kSource;
    else if (take("dst"))
      node->side = Side::kDestination;
    if (at_ >= words_.size()) return wrong("something is missing at the end");
    const std::string word = words_[at_++];
    const auto simple = [&](Kind kind, uint16_t number = 0) {
      node->kind = kind;
      node->number = number;
    };
    if (word == "port") {
      TOPSPIN_TRY(parse_port(*node));
    } else if (word == "host" || word == "net") {
      TOPSPIN_TRY(parse_net(*node, word == "net"));
    } else if (node->side != Side::kEither) {
      return wrong(fmt::format("after src or dst comes port, host or net, not '{}'", word));
    } else if (word == "tcp") {
      simple(Kind::kProtocol, kProtocolTcp);
    } else if (word == "proto") {
      TOPSPIN_TRY(parse_protocol(*node));
    } else if (word == "udp") {
      simple(Kind::kProtocol, kProtocolUdp);
    } else if (word == "ip") {
      simple(Kind::kVersion, 4);
    } else if (word == "ip6") {
      simple(Kind::kVersion, 6);
    } else if (word == "late") {
      simple(Kind::kLate);
    } else if (word == "missed") {
      simple(Kind::kMissed);
    } else if (word == "unanswered") {
      simple(Kind::kUnanswered);
    } else if (word == "ended") {
      simple(Kind::kEnded);
    } else if (word == "and" || word == "or" || word == "&&" || word == "||" || word == ")") {
      return wrong(fmt::format("'{}' joins nothing", word));
    } else {
      node->text = word;
    }
    return NodePtr(std::move(node));
  }

  Status parse_port(Node& node) {
    const std::string word = at_ < words_.size() ? words_[at_++] : "";
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), node.number);
    if (error != std::errc() || end != word.data() + word.size()) {
      return wrong(fmt::format("'{}' is no port", word));
    }
    node.kind = Kind::kPort;
    return {};
  }

  Status parse_protocol(Node& node) {
    const std::string word = at_ < words_.size() ? words_[at_++] : "";
    uint8_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || end != word.data() + word.size()) {
      return wrong(fmt::format("'{}' is no protocol's number", word));
    }
    node.kind = Kind::kProtocol;
    node.number = number;
    return {};
  }

  Status parse_net(Node& node, bool with_length) {
    std::string word = at_ < words_.size() ? words_[at_++] : "";
    std::string length;
    if (const size_t slash = word.find('/'); with_length && slash != std::string::npos) {
      length = word.substr(slash + 1);
      word.resize(slash);
    }
    std::array<uint8_t, 16>& bytes = node.address.address;
    node.kind = Kind::kNet;
    if (inet_pton(AF_INET, word.c_str(), bytes.data()) == 1)
      node.number = 4;
    else if (inet_pton(AF_INET6, word.c_str(), bytes.data()) == 1)
      node.number = 6;
    else
      return wrong(fmt::format("'{}' is no address", word));
    node.prefix_bits = node.number == 4 ? 32 : 128;
    if (length.empty()) return {};
    uint8_t bits = 0;
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
    if (error != std::errc() || end != length.data() + length.size() || bits > node.prefix_bits) {
      return wrong(fmt::format("'/{}' is no prefix length", length));
    }
    node.prefix_bits = bits;
    return {};
  }

  std::vector<std::string> words_;
  size_t at_ = 0;
};

bool side_matches(const Node& node, const FlowRow& row, auto test) {
  return (node.side != Side::kDestination && test(row.initiator())) ||
         (node.side != Side::kSource && test(row.responder()));
}

bool matches_node(const Node& node, const FlowRow& row) {
  switch (node.kind) {
    case Kind::kAnd: return matches_node(*node.left, row) && matches_node(*node.right, row);
    case Kind::kOr: return matches_node(*node.left, row) || matches_node(*node.right, row);
    case Kind::kNot: return !matches_node(*node.left, row);
    case Kind::kProtocol: return row.key.protocol == node.number;
    case Kind::kVersion: return row.key.ip_version == node.number;
    case Kind::kLate:
      return row.period_ns && row.lateness_last_ns && *row.lateness_last_ns > *row.period_ns / 10;
    case Kind::kMissed: return row.missed_ticks > 0;
    case Kind::kUnanswered: return row.unanswered > 0;
    case Kind::kEnded: return row.ended;
    case Kind::kPort:
      return side_matches(node, row, [&](const Endpoint& e) { return e.port == node.number; });
    case Kind::kNet:
      return row.key.ip_version == node.number && side_matches(node, row, [&](const Endpoint& e) {
               return in_net(e, node.address, node.prefix_bits);
             });
    case Kind::kText: return row_contains(row, node.text);
  }
  return true;
}

char* write_number(char* at, unsigned value) { return std::to_chars(at, at + 8, value).ptr; }

}  // namespace

size_t write_endpoint(const Endpoint& endpoint, uint8_t ip_version, char* buffer) {
  char* at = buffer;
  if (ip_version == 4) {
    for (size_t i = 0; i < 4; ++i) {
      if (i > 0) *at++ = '.';
      at = write_number(at, endpoint.address[i]);
    }
  } else {
    *at++ = '[';
    inet_ntop(AF_INET6, endpoint.address.data(), at, INET6_ADDRSTRLEN);
    at += std::strlen(at);
    *at++ = ']';
  }
  *at++ = ':';
  at = write_number(at, endpoint.port);
  return static_cast<size_t>(at - buffer);
}

bool row_contains(const FlowRow& row, std::string_view text) {
  std::array<char, 2 * kEndpointTextMax + 8> buffer;
  size_t length = write_endpoint(row.initiator(), row.key.ip_version, buffer.data());
  buffer[length++] = ' ';
  length += write_endpoint(row.responder(), row.key.ip_version, buffer.data() + length);
  return std::string_view(buffer.data(), length).find(text) != std::string_view::npos;
}

Result<FlowFilter> FlowFilter::parse(std::string_view text) {
  FlowFilter filter;
  TOPSPIN_ASSIGN(filter.root_, Parser(text).parse());
  return filter;
}

bool FlowFilter::matches(const FlowRow& row) const {
  return root_ == nullptr || matches_node(*root_, row);
}

}  // namespace topspin
