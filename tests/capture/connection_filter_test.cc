// Whether a filter lets a connection through, for filters of many kinds.
#include "capture/source/connection_filter.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

Endpoint end_of(uint8_t last, uint16_t port, bool is_ipv6 = false) {
  Endpoint end;
  end.port = port;
  if (is_ipv6)
    end.address[15] = last;
  else
    end.address = {127, 0, 0, last};
  return end;
}

TEST(ConnectionFilter, AsksTheFilterWithPacketsOfTheConnection) {
  const struct {
    const char* filter;
    bool tcp, udp, tcp6;  // from 127.0.0.1 (::1) port 50000 to 127.0.0.2 (::2) port 5432
  } cases[] = {
      {"", true, true, true},
      {"tcp port 80", false, false, false},
      {"tcp port 5432", true, false, true},
      {"port 5432", true, true, true},
      {"dst port 50000", true, true, true},
      {"portrange 5000-6000", true, true, true},
      {"host 127.0.0.2 and tcp", true, false, false},
      {"src host 127.0.0.2", true, true, false},
      {"ip6", false, false, true},
      {"not port 5432", false, false, false},
      {"tcp[tcpflags] & tcp-syn != 0", true, false, false},
      {"udp and port 53", false, false, false},
      {"less 60", true, true, false},
      {"tcp port 80 or tcp port 5432", true, false, true},
  };
  for (const auto& c : cases) {
    const auto filter = ConnectionFilter::compile(c.filter);
    ASSERT_TRUE(filter) << c.filter;
    EXPECT_EQ(filter->shows(kProtocolTcp, 4, end_of(1, 50000), end_of(2, 5432)), c.tcp) << c.filter;
    EXPECT_EQ(filter->shows(kProtocolUdp, 4, end_of(2, 5432), end_of(1, 50000)), c.udp) << c.filter;
    EXPECT_EQ(filter->shows(kProtocolTcp, 6, end_of(1, 50000, true), end_of(2, 5432, true)), c.tcp6)
        << c.filter;
  }
}

TEST(ConnectionFilter, SaysNothingWhereItCannotAsk) {
  EXPECT_FALSE(ConnectionFilter::compile("no such words"));
}

}  // namespace
}  // namespace topspin
