#include "tui/flows/flow_filter.h"

#include <algorithm>
#include <array>
#include <bit>
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
  enum class Side : uint8_t { kEither, kSource, kDestination, kBoth };

  Kind kind = Kind::kText;
  Side side = Side::kEither;
  uint16_t number = 0;       // protocol, IP version, first port
  uint16_t number_last = 0;  // last port
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

/// pcap's words about packets, or about traffic that is in no flow.
constexpr std::array<std::string_view, 35> kPacketWords = {
    "ether",    "link",      "fddi",      "tr",      "wlan",       "ppp",  "slip",
    "less",     "greater",   "len",       "gateway", "vlan",       "mpls", "pppoes",
    "pppoed",   "geneve",    "vxlan",     "arp",     "rarp",       "icmp", "icmp6",
    "igmp",     "sctp",      "ah",        "esp",     "vrrp",       "carp", "inbound",
    "outbound", "broadcast", "multicast", "ifname",  "protochain", "llc",  "on"};

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool twice = i + 1 < text.size() && text[i + 1] == c;
    if (c == ' ' || c == '\t') {
      flush();
    } else if (c == '(' || c == ')' || (c == '!' && word.empty())) {
      flush();
      words.emplace_back(1, c);
    } else if ((c == '&' || c == '|') && twice) {
      flush();
      words.emplace_back(c == '&' ? "and" : "or");
      ++i;
    } else {
      word += c;
    }
  }
  flush();
  return words;
}

/// Whether it is an expression about packet contents: tcp[13], len>100, ...
bool looks_into_packets(std::string_view word) {
  if (word.find_first_of("=<>&|+*%^") != std::string_view::npos) return true;
  if (word.find('[') != std::string_view::npos && word.front() != '[') return true;
  return std::find(kPacketWords.begin(), kPacketWords.end(), word) != kPacketWords.end();
}

std::optional<uint16_t> whole_number(std::string_view word, unsigned most) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size() || number > most)
    return std::nullopt;
  return static_cast<uint16_t>(number);
}

/// 4 or 6; nullopt if it is not an address.
std::optional<uint16_t> parse_address(const std::string& word, Endpoint& end) {
  if (inet_pton(AF_INET, word.c_str(), end.address.data()) == 1) return 4;
  if (inet_pton(AF_INET6, word.c_str(), end.address.data()) == 1) return 6;
  return std::nullopt;
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
    TOPSPIN_ASSIGN(NodePtr root, parse_list(0));
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

  /// The words before a value, as in "tcp src port 80".
  struct Qualifiers {
    enum class Type : uint8_t { kNone, kHost, kNet, kPort, kPortRange, kProtocol };
    uint16_t version = 0;   // 0: either
    uint16_t protocol = 0;  // 0: either
    Side side = Side::kEither;
    bool has_side = false;
    Type type = Type::kNone;
  };
  using Type = Qualifiers::Type;

  bool at_end() const { return at_ >= words_.size(); }
  std::string next() { return at_end() ? std::string() : words_[at_++]; }
  static NodePtr simple(Kind kind, uint16_t number = 0) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->number = number;
    return node;
  }

  /// As in pcap, `and` and `or` have the same precedence and are left-associative.
  Result<NodePtr> parse_list(int depth) {
    TOPSPIN_ASSIGN(NodePtr left, parse_term(depth));
    while (!at_end() && words_[at_] != ")") {
      const bool is_or = take("or");
      if (!is_or) take("and");
      TOPSPIN_ASSIGN(NodePtr right, parse_term(depth));
      left = join(is_or ? Kind::kOr : Kind::kAnd, std::move(left), std::move(right));
    }
    return left;
  }

  Result<NodePtr> parse_term(int depth) {
    if (depth > kMaxDepth) return wrong("too many parentheses");
    if (at_end()) return wrong("something is missing at the end");
    if (take("not") || take("!")) {
      TOPSPIN_ASSIGN(NodePtr inner, parse_term(depth + 1));
      return join(Kind::kNot, std::move(inner), nullptr);
    }
    if (take("(")) {
      const auto before = last_;
      TOPSPIN_ASSIGN(NodePtr inner, parse_list(depth + 1));
      if (!take(")")) return wrong("a ) is missing");
      last_ = before;  // as in pcap, parentheses do not pass on their qualifiers
      return inner;
    }
    return parse_test();
  }

  Result<NodePtr> parse_test() {
    Qualifiers q;
    if (take("ip"))
      q.version = 4;
    else if (take("ip6"))
      q.version = 6;
    else if (take("tcp"))
      q.protocol = kProtocolTcp;
    else if (take("udp"))
      q.protocol = kProtocolUdp;
    take_side(q);
    take_type(q);
    if (q.type == Type::kNone && !q.has_side) {
      if (q.version != 0) return simple(Kind::kVersion, q.version);
      if (q.protocol != 0) return simple(Kind::kProtocol, q.protocol);
      return parse_word();
    }
    if (q.type == Type::kNone) q.type = Type::kHost;
    last_ = q;
    return parse_value(q, next());
  }

  void take_side(Qualifiers& q) {
    const bool source = take("src");
    if (!source && !take("dst")) return;
    q.has_side = true;
    q.side = source ? Side::kSource : Side::kDestination;
    if (at_ + 1 >= words_.size() || words_[at_ + 1] != (source ? "dst" : "src")) return;
    if (words_[at_] != "or" && words_[at_] != "and") return;
    q.side = words_[at_] == "or" ? Side::kEither : Side::kBoth;
    at_ += 2;
  }

  void take_type(Qualifiers& q) {
    if (take("host"))
      q.type = Type::kHost;
    else if (take("net"))
      q.type = Type::kNet;
    else if (take("port"))
      q.type = Type::kPort;
    else if (take("portrange"))
      q.type = Type::kPortRange;
    else if (take("proto"))
      q.type = Type::kProtocol;
  }

  /// Parses one of our own words, a bare value with the last qualifiers, or text to search for.
  Result<NodePtr> parse_word() {
    const std::string word = next();
    if (word == "late") return simple(Kind::kLate);
    if (word == "missed") return simple(Kind::kMissed);
    if (word == "unanswered") return simple(Kind::kUnanswered);
    if (word == "ended") return simple(Kind::kEnded);
    if (word == "and" || word == "or" || word == ")") {
      return wrong(fmt::format("'{}' joins nothing", word));
    }
    if (looks_into_packets(word)) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("filter: '{}' is about packets, and rows are TCP and UDP flows; "
                      "start topspin with it to count only those packets",
                      word));
    }
    Endpoint ignored;
    const bool is_address = parse_address(word, ignored).has_value();
    const bool is_number = word.find_first_not_of("0123456789-") == std::string::npos;
    if (last_ && (is_address || is_number)) return parse_value(*last_, word);
    if (is_address) return parse_value({.type = Type::kHost}, word);
    auto node = std::make_shared<Node>();
    node->text = word;
    return NodePtr(std::move(node));
  }

  Result<NodePtr> parse_value(const Qualifiers& q, const std::string& word) {
    auto node = std::make_shared<Node>();
    node->side = q.side;
    const bool of_ports = q.type == Type::kPort || q.type == Type::kPortRange;
    if (of_ports && q.version != 0) return wrong("ports are tcp's or udp's: tcp port 80");
    if (!of_ports && q.protocol != 0) return wrong("tcp and udp have ports: tcp port 80");
    if (q.has_side && q.type == Type::kProtocol) return wrong("proto has no src or dst");
    switch (q.type) {
      case Type::kPort:
      case Type::kPortRange: TOPSPIN_TRY(parse_ports(*node, q.type, word)); break;
      case Type::kProtocol: TOPSPIN_TRY(parse_protocol(*node, word)); break;
      default: TOPSPIN_TRY(parse_net(*node, q.type == Type::kNet, word)); break;
    }
    NodePtr result = std::move(node);
    if (q.protocol != 0) {
      result = join(Kind::kAnd, simple(Kind::kProtocol, q.protocol), std::move(result));
    }
    if (q.version != 0) {
      result = join(Kind::kAnd, simple(Kind::kVersion, q.version), std::move(result));
    }
    return result;
  }

  static Status parse_ports(Node& node, Type type, const std::string& word) {
    const size_t dash = type == Type::kPortRange ? word.find('-') : std::string::npos;
    const auto first = whole_number(std::string_view(word).substr(0, dash), 65535);
    const auto last = dash == std::string::npos
                          ? first
                          : whole_number(std::string_view(word).substr(dash + 1), 65535);
    if (!first || !last) {
      return wrong(fmt::format("'{}' is no {}", word,
                               type == Type::kPort ? "port" : "range of ports, as 8000-8999"));
    }
    node.kind = Kind::kPort;
    node.number = std::min(*first, *last);
    node.number_last = std::max(*first, *last);
    return {};
  }

  static Status parse_protocol(Node& node, std::string_view word) {
    if (word.starts_with('\\')) word.remove_prefix(1);
    node.kind = Kind::kProtocol;
    if (word == "tcp") {
      node.number = kProtocolTcp;
    } else if (word == "udp") {
      node.number = kProtocolUdp;
    } else if (const auto number = whole_number(word, 255)) {
      node.number = *number;
    } else {
      return wrong(fmt::format("'{}' is no protocol's number", word));
    }
    return {};
  }

  /// Parses host ADDRESS, net ADDRESS/LENGTH, net ADDRESS mask MASK, and net 10.1, which has as
  /// many bits as are written.
  Status parse_net(Node& node, bool is_net, std::string word) {
    const std::string given = word;
    std::optional<unsigned> bits;
    if (const size_t slash = word.find('/'); is_net && slash != std::string::npos) {
      bits = whole_number(std::string_view(word).substr(slash + 1), 128);
      if (!bits) return wrong(fmt::format("'{}' is no prefix length", word.substr(slash)));
      word.resize(slash);
    }
    const auto dots = std::count(word.begin(), word.end(), '.');
    if (is_net && dots < 3 && word.find(':') == std::string::npos) {
      if (!bits) bits = static_cast<unsigned>(8 * (dots + 1));
      for (auto i = dots; i < 3; ++i) word += ".0";
    }
    const auto version = parse_address(word, node.address);
    if (!version) {
      return wrong(fmt::format("'{}' is no {}", given, is_net ? "net" : "address"));
    }
    node.kind = Kind::kNet;
    node.number = *version;
    const unsigned whole = *version == 4 ? 32 : 128;
    if (is_net && !bits && *version == 4 && take("mask")) {
      TOPSPIN_ASSIGN(bits, parse_mask(next()));
    }
    if (bits.value_or(whole) > whole)
      return wrong(fmt::format("'{}' has too long a prefix", given));
    node.prefix_bits = static_cast<uint8_t>(bits.value_or(whole));
    return {};
  }

  static Result<unsigned> parse_mask(const std::string& word) {
    Endpoint mask;
    const uint8_t* byte = mask.address.data();
    if (parse_address(word, mask) != 4) return wrong(fmt::format("'{}' is no mask", word));
    const uint32_t value = uint32_t{byte[0]} << 24 | uint32_t{byte[1]} << 16 |
                           uint32_t{byte[2]} << 8 | uint32_t{byte[3]};
    const auto ones = static_cast<unsigned>(std::countl_one(value));
    if (ones < 32 && (value << ones) != 0) {
      return wrong(fmt::format("'{}' has holes; nets have none", word));
    }
    return ones;
  }

  std::vector<std::string> words_;
  size_t at_ = 0;
  std::optional<Qualifiers> last_;
};

bool side_matches(const Node& node, const FlowRow& row, auto test) {
  if (node.side == Side::kBoth) return test(row.initiator()) && test(row.responder());
  return (node.side != Side::kDestination && test(row.initiator())) ||
         (node.side != Side::kSource && test(row.responder()));
}

bool matches_node(const Node& node, const FlowRow& row, const OwnerTable& owners) {
  switch (node.kind) {
    case Kind::kAnd:
      return matches_node(*node.left, row, owners) && matches_node(*node.right, row, owners);
    case Kind::kOr:
      return matches_node(*node.left, row, owners) || matches_node(*node.right, row, owners);
    case Kind::kNot: return !matches_node(*node.left, row, owners);
    case Kind::kProtocol: return row.key.protocol == node.number;
    case Kind::kVersion: return row.key.ip_version == node.number;
    case Kind::kLate: return is_late(row);
    case Kind::kMissed: return row.missed_ticks > 0;
    case Kind::kUnanswered: return row.unanswered > 0;
    case Kind::kEnded: return row.ended;
    case Kind::kPort:
      return side_matches(node, row, [&](const Endpoint& e) {
        return e.port >= node.number && e.port <= node.number_last;
      });
    case Kind::kNet:
      return row.key.ip_version == node.number && side_matches(node, row, [&](const Endpoint& e) {
               return in_net(e, node.address, node.prefix_bits);
             });
    case Kind::kText: return row_contains(row, owners, node.text);
  }
  return true;
}

char* write_number(char* at, unsigned value) { return std::to_chars(at, at + 8, value).ptr; }

/// The bytes of an IPv4 address, each with the dot before it. A search writes millions of them.
struct DottedByte {
  std::array<char, 4> text{};
  uint8_t size = 0;
};
constexpr std::array<DottedByte, 256> dotted_bytes() {
  std::array<DottedByte, 256> bytes;
  for (unsigned value = 0; value < 256; ++value) {
    DottedByte& byte = bytes[value];
    byte.text[byte.size++] = '.';
    if (value >= 100) byte.text[byte.size++] = static_cast<char>('0' + value / 100);
    if (value >= 10) byte.text[byte.size++] = static_cast<char>('0' + value / 10 % 10);
    byte.text[byte.size++] = static_cast<char>('0' + value % 10);
  }
  return bytes;
}
constexpr std::array<DottedByte, 256> kDottedBytes = dotted_bytes();

/// Whether the text of two ends can contain this one.
bool is_of_ends(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef.:[] ") == std::string_view::npos;
}

}  // namespace

size_t write_endpoint(const Endpoint& endpoint, uint8_t ip_version, char* buffer) {
  char* at = buffer;
  if (ip_version == 4) {
    at = write_number(at, endpoint.address[0]);
    for (size_t i = 1; i < 4; ++i) {
      const DottedByte& byte = kDottedBytes[endpoint.address[i]];
      std::memcpy(at, byte.text.data(), byte.text.size());  // the rest is overwritten
      at += byte.size;
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

bool row_contains(const FlowRow& row, const OwnerTable& owners, std::string_view text) {
  std::array<char, 2 * kEndpointTextMax + 8> buffer;
  const auto has_text = [&](std::string_view where) {
    return where.find(text) != std::string_view::npos;
  };
  if (is_of_ends(text)) {
    size_t length = write_endpoint(row.initiator(), row.key.ip_version, buffer.data());
    buffer[length++] = ' ';
    length += write_endpoint(row.responder(), row.key.ip_version, buffer.data() + length);
    if (has_text({buffer.data(), length})) return true;
  }
  if (owners.empty()) return false;
  return std::any_of(row.owners.begin(), row.owners.end(), [&](std::optional<uint32_t> number) {
    const FlowOwner* owner = owners.find(number);
    if (owner == nullptr) return false;
    const char* end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), owner->pid).ptr;
    return has_text(owner->name) || has_text({buffer.data(), end});
  });
}

Result<FlowFilter> FlowFilter::parse(std::string_view text) {
  FlowFilter filter;
  TOPSPIN_ASSIGN(filter.root_, Parser(text).parse());
  return filter;
}

bool FlowFilter::matches(const FlowRow& row, const OwnerTable& owners) const {
  return root_ == nullptr || matches_node(*root_, row, owners);
}

}  // namespace topspin
