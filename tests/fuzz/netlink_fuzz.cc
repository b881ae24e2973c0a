// Fuzz target: a socket as NETLINK_SOCK_DIAG describes it. The first byte chooses the protocol. The
// input is also read as the target of a link in /proc/PID/fd.
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>

#include "core/flow/flow.h"
#include "probes/inet/sock_diag.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  if (size == 0) return 0;
  const uint8_t protocol = data[0] % 2 == 0 ? kProtocolTcp : kProtocolUdp;
  const std::span<const char> payload(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (const auto socket = parse_diag_socket(payload, protocol)) (void)socket_end(socket->socket);
  (void)parse_diag_queue(payload, protocol);
  (void)parse_socket_link(fuzz_text(data, size));
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  inet_diag_msg message{};
  message.idiag_family = AF_INET6;
  message.idiag_state = 10;  // listening
  message.idiag_inode = 77;
  message.id.idiag_sport = htons(80);
  const auto bytes = [](const auto& value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  const std::string memory(9 * sizeof(uint32_t), '\1');
  const nlattr ipv6_only{sizeof(nlattr) + 1, INET_DIAG_SKV6ONLY};
  const nlattr accounts{static_cast<uint16_t>(sizeof(nlattr) + memory.size()), INET_DIAG_SKMEMINFO};
  const std::string attributes =
      bytes(ipv6_only) + std::string("\1\0\0\0", 4) + bytes(accounts) + memory;
  std::vector<std::string> seeds = {"socket:[12345]"};
  for (const char protocol : {'\0', '\1'}) {
    seeds.push_back(protocol + bytes(message) + attributes);
    message.idiag_family = AF_INET;
    message.id.idiag_dport = htons(40000);
  }
  return seeds;
}
