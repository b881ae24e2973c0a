#include "core/flow/flow.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include "core/number/merge_numbers.h"

namespace topspin {

std::string format_address(const Endpoint& endpoint, uint8_t ip_version) {
  const auto& bytes = endpoint.address;
  // inet_ntop() takes five times as long for these.
  if (ip_version != 6) return fmt::format("{}.{}.{}.{}", bytes[0], bytes[1], bytes[2], bytes[3]);
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

std::string format_endpoint(const Endpoint& endpoint, uint8_t ip_version) {
  return fmt::format(fmt::runtime(ip_version == 6 ? "[{}]:{}" : "{}:{}"),
                     format_address(endpoint, ip_version), endpoint.port);
}

std::string format_protocol(uint8_t protocol) {
  if (protocol == kProtocolTcp) return "tcp";
  if (protocol == kProtocolUdp) return "udp";
  return fmt::format("{}", protocol);
}

std::string_view skip_reason_name(SkipReason reason) {
  constexpr std::string_view kPrefix = "skipped_";
  return kSkipNames.at(static_cast<size_t>(reason)).number.substr(kPrefix.size());
}

void FlowInterval::merge(const FlowInterval& later) {
  if (begin_ns == 0 && end_ns == 0) begin_ns = later.begin_ns;
  end_ns = later.end_ns;
  merge_numbers(*this, later);
}

}  // namespace topspin
