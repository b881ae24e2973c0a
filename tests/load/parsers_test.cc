// Small parts of the load: HTTP responses in pieces of any size, pings on the wire, /proc texts,
// preflight, the judgement of a load, and the choice of a target's address.
#include <random>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "load/engine/kernel_counters.h"
#include "load/engine/preflight.h"
#include "load/engine/validity.h"
#include "load/http/http_response.h"
#include "load/wire/target.h"
#include "load/wire/wire.h"
#include "tests/support/in_child.h"
#include "tests/support/privileges.h"

namespace topspin {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Expected {
  std::string_view text;
  HttpResponse::State state;
  int status = 200;
  uint64_t body_bytes = 0;
  bool keep_alive = true;
  size_t left_over = 0;
};

constexpr auto kMore = HttpResponse::State::kMore;
constexpr auto kDone = HttpResponse::State::kDone;
constexpr auto kMalformed = HttpResponse::State::kMalformed;

TEST(HttpResponse, EndsWhereItEndsInWhateverPiecesItComes) {
  const std::vector<Expected> cases = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", kDone, 200, 5},
      {"HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhelloHTTP", kDone, 200, 5, true, 4},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", kMore, 200, 4},
      {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", kDone, 200, 0},
      {"HTTP/1.0 200 OK\nContent-Length: 1\n\nx", kDone, 200, 1, false},
      {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", kDone, 200, 1,
       true},
      {"HTTP/1.1 404 No\r\nConnection: foo, CLOSE\r\nContent-Length: 1\r\n\r\nx", kDone, 404, 1,
       false},
      {"HTTP/1.1 204 No Content\r\n\r\n", kDone, 204, 0},
      {"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", kDone, 304, 0},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", kDone, 200,
       2},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
       "chunked\r\n\r\n3\r\nabc\r\nA;e=1\r\n0123456789\r\n0\r\nT: "
       "x\r\n\r\n",
       kDone, 200, 13},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", kMalformed, 200, 3},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", kMalformed},
      {"HTTP/1.1 200 OK\r\n\r\nall the rest", kMore, 200, 12, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", kMalformed, 0},
      {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", kMalformed, 0},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", kMalformed, 0},
      {"SSH-2.0-OpenSSH\r\n", kMalformed, 0},
      {"HTTP/1.1 20 OK\r\n\r\n", kMalformed, 0},
      {"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", kMalformed, 0},
      // Folded headers are obsolete, but still valid in a response.
      {"HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\n\tc: d\r\nContent-Length: 2\r\n\r\nab", kDone, 200,
       2},
      {"HTTP/1.1 200 OK\r\nContent-Length:\r\n  3\r\n\r\nabc", kDone, 200, 3},
      {"HTTP/1.1 200 OK\r\nConnection: foo,\r\n close\r\nContent-Length: 0\r\n\r\n", kDone, 200, 0,
       false},
      // Chunked encoding overrides Content-Length. What follows an upgrade is not part of the
      // response.
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
       "1\r\nx\r\n0\r\n\r\n",
       kDone, 200, 1},
      {"HTTP/1.1 101 Upgrade\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc", kDone, 101, 0, false,
       3},
      {"HTTP/1.1 102 A\r\n\r\nHTTP/1.1 103 B\r\nLink: x\r\n\r\nHTTP/1.1 204 C\r\n\r\nHTTP", kDone,
       204, 0, true, 4},
      {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", kMalformed, 0},
  };
  std::mt19937 random(5);
  for (const Expected& want : cases) {
    for (int round = 0; round < 20; ++round) {
      HttpResponse response;
      size_t at = 0, taken = 0;
      while (at < want.text.size()) {
        const size_t n = round == 0 ? want.text.size()
                                    : std::min<size_t>(1 + random() % 5, want.text.size() - at);
        const std::string piece(want.text.substr(at, n));  // exact size: ASan sees over-reads
        taken += response.feed({reinterpret_cast<const uint8_t*>(piece.data()), piece.size()});
        at += n;
      }
      EXPECT_EQ(response.state(), want.state) << want.text;
      EXPECT_EQ(response.status(), want.status) << want.text;
      EXPECT_EQ(response.body_bytes(), want.body_bytes) << want.text;
      if (want.state == kDone) {
        EXPECT_EQ(response.keep_alive(), want.keep_alive) << want.text;
        EXPECT_EQ(want.text.size() - taken, want.left_over) << want.text;
      }
    }
  }
}

TEST(HttpResponse, WithoutALengthTheEndOfTheConnectionIsTheEnd) {
  const auto end_after = [](std::string_view text) {
    HttpResponse response;
    response.feed({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    response.end_of_stream();
    return response.state();
  };
  EXPECT_EQ(end_after("HTTP/1.1 200 OK\r\n\r\nHello"), kDone);
  EXPECT_EQ(end_after("HTTP/1.1 200 OK\r\n\r\n"), kDone);
  EXPECT_EQ(end_after("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello"), kMore);
  EXPECT_EQ(end_after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHel"), kMore);
  EXPECT_EQ(end_after("HTTP/1.1 200 OK\r\n"), kMore);
}

TEST(HttpResponse, AnEndlessHeadIsRefused) {
  HttpResponse response;
  const std::string line(1000, 'a');
  std::string head = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 100; ++i) head += line + ": b\r\n";
  response.feed({reinterpret_cast<const uint8_t*>(head.data()), head.size()});
  EXPECT_EQ(response.state(), kMalformed);
}

TEST(Wire, BytesAreAsSaid) {
  std::vector<uint8_t> four(4), thirty_two(32), numbered(24, 0xFF);
  write_ping(WireProfile::kPing4, {}, four);
  EXPECT_EQ(std::string(four.begin(), four.end()), "PING");
  write_ping(WireProfile::kFixed32, {}, thirty_two);
  EXPECT_EQ(std::string(thirty_two.begin(), thirty_two.begin() + 8), "PINGPING");
  write_ping(WireProfile::kNumbered, {0x0102030405060708, 0x1112131415161718}, numbered);
  EXPECT_THAT(numbered, testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15,
                                             0x16, 0x17, 0x18, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_EQ(read_number(numbered), (PingNumber{0x0102030405060708, 0x1112131415161718}));
  EXPECT_TRUE(is_answer(WireProfile::kNumbered, numbered, 24));
  EXPECT_FALSE(is_answer(WireProfile::kNumbered, numbered, 16));
  EXPECT_FALSE(is_answer(WireProfile::kPing4, thirty_two, 0));
}

TEST(KernelCounters, AreFoundByGroupAndName) {
  constexpr std::string_view kText =
      "Tcp: ActiveOpens PassiveOpens\nTcp: 7 9\nUdp: InDatagrams NoPorts\nUdp: 1 2\n";
  EXPECT_EQ(find_counter(kText, "Tcp:", "PassiveOpens"), 9u);
  EXPECT_EQ(find_counter(kText, "Udp:", "NoPorts"), 2u);
  EXPECT_EQ(find_counter(kText, "Udp:", "PassiveOpens"), std::nullopt);
  EXPECT_EQ(find_counter("Tcp: A", "Tcp:", "A"), std::nullopt);
  EXPECT_EQ(find_counter("", "Tcp:", "A"), std::nullopt);
}

TEST(Preflight, SaysWhatToRaise) {
  HostLimits limits;
  limits.descriptors = 20'000;
  limits.descriptors_in_use = 10;
  limits.ephemeral_ports = 28'232;
  limits.available_bytes = 1 << 30;
  LoadNeeds needs;
  needs.descriptors = 15'016;
  needs.ports = 15'000;
  EXPECT_TRUE(check_needs(needs, limits, true).ok());
  needs.descriptors = 50'016;
  const Status descriptors = check_needs(needs, limits, true);
  EXPECT_THAT(descriptors.error().message, HasSubstr("50026 descriptors and the limit is 20000"));
  EXPECT_THAT(descriptors.error().message, HasSubstr("--sockets shared"));
  EXPECT_EQ(exit_code(descriptors.error().code), 4);
  needs.descriptors = 16;
  needs.ports = 30'000;
  EXPECT_THAT(check_needs(needs, limits, false).error().message, HasSubstr("ip_local_port_range"));
  needs.source_addresses = 2;
  EXPECT_TRUE(check_needs(needs, limits, true).ok());
  needs.memory_bytes = int64_t{2} << 30;
  EXPECT_THAT(check_needs(needs, limits, true).error().message, HasSubstr("2.00 GiB"));
}

LoadResult healthy() {
  LoadResult result;
  result.planned = result.total.accounts.scheduled = result.total.accounts.sent =
      result.total.accounts.replied = 10'000;
  result.own.wall_ns = 10 * kNanosPerSecond;
  result.own.cpu_ns = kNanosPerSecond;
  result.own.host_steal_ns = 0;
  result.own.cpus = 2;
  return result;
}

TEST(JudgeLoad, NamesEachBottleneckAndNothingElse) {
  EXPECT_THAT(judge_load(healthy()), IsEmpty());
  const auto blamed = [](auto change) {
    LoadResult result = healthy();
    change(result);
    const auto reasons = judge_load(result);
    EXPECT_EQ(reasons.size(), 1u);
    return reasons.empty() ? "" : reasons[0];
  };
  EXPECT_THAT(blamed([](LoadResult& r) { r.total.accounts.sent_late = 101; }),
              HasSubstr("sent late"));
  EXPECT_THAT(blamed([](LoadResult& r) {
                r.planned = r.total.accounts.scheduled = 10'100;
                r.total.accounts.never_scheduled = 100;
              }),
              HasSubstr("never sent"));
  EXPECT_THAT(blamed([](LoadResult& r) { r.own.receive_drops = 11; }),
              HasSubstr("receive buffers"));
  EXPECT_THAT(blamed([](LoadResult& r) { r.own.cpu_ns = r.own.wall_ns; }), HasSubstr("bottleneck"));
  EXPECT_THAT(blamed([](LoadResult& r) { r.own.host_steal_ns = 2 * kNanosPerSecond; }),
              HasSubstr("hypervisor"));
  EXPECT_THAT(blamed([](LoadResult& r) { r.total.accounts.replied = 9'999; }),
              HasSubstr("balance"));
  EXPECT_THAT(blamed([](LoadResult& r) {
                r.total.accounts.replied = 0;
                r.total.accounts.lost = 10'000;
              }),
              HasSubstr("nothing was answered"));
  // Messages that wait for the server are not the generator's fault.
  LoadResult waiting = healthy();
  waiting.planned = waiting.total.accounts.scheduled = 12'000;
  waiting.total.accounts.never_scheduled = waiting.total.accounts.blocked = 2'000;
  EXPECT_THAT(judge_load(waiting), IsEmpty());
}

TEST(Target, AddressesAndNames) {
  const auto v4 = resolve_target("127.0.0.1:8888", SOCK_DGRAM);
  ASSERT_TRUE(v4.ok());
  EXPECT_TRUE(v4->can_spread);
  const auto v6 = resolve_target("[::1]:8888", SOCK_STREAM);
  ASSERT_TRUE(v6.ok());
  EXPECT_TRUE(v6->is_loopback);
  EXPECT_FALSE(v6->can_spread);
  EXPECT_FALSE(resolve_target("192.0.2.1:1", SOCK_DGRAM)->is_loopback);
}

TEST(Target, HostPortAndUrl) {
  const auto plain = split_target("example:8080");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->host_header(), "example:8080");
  EXPECT_FALSE(plain->is_url);
  const auto url = split_target("http://example:8080/a/b?c=d#e");
  ASSERT_TRUE(url.ok()) << url.error().message;
  EXPECT_EQ(url->host, "example");
  EXPECT_EQ(url->port, 8080);
  EXPECT_EQ(url->path, "/a/b?c=d");
  EXPECT_EQ(split_target("http://example")->port, 80);
  EXPECT_EQ(split_target("http://example")->host_header(), "example");
  EXPECT_EQ(split_target("HTTP://[::1]?q")->path, "/?q");
  EXPECT_EQ(split_target("http://[::1]:81")->host_header(), "[::1]:81");
  EXPECT_FALSE(split_target("http://[::1]:81")->is_tls);
  const auto secure = split_target("https://example/x");
  ASSERT_TRUE(secure.ok());
  EXPECT_TRUE(secure->is_tls);
  EXPECT_EQ(secure->port, 443);
  EXPECT_EQ(secure->host_header(), "example");
  EXPECT_EQ(split_target("https://example:80")->host_header(), "example:80");
}

TEST(Target, AZoneIsForThisMachineAndNotForTheServer) {
  EXPECT_EQ(split_target("[fe80::1%eth0]:80")->host, "fe80::1%eth0");
  EXPECT_EQ(split_target("[fe80::1%eth0]:8080")->host_header(), "[fe80::1]:8080");
  EXPECT_EQ(split_target("http://[fe80::1%25eth0]:8080/")->host, "fe80::1%eth0");
  EXPECT_EQ(split_target("http://[fe80::1%25eth0]:8080/")->host_header(), "[fe80::1]:8080");
}

TEST(Target, APasswordIsNotRepeated) {
  for (const std::string text :
       {"http://bob:secret@h/", "http://bob:secret@h:x/", "https://bob:sec/ret@h/",
        "bob:secret@h:9", "ftp://bob:secret@h", "http://bob:sec?ret@h/a", "http://:secret@h",
        "http://bob:se#cret@h"}) {
    const auto parts = split_target(text);
    ASSERT_FALSE(parts.ok()) << text;
    EXPECT_THAT(parts.error().message, Not(HasSubstr("sec"))) << text;
    EXPECT_THAT(parts.error().message, Not(HasSubstr("cret"))) << text;
    EXPECT_THAT(parts.error().message, HasSubstr(":***@h")) << text;
  }
  for (const std::string text :
       {"http://h:80/a:b@c", "http://[::1]:80/@", "http://h/?q=a:b@c", "h:9"})
    EXPECT_EQ(target_without_secrets(text), text);
}

TEST(Target, WhatIsRefusedIsNamed) {
  const auto why = [](const std::string& text) {
    const auto parts = split_target(text);
    return parts.ok() ? std::string("taken") : parts.error().message;
  };
  EXPECT_THAT(why("ftp://example/"), HasSubstr("the scheme ftp"));
  EXPECT_THAT(why("http://me@example/"), HasSubstr("user"));
  EXPECT_THAT(why("example"), HasSubstr("no port"));
  EXPECT_THAT(why("example:80/path"), HasSubstr("only a URL has a path"));
  EXPECT_THAT(why("::1:80"), HasSubstr("brackets"));
  EXPECT_THAT(why("[::1"), HasSubstr("bracket"));
  EXPECT_THAT(why("[::1]80"), HasSubstr("bracket"));
  for (const char* port : {"0", "65536", "-1", "x", ""})
    EXPECT_THAT(why(std::string("example:") + port), HasSubstr("port")) << port;

  LoadOptions udp;
  EXPECT_THAT(check_target(*split_target("http://example/"), udp).error().message,
              HasSubstr("only http takes a URL"));
  LoadOptions http;
  http.workload = WorkloadKind::kHttp;
  EXPECT_TRUE(check_target(*split_target("http://example/a"), http).ok());
  http.http.path = "/b";
  EXPECT_THAT(check_target(*split_target("http://example/a"), http).error().message,
              HasSubstr("give one"));
}

SocketAddress loopback(int family, uint16_t port) {
  SocketAddress address;
  if (family == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.length = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr = in6addr_loopback;
    address.length = sizeof v6;
  }
  return address;
}

/// A socket that is bound to a free port, and that port.
struct Bound {
  UniqueFd fd;
  uint16_t port = 0;
};
std::optional<Bound> bind_somewhere(int family, int type) {
  Bound bound;
  SocketAddress address = loopback(family, 0);
  bound.fd.reset(socket(family, type | SOCK_CLOEXEC, 0));
  if (!bound.fd || bind(bound.fd.get(), address.get(), address.length) != 0) return std::nullopt;
  if (type == SOCK_STREAM && listen(bound.fd.get(), 1) != 0) return std::nullopt;
  CHECK(getsockname(bound.fd.get(), reinterpret_cast<sockaddr*>(&address.storage),
                    &address.length) == 0);
  bound.port =
      ntohs(family == AF_INET ? reinterpret_cast<const sockaddr_in&>(address.storage).sin_port
                              : reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_port);
  return bound;
}

bool is_free(int family, int type, uint16_t port) {
  const SocketAddress address = loopback(family, port);
  const UniqueFd fd(socket(family, type | SOCK_CLOEXEC, 0));
  return fd && bind(fd.get(), address.get(), address.length) == 0;
}

/// Binds to a port that is free in the other family too. Other tests may use ports meanwhile.
std::optional<Bound> bind_alone(int family, int other, int type) {
  for (int attempt = 0; attempt < 100; attempt++) {
    auto bound = bind_somewhere(family, type);
    if (!bound || is_free(other, type, bound->port)) return bound;
  }
  return std::nullopt;
}

TEST(Target, TheFirstAddressAtWhichSomebodyListensIsTaken) {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    for (const int family : {AF_INET, AF_INET6}) {
      const int other = family == AF_INET ? AF_INET6 : AF_INET;
      const auto server = bind_alone(family, other, type);
      if (!server) GTEST_SKIP() << "no address of this family on the loopback interface";
      const SocketAddress right = loopback(family, server->port);
      for (const auto& order : {std::vector{right, loopback(other, server->port)},
                                std::vector{loopback(other, server->port), right}}) {
        const ChosenAddress chosen = choose_address(order, type, kNanosPerSecond);
        EXPECT_TRUE(chosen.address.same_end(right.storage)) << chosen.address.text();
        EXPECT_EQ(chosen.why_unreachable, "");
      }
    }
  }
}

SocketAddress at(const char* v4, uint16_t port) {
  SocketAddress address = loopback(AF_INET, port);
  CHECK(inet_pton(AF_INET, v4, &reinterpret_cast<sockaddr_in&>(address.storage).sin_addr) == 1);
  return address;
}

TEST(Target, TheKernelsListNamesWhoHasAUdpPort) {
  const std::string head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
  const auto line = [&](const std::string& end, const std::string& state = "07") {
    return head + "  12: " + end + " 00000000:0000 " + state + " 00000000:00000000 00:00000000\n";
  };
  const SocketAddress v4 = at("127.0.0.6", 853), v6 = loopback(AF_INET6, 853);
  EXPECT_TRUE(lists_udp_end(line("0600007F:0355"), v4));
  EXPECT_TRUE(lists_udp_end(line("00000000:0355"), v4));
  EXPECT_TRUE(lists_udp_end(line("0000000000000000FFFF00000600007F:0355"), v4));
  EXPECT_TRUE(lists_udp_end(line("00000000000000000000000000000000:0355"), v4));
  EXPECT_FALSE(lists_udp_end(line("0500007F:0355"), v4));
  EXPECT_FALSE(lists_udp_end(line("0600007F:0356"), v4));
  EXPECT_FALSE(lists_udp_end(line("0600007F:0355", "01"), v4));  // connected to another address
  EXPECT_TRUE(lists_udp_end(line("00000000000000000000000001000000:0355"), v6));
  EXPECT_TRUE(lists_udp_end(line("00000000000000000000000000000000:0355"), v6));
  EXPECT_FALSE(lists_udp_end(line("00000000:0355"), v6));
  EXPECT_FALSE(lists_udp_end(head, v6));
}

TEST(Target, AnOrdinaryUserFindsTheServerOnAPortBelow1024) {
  TOPSPIN_NEEDS_ROOT();
  const UniqueFd server(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress nobody = at("127.0.0.5", 853), there = at("127.0.0.6", 853);
  if (bind(server.get(), there.get(), there.length) != 0)
    GTEST_SKIP() << "port 853 is in use on this host";
  EXPECT_EQ(
      in_child([&]() -> std::string {
        constexpr uid_t kNobody = 65534;
        if (setresuid(kNobody, kNobody, kNobody) != 0) return "cannot give up root";
        const ChosenAddress chosen = choose_address({nobody, there}, SOCK_DGRAM, kNanosPerSecond);
        return chosen.address.text() + chosen.why_unreachable;
      }),
      "127.0.0.6:853");
}

TEST(Target, AllAddressesAreNamedWhenNoneIsThere) {
  uint16_t port = 0;
  {
    const auto gone = bind_somewhere(AF_INET, SOCK_STREAM);
    ASSERT_TRUE(gone.has_value());
    port = gone->port;
  }
  const ChosenAddress chosen = choose_address({loopback(AF_INET6, port), loopback(AF_INET, port)},
                                              SOCK_STREAM, kNanosPerSecond);
  EXPECT_THAT(chosen.why_unreachable, HasSubstr("[::1]:" + std::to_string(port) + " ("));
  EXPECT_THAT(chosen.why_unreachable,
              HasSubstr("127.0.0.1:" + std::to_string(port) + " (nobody listens)"));
  EXPECT_EQ(chosen.address.text(), "[::1]:" + std::to_string(port));  // the first one
}

}  // namespace
}  // namespace topspin
