// IPFIX (RFC 7011) of a run's flows: one biflow record (RFC 5103) each.
//
//   message   version 10, length, export time (s), sequence (data records so far), domain (run)
//   set 2     the two templates, in the first message and in every kTemplateEvery-th, because UDP
//             may lose one and a collector may be started later
//   set 256   records of IPv4 flows     set 257   records of IPv6 flows
//
// The source is the initiator. Counts of the responder are in the reverse elements (enterprise
// 29305). octetDeltaCount counts IP packets, as RFC 5102 defines it: the captured bytes minus the
// link-layer headers, whose length is known from the run's link type. If that length is not fixed,
// the element is left out. layer2OctetDeltaCount counts all captured bytes. Times are milliseconds
// since the Unix epoch, even if the flows' clock is the monotonic one. The end reason is 3 (end of
// flow detected) if the end was seen, otherwise 4 (forced end: the recording ended).
#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "report/export/export.h"
#include "report/export/rows.h"

namespace topspin {
namespace {

constexpr uint16_t kVersion = 10;
constexpr size_t kMostMessageBytes = 1400;  // fits into one Ethernet packet
constexpr size_t kMessageHeaderBytes = 16;
constexpr size_t kSetHeaderBytes = 4;
constexpr uint16_t kTemplateSet = 2;
constexpr uint32_t kReverseEnterprise = 29305;
constexpr uint32_t kTemplateEvery = 64;

struct Element {
  uint16_t id = 0;
  uint16_t bytes = 0;
  bool reverse = false;
};

/// The elements of both templates after the addresses, which come first.
constexpr std::array kCommonElements = {
    Element{7, 2},          // sourceTransportPort
    Element{11, 2},         // destinationTransportPort
    Element{4, 1},          // protocolIdentifier
    Element{136, 1},        // flowEndReason
    Element{152, 8},        // flowStartMilliseconds
    Element{153, 8},        // flowEndMilliseconds
    Element{2, 8},          // packetDeltaCount
    Element{352, 8},        // layer2OctetDeltaCount
    Element{2, 8, true},    // the responder's packets
    Element{352, 8, true},  // the responder's octets
    Element{148, 8},        // flowId
};
/// These follow if the link type has headers of a known length.
constexpr std::array kIpElements = {
    Element{1, 8},        // octetDeltaCount
    Element{1, 8, true},  // the responder's
};

size_t bytes_of(std::span<const Element> elements) {
  size_t bytes = 0;
  for (const Element& element : elements) bytes += element.bytes;
  return bytes;
}

/// Bytes before the IP header, by libpcap's name of the link type, without VLAN tags. nullopt if
/// packets differ.
std::optional<uint64_t> header_bytes_of(std::string_view link_type) {
  constexpr std::pair<std::string_view, uint64_t> kHeaders[] = {
      {"EN10MB", 14}, {"LINUX_SLL", 16}, {"LINUX_SLL2", 20}, {"NULL", 4},
      {"LOOP", 4},    {"RAW", 0},        {"IPV4", 0},        {"IPV6", 0}};
  for (const auto& [name, bytes] : kHeaders) {
    if (name == link_type) return bytes;
  }
  return std::nullopt;
}

struct Family {
  uint16_t set = 0;
  uint16_t source = 0;  // the element of the address
  uint16_t destination = 0;
  uint16_t address_bytes = 0;
};
constexpr Family kIpv4{256, 8, 12, 4};
constexpr Family kIpv6{257, 27, 28, 16};

void put(std::string& out, uint64_t value, size_t bytes) {
  for (size_t i = bytes; i > 0; --i) out += static_cast<char>(value >> (8 * (i - 1)) & 0xFF);
}

void put_element(std::string& out, const Element& element) {
  constexpr uint16_t kEnterpriseBit = 0x8000;
  put(out, element.reverse ? element.id | kEnterpriseBit : element.id, 2);
  put(out, element.bytes, 2);
  if (element.reverse) put(out, kReverseEnterprise, 4);
}

std::string template_set(bool with_ip_octets) {
  std::string records;
  for (const Family& family : {kIpv4, kIpv6}) {
    put(records, family.set, 2);
    put(records, kCommonElements.size() + (with_ip_octets ? kIpElements.size() : 0) + 2, 2);
    put_element(records, {family.source, family.address_bytes});
    put_element(records, {family.destination, family.address_bytes});
    for (const Element& element : kCommonElements) put_element(records, element);
    if (!with_ip_octets) continue;
    for (const Element& element : kIpElements) put_element(records, element);
  }
  std::string set;
  put(set, kTemplateSet, 2);
  put(set, kSetHeaderBytes + records.size(), 2);
  return set + records;
}

/// Converts a stamp of a flow to time since the Unix epoch.
int64_t wall_ns(const RunInfo& run, int64_t stamp_ns) {
  const int64_t offset_ns = run.started_wall_ns - packet_clock_at_start(run, stamp_ns);
  int64_t wall = 0;
  return __builtin_add_overflow(stamp_ns, offset_ns, &wall) ? 0 : std::max<int64_t>(0, wall);
}

/// The part that the records of a run share.
struct RecordContext {
  const RunInfo& run;
  std::optional<uint64_t> link_header_bytes;
};

/// The captured bytes of one direction of a flow, without those before the IP headers.
uint64_t ip_octets(const FlowRow& flow, size_t side, uint64_t link_header_bytes) {
  constexpr uint64_t kTagBytes = 4;
  uint64_t header_bytes = link_header_bytes;
  for (const uint16_t tag : flow.key.vlan) header_bytes += tag != 0 ? kTagBytes : 0;
  uint64_t headers = 0;
  if (__builtin_mul_overflow(flow.packets[side], header_bytes, &headers)) return 0;
  return flow.bytes[side] - std::min(flow.bytes[side], headers);
}

std::string record_of(const FlowRow& flow, const Family& family, const RecordContext& context) {
  constexpr uint64_t kEndOfFlow = 3, kForcedEnd = 4;
  const auto milliseconds = [&](int64_t ns) {
    return static_cast<uint64_t>(wall_ns(context.run, ns) / 1'000'000);
  };
  std::string record;
  for (const Endpoint* end : {&flow.initiator(), &flow.responder()}) {
    for (size_t i = 0; i < family.address_bytes; ++i) record += static_cast<char>(end->address[i]);
  }
  put(record, flow.initiator().port, 2);
  put(record, flow.responder().port, 2);
  put(record, flow.key.protocol, 1);
  put(record, flow.ended ? kEndOfFlow : kForcedEnd, 1);
  put(record, milliseconds(flow.first_ns), 8);
  put(record, milliseconds(flow.last_ns), 8);
  put(record, flow.packets[0], 8);
  put(record, flow.bytes[0], 8);
  put(record, flow.packets[1], 8);
  put(record, flow.bytes[1], 8);
  put(record, flow.id, 8);
  size_t bytes = bytes_of(kCommonElements) + size_t{2} * family.address_bytes;
  if (context.link_header_bytes) {
    for (size_t side = 0; side < 2; ++side)
      put(record, ip_octets(flow, side, *context.link_header_bytes), 8);
    bytes += bytes_of(kIpElements);
  }
  CHECK(record.size() == bytes);
  return record;
}

/// Gathers records, in one set per address family, until a message is full.
class MessageWriter {
 public:
  MessageWriter(const ByteSink& sink, uint32_t domain, const RunInfo& run)
      : sink_(sink),
        context_{run, header_bytes_of(run.settings.link_type)},
        templates_(template_set(context_.link_header_bytes.has_value())),
        domain_(domain) {}

  void add(const FlowRow& flow) {
    if (!status_.ok()) return;
    const bool ipv6 = flow.key.ip_version == 6;
    const std::string record = record_of(flow, ipv6 ? kIpv6 : kIpv4, context_);
    if (bytes() + record.size() > kMostMessageBytes) send();
    (ipv6 ? ipv6_ : ipv4_) += record;
    ++count_;
    const auto seconds = static_cast<uint32_t>(wall_ns(context_.run, flow.last_ns) / 1'000'000'000);
    export_time_ = std::max(export_time_, seconds);
  }
  /// Sends the rest. A run without flows still sends its templates.
  Status end() {
    if (count_ > 0 || messages_ == 0) send();
    return status_;
  }

 private:
  bool with_templates() const { return messages_ % kTemplateEvery == 0; }

  /// The size of the message if it were sent now, with the headers of both sets.
  size_t bytes() const {
    return kMessageHeaderBytes + (with_templates() ? templates_.size() : 0) + 2 * kSetHeaderBytes +
           ipv4_.size() + ipv6_.size();
  }

  void send() {
    std::string sets;
    if (with_templates()) sets = templates_;
    for (const auto& [family, records] : {std::pair(kIpv4, &ipv4_), std::pair(kIpv6, &ipv6_)}) {
      if (records->empty()) continue;
      put(sets, family.set, 2);
      put(sets, kSetHeaderBytes + records->size(), 2);
      sets += *records;
      records->clear();
    }
    std::string message;
    put(message, kVersion, 2);
    put(message, kMessageHeaderBytes + sets.size(), 2);
    put(message, export_time_, 4);
    put(message, sequence_, 4);
    put(message, domain_, 4);
    if (status_.ok()) status_ = sink_(message + sets);
    sequence_ += count_;
    ++messages_;
    count_ = 0;
  }

  const ByteSink& sink_;
  RecordContext context_;
  std::string templates_;
  uint32_t domain_;
  uint32_t sequence_ = 0;  // data records sent before this message, modulo 2^32
  uint32_t messages_ = 0;
  uint32_t export_time_ = 0;  // of the newest packet, so the same data give the same bytes
  uint32_t count_ = 0;
  std::string ipv4_, ipv6_;  // records
  Status status_;
};

}  // namespace

Status export_ipfix(RunStore& store, const std::vector<StoredRun>& runs,
                    const ByteSink& message_sink) {
  for (size_t i = 0; i < runs.size(); ++i) {
    MessageWriter writer(message_sink, static_cast<uint32_t>(i + 1), runs[i].info);
    TOPSPIN_TRY(
        store.for_each_flow(runs[i].info.id, [&](const FlowRow& flow) { writer.add(flow); }));
    TOPSPIN_TRY(writer.end());
  }
  return {};
}

}  // namespace topspin
