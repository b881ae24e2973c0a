// Tests of the table that finds the socket of a flow's end, and of the parser of NETLINK_SOCK_DIAG.
// They open no sockets.
#include "probes/inet/socket_table.h"

#include <cstring>
#include <random>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>

#include "probes/inet/local_addresses.h"
#include "probes/inet/sock_diag.h"

namespace topspin {
namespace {

Endpoint ipv4(uint8_t last, uint16_t port) { return {{10, 0, 0, last}, port}; }
const Endpoint kAnyAddress80{{}, 80};

const SocketProcess kOld{10, 100, "old"};
const SocketProcess kYoung{11, 200, "young"};
const SocketProcess kThird{12, 300, "third"};

TEST(SocketTable, connected_goes_before_bound_and_bound_before_any_address) {
  const FlowEnd end{4, kProtocolUdp, ipv4(1, 80), ipv4(2, 5000)};
  SocketTable table(100);
  table.add({4, kProtocolUdp, false, kAnyAddress80, {}}, kThird);
  EXPECT_EQ(table.find(end, true)->process->name, "third");
  EXPECT_FALSE(table.find(end, true)->connected);
  EXPECT_FALSE(table.find(end, false));  // the address is another host's
  table.add({4, kProtocolUdp, false, ipv4(1, 80), {}}, kYoung);
  EXPECT_EQ(table.find(end, true)->process->name, "young");
  table.add({4, kProtocolUdp, false, ipv4(1, 80), ipv4(2, 5000)}, kOld);
  EXPECT_EQ(table.find(end, true)->process->name, "old");
  EXPECT_TRUE(table.find(end, true)->connected);
  EXPECT_FALSE(table.find(end, true)->shared);
  const FlowEnd tcp{4, kProtocolTcp, end.local, end.remote};
  EXPECT_FALSE(table.find(tcp, true));
  const FlowEnd other_port{4, kProtocolUdp, ipv4(1, 81), end.remote};
  EXPECT_FALSE(table.find(other_port, true));
}

TEST(SocketTable, of_several_processes_the_oldest_is_named_in_any_order) {
  const FlowEnd end{4, kProtocolTcp, ipv4(1, 80), ipv4(2, 5000)};
  for (const auto& order : {std::vector{kOld, kYoung}, std::vector{kYoung, kOld}}) {
    SocketTable table(100);
    for (const SocketProcess& process : order)
      table.add({4, kProtocolTcp, false, ipv4(1, 80), {}}, process);
    EXPECT_EQ(table.find(end, true)->process->name, "old");
    EXPECT_TRUE(table.find(end, true)->shared);
  }
  SocketTable table(100);
  table.add({4, kProtocolTcp, false, ipv4(1, 80), {}}, kOld);
  table.add({4, kProtocolTcp, false, ipv4(1, 80), {}}, kOld);  // dup(2)
  EXPECT_FALSE(table.find(end, true)->shared);
}

TEST(SocketTable, a_pid_used_again_is_another_process) {
  SocketTable table(100);
  table.add({4, kProtocolTcp, false, ipv4(1, 80), {}}, {10, 100, "before"});
  table.add({4, kProtocolTcp, false, ipv4(1, 81), {}}, {10, 900, "after"});
  EXPECT_EQ(table.find({4, kProtocolTcp, ipv4(1, 80), {}}, true)->process->name, "before");
  EXPECT_EQ(table.find({4, kProtocolTcp, ipv4(1, 81), {}}, true)->process->name, "after");
}

TEST(SocketTable, is_bounded_counts_the_rest_and_can_be_cleared) {
  SocketTable table(2);
  for (uint16_t port = 1; port <= 5; ++port)
    table.add({4, kProtocolUdp, false, ipv4(1, port), {}}, kOld);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_EQ(table.missed(), 3u);
  table.clear();
  EXPECT_EQ(table.missed(), 0u);
  EXPECT_FALSE(table.find({4, kProtocolUdp, ipv4(1, 1), {}}, true));
}

TEST(LocalAddresses, has_loopback_and_what_is_added) {
  LocalAddresses local;
  EXPECT_TRUE(local.contains(4, {127, 3, 2, 1}));
  EXPECT_FALSE(local.contains(6, {127, 3, 2, 1}));
  EXPECT_FALSE(local.contains(4, {10, 0, 0, 1}));
  local.add(4, {10, 0, 0, 1});
  EXPECT_TRUE(local.contains(4, {10, 0, 0, 1}));
  EXPECT_FALSE(local.contains(6, {10, 0, 0, 1}));
}

std::vector<char> diag_bytes(const inet_diag_msg& message, std::optional<uint8_t> ipv6_only) {
  std::vector<char> bytes(sizeof(message));
  std::memcpy(bytes.data(), &message, sizeof(message));
  if (ipv6_only) {
    const nlattr attribute{sizeof(nlattr) + 1, INET_DIAG_SKV6ONLY};
    const auto* raw = reinterpret_cast<const char*>(&attribute);
    bytes.insert(bytes.end(), raw, raw + sizeof(attribute));
    bytes.insert(bytes.end(), {static_cast<char>(*ipv6_only), 0, 0, 0});
  }
  return bytes;
}

inet_diag_msg listening() {
  inet_diag_msg message{};
  message.idiag_family = AF_INET6;
  message.idiag_state = 10;
  message.idiag_inode = 77;
  message.id.idiag_sport = htons(80);
  return message;
}

TEST(SockDiag, parses_a_listener_and_its_attribute) {
  const auto socket = parse_diag_socket(diag_bytes(listening(), 1), kProtocolTcp);
  ASSERT_TRUE(socket);
  EXPECT_EQ(socket->inode, 77u);
  EXPECT_EQ(socket->socket.ip_version, 6);
  EXPECT_EQ(socket->socket.local.port, 80);
  EXPECT_TRUE(socket->socket.ipv6_only);
  EXPECT_FALSE(parse_diag_socket(diag_bytes(listening(), 0), kProtocolTcp)->socket.ipv6_only);
  EXPECT_FALSE(parse_diag_socket(diag_bytes(listening(), {}), kProtocolTcp)->socket.ipv6_only);
}

TEST(SockDiag, leaves_out_what_belongs_to_nobody) {
  inet_diag_msg message = listening();
  message.idiag_inode = 0;
  EXPECT_FALSE(parse_diag_socket(diag_bytes(message, 0), kProtocolTcp));
  message = listening();
  message.idiag_state = 7;  // TCP_CLOSE: neither listening nor connected
  EXPECT_FALSE(parse_diag_socket(diag_bytes(message, 0), kProtocolTcp));
  EXPECT_TRUE(parse_diag_socket(diag_bytes(message, 0), kProtocolUdp));
  message.idiag_family = AF_UNIX;
  EXPECT_FALSE(parse_diag_socket(diag_bytes(message, 0), kProtocolUdp));
}

TEST(SockDiag, any_bytes_are_parsed_within_their_bounds) {
  const std::vector<char> whole = diag_bytes(listening(), 1);
  for (size_t size = 0; size <= whole.size(); ++size) {
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    (void)parse_diag_socket(cut, kProtocolTcp);
  }
  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<char> bytes = whole;
    for (int flips = 0; flips < 4; ++flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    (void)parse_diag_socket(bytes, kProtocolTcp);
  }
}

}  // namespace
}  // namespace topspin
