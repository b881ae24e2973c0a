// Who owns a flow: real sockets on loopback in processes with known pids and names, on each rung.
#include "probes/owners/flow_owner.h"

#include <algorithm>
#include <csignal>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/proc/proc_reader.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/in_child.h"

namespace topspin {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// An address and port, in the form of system calls and in that of a flow's key.
class Address {
 public:
  Address(const char* text, uint16_t port) {
    if (auto* v4 = reinterpret_cast<sockaddr_in*>(&storage_);
        ::inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      return;
    }
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage_);
    CHECK(::inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
  }
  static Address of(int fd) {
    Address own("0.0.0.0", 0);
    socklen_t length = sizeof(own.storage_);
    CHECK(::getsockname(fd, own.raw(), &length) == 0);
    return own;
  }

  int family() const { return storage_.ss_family; }
  uint8_t ip_version() const { return family() == AF_INET6 ? 6 : 4; }
  uint16_t port() const {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage_);
    return ntohs(v4->sin_port);  // at the same offset in both
  }
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage_); }
  socklen_t size() const {
    return family() == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  }
  Endpoint endpoint() const {
    Endpoint end;
    end.port = port();
    if (family() == AF_INET6)
      std::memcpy(end.address.data(), &reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr,
                  16);
    else
      std::memcpy(end.address.data(), &reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr,
                  4);
    return end;
  }

 private:
  sockaddr_storage storage_{};
};

int open_socket(int type, Address local, bool reuse_port = false) {
  const int fd = ::socket(local.family(), type | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  const int on = 1;
  CHECK(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
  if (reuse_port) CHECK(::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0);
  CHECK(::bind(fd, local.raw(), local.size()) == 0);
  if (type == SOCK_STREAM) CHECK(::listen(fd, 64) == 0);
  return fd;
}

/// A socket that is connected from any port.
int connect_socket(int type, Address to) {
  const int fd = ::socket(to.family(), type | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  CHECK(::connect(fd, to.raw(), to.size()) == 0);
  return fd;
}

/// A process with a known name that opens sockets, tells their ports, and waits.
class Actor {
 public:
  /// What `work` can do in the process: tell a number, and wait for go().
  class Inside {
   public:
    Inside(int in, int out) : in_(in), out_(out) {}
    void tell(int number) const { CHECK(::write(out_, &number, sizeof(number)) == sizeof(number)); }
    void wait() const {
      char byte = 0;
      if (::read(in_, &byte, 1) != 1) ::_exit(0);
    }

   private:
    int in_;
    int out_;
  };

  Actor(const char* name, const std::function<void(const Inside&)>& work) {
    int down[2];
    int up[2];
    CHECK(::pipe(down) == 0 && ::pipe(up) == 0);
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, name);
      ::close(down[1]);
      ::close(up[0]);
      const Inside inside(down[0], up[1]);
      work(inside);
      inside.wait();
      ::_exit(0);
    }
    ::close(down[0]);
    ::close(up[1]);
    down_.reset(down[1]);
    up_.reset(up[0]);
  }
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  ~Actor() { end(); }

  int told() const {
    int number = -1;
    CHECK(::read(up_.get(), &number, sizeof(number)) == sizeof(number));
    return number;
  }
  void go() const { CHECK(::write(down_.get(), "x", 1) == 1); }
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ended_ = std::exchange(pid_, 0);
  }
  pid_t pid() const { return pid_ > 0 ? pid_ : ended_; }

 private:
  pid_t pid_ = 0;
  pid_t ended_ = 0;
  UniqueFd down_;
  UniqueFd up_;
};

/// The row that capture would make of a flow whose initiator is `from`.
FlowRow flow(uint64_t id, uint8_t protocol, const Address& from, const Address& to) {
  FlowRow row;
  row.id = id;
  row.key.ip_version = from.ip_version();
  row.key.protocol = protocol;
  row.initiator_is_low = from.endpoint() <= to.endpoint();
  row.key.low = std::min(from.endpoint(), to.endpoint());
  row.key.high = std::max(from.endpoint(), to.endpoint());
  return row;
}

/// "initiator > responder", each "name pid quality" or "-".
std::string owners_of(const FlowRow& row, const OwnerTable& table) {
  const auto text = [&](size_t side) {
    const FlowOwner* owner = table.find(row.owners[side]);
    return owner ? fmt::format("{} {} {}", owner->name, owner->pid,
                               owner_quality_name(owner->quality))
                 : std::string("-");
  };
  return text(0) + " > " + text(1);
}

std::string end_text(const char* name, const Actor& actor, OwnerQuality quality) {
  return fmt::format("{} {} {}", name, actor.pid(), owner_quality_name(quality));
}

constexpr auto kSnapshot = OwnerQuality::kSnapshot;
constexpr auto kExact = OwnerQuality::kExact;
constexpr auto kShared = OwnerQuality::kShared;

class FlowOwnersTest : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override {
    if (GetParam() == Rung::kTpBtf) SKIP_WITHOUT_BPF();
    if (GetParam() == Rung::kProc && !has_effective_capability(CAP_SYS_PTRACE))
      GTEST_SKIP() << "needs cap_sys_ptrace to read /proc/PID/fd of others: run the tests as root";
    limits_.walk_share = 0;  // walks whenever one is wanted, although the ticks are short
    limits_.walk_ns_per_resolve = 10 * kNanosPerSecond;
  }

  void open() {
    ProbeOptions options;
    options.forced["owners"] = GetParam();
    owners_ = FlowOwners::open({}, options, limits_);
    ASSERT_EQ(rung_name(owners_->status().rung), rung_name(GetParam())) << owners_->status().reason;
  }

  /// Resolves one tick in which `rows` changed, and returns the rows with their owners.
  std::vector<FlowRow> tick(std::vector<FlowRow> rows) {
    Sample sample;
    sample.changed_flows = std::move(rows);
    owners_->resolve(sample);
    changed_owners_ = sample.changed_owners.size();
    missed_ += sample.losses.flow_owners_missed;
    for (const FlowOwner& owner : sample.changed_owners) table_.set(owner);
    return std::move(sample.changed_flows);
  }
  std::string tick(const FlowRow& row) { return owners_of(tick(std::vector{row})[0], table_); }

  bool has_events() const { return GetParam() == Rung::kTpBtf; }

  FlowOwnerLimits limits_;
  std::unique_ptr<FlowOwners> owners_;
  OwnerTable table_;
  size_t changed_owners_ = 0;
  uint64_t missed_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Rungs, FlowOwnersTest, testing::Values(Rung::kTpBtf, Rung::kProc),
                         [](const auto& tested) { return std::string(rung_name(tested.param)); });

struct UdpCase {
  const char* bound;    // where the server binds
  const char* from;     // the client's address
  const char* reached;  // the server's, as the client sees it
};

TEST_P(FlowOwnersTest, udp_both_ends_whatever_the_server_is_bound_to) {
  open();
  for (const UdpCase& c :
       {UdpCase{"127.0.0.1", "127.0.0.1", "127.0.0.1"},
        UdpCase{"0.0.0.0", "127.0.0.1", "127.0.0.1"}, UdpCase{"::1", "::1", "::1"},
        UdpCase{"::", "::1", "::1"}, UdpCase{"::", "127.0.0.1", "127.0.0.1"},
        UdpCase{"::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1"}}) {
    const Actor server("udp server", [&](const Actor::Inside& inside) {
      inside.tell(Address::of(open_socket(SOCK_DGRAM, Address(c.bound, 0))).port());
    });
    const Address to(c.reached, static_cast<uint16_t>(server.told()));
    const Actor client("udp client", [&](const Actor::Inside& inside) {
      inside.tell(Address::of(connect_socket(SOCK_DGRAM, to)).port());
    });
    const Address from(c.from, static_cast<uint16_t>(client.told()));
    static uint64_t id = 0;
    const std::string there = end_text("udp client", client, kSnapshot) + " > " +
                              end_text("udp server", server, kSnapshot);
    EXPECT_EQ(tick(flow(++id, kProtocolUdp, from, to)), there) << c.bound;
    const std::string back = end_text("udp server", server, kSnapshot) + " > " +
                             end_text("udp client", client, kSnapshot);
    EXPECT_EQ(tick(flow(++id, kProtocolUdp, to, from)), back) << c.bound;
  }
}

TEST_P(FlowOwnersTest, tcp_both_ends_and_the_connect_is_exact_where_bpf_sees_it) {
  open();
  uint64_t id = 0;
  for (const char* address : {"127.0.0.1", "::1"}) {
    const Actor server("tcp server", [&](const Actor::Inside& inside) {
      const int listener = open_socket(SOCK_STREAM, Address(address, 0));
      inside.tell(Address::of(listener).port());
      CHECK(::accept(listener, nullptr, nullptr) >= 0);
      inside.tell(0);
    });
    const Address to(address, static_cast<uint16_t>(server.told()));
    const Actor client("tcp client", [&](const Actor::Inside& inside) {
      inside.tell(Address::of(connect_socket(SOCK_STREAM, to)).port());
    });
    const Address from(address, static_cast<uint16_t>(client.told()));
    server.told();
    EXPECT_EQ(tick(flow(++id, kProtocolTcp, from, to)),
              end_text("tcp client", client, has_events() ? kExact : kSnapshot) + " > " +
                  end_text("tcp server", server, kSnapshot));
  }
  EXPECT_EQ(missed_, 0u);
}

/// Go opens its TCP listeners like this. The client speaks MPTCP or plain TCP. The TCP connections
/// below those of MPTCP belong to the kernel, and no process has a descriptor of them.
TEST_P(FlowOwnersTest, mptcp_both_ends_of_connections_that_were_there_before) {
  constexpr int kMptcp = 262;
  if (const UniqueFd tried(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, kMptcp)); !tried)
    GTEST_SKIP() << "this kernel has no MPTCP: " << std::strerror(errno);
  for (const char* address : {"127.0.0.1", "::1"}) {
    for (const int client_protocol : {kMptcp, static_cast<int>(IPPROTO_TCP)}) {
      SCOPED_TRACE(fmt::format("{}, client of protocol {}", address, client_protocol));
      const Actor server("mptcp server", [&](const Actor::Inside& inside) {
        Address local(address, 0);
        const int listener = ::socket(local.family(), SOCK_STREAM | SOCK_CLOEXEC, kMptcp);
        CHECK(listener >= 0 && ::bind(listener, local.raw(), local.size()) == 0 &&
              ::listen(listener, 4) == 0);
        inside.tell(Address::of(listener).port());
        CHECK(::accept(listener, nullptr, nullptr) >= 0);
        inside.tell(0);
      });
      Address to(address, static_cast<uint16_t>(server.told()));
      const Actor client("mptcp client", [&](const Actor::Inside& inside) {
        const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, client_protocol);
        CHECK(fd >= 0 && ::connect(fd, to.raw(), to.size()) == 0);
        inside.tell(Address::of(fd).port());
      });
      const Address from(address, static_cast<uint16_t>(client.told()));
      CHECK(server.told() == 0);
      open();
      EXPECT_EQ(tick(flow(1, kProtocolTcp, from, to)),
                end_text("mptcp client", client, kSnapshot) + " > " +
                    end_text("mptcp server", server, kSnapshot));
      table_ = {};
    }
  }
}

/// The subject is a child process of the test, like a command that topspin starts.
class SubjectPartsTest : public FlowOwnersTest {
 protected:
  void open_on(const Actor& subject) {
    ProbeOptions options;
    options.forced["owners"] = GetParam();
    SubjectSpec spec;
    spec.kind = SubjectSpec::Kind::kProcessTree;
    spec.pid = subject.pid();
    owners_ = FlowOwners::open(spec, options, limits_);
    ASSERT_EQ(rung_name(owners_->status().rung), rung_name(GetParam())) << owners_->status().reason;
    ASSERT_TRUE(owners_->knows_parts());
    owners_->note_processes({subject.pid()});
    owners_->look_around();
  }
  SubjectPart part(const FlowRow& row) { return owners_->part_in(row.key, row.initiator_is_low); }
};

INSTANTIATE_TEST_SUITE_P(Rungs, SubjectPartsTest, testing::Values(Rung::kTpBtf, Rung::kProc),
                         [](const auto& tested) { return std::string(rung_name(tested.param)); });

TEST_P(SubjectPartsTest, who_serves_and_who_calls_of_connections_that_were_there_before) {
  const Actor downstream("downstream", [](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_STREAM, Address("127.0.0.1", 0))).port());
  });
  const Address called("127.0.0.1", static_cast<uint16_t>(downstream.told()));
  const Actor subject("subject", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_STREAM, Address("127.0.0.1", 0))).port());
    inside.tell(Address::of(connect_socket(SOCK_STREAM, called)).port());
  });
  const Address served("127.0.0.1", static_cast<uint16_t>(subject.told()));
  const Address calls_from("127.0.0.1", static_cast<uint16_t>(subject.told()));
  const UniqueFd client(connect_socket(SOCK_STREAM, served));
  const UniqueFd other(connect_socket(SOCK_STREAM, called));
  open_on(subject);
  EXPECT_EQ(part(flow(1, kProtocolTcp, Address::of(client.get()), served)), SubjectPart::kServes);
  EXPECT_EQ(part(flow(2, kProtocolTcp, calls_from, called)), SubjectPart::kCalls);
  EXPECT_EQ(part(flow(3, kProtocolTcp, Address::of(other.get()), called)), SubjectPart::kNone);
  EXPECT_EQ(part(flow(4, kProtocolTcp, Address("192.0.2.1", 5), served)), SubjectPart::kServes);
  EXPECT_EQ(part(flow(5, kProtocolTcp, Address("127.0.0.1", 1), Address("127.0.0.1", 2))),
            SubjectPart::kUnknown)
      << "nobody has these ports";
  EXPECT_EQ(part(flow(6, kProtocolTcp, Address("192.0.2.1", 5), Address("127.0.0.1", 2))),
            SubjectPart::kPerhapsServes)
      << "somebody elsewhere asked, whoever is to answer";

  EXPECT_EQ(part(flow(7, kProtocolTcp, served, Address::of(client.get()))), SubjectPart::kNone)
      << "joined midway, and its ends guessed wrong: what the subject accepted is no call";

  const auto opened = owners_->take_opened();
  ASSERT_EQ(opened.size(), 1u);
  EXPECT_EQ(opened[0].end.remote, called.endpoint());
  EXPECT_TRUE(opened[0].stays_on_host);
  EXPECT_THAT(owners_->take_opened(), IsEmpty());
  tick(std::vector<FlowRow>{});
  EXPECT_THAT(owners_->take_opened(), IsEmpty()) << "told once";
}

TEST_P(SubjectPartsTest, connections_that_come_later_and_of_a_new_child) {
  if (!has_events()) GTEST_SKIP() << "this rung sees only what a walk finds";
  const Actor downstream("downstream", [](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_STREAM, Address("127.0.0.1", 0))).port());
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0))).port());
  });
  const Address tcp("127.0.0.1", static_cast<uint16_t>(downstream.told()));
  const Address udp("127.0.0.1", static_cast<uint16_t>(downstream.told()));
  // The subject has a child that is not in the list of its processes.
  const Actor subject("subject", [&](const Actor::Inside& inside) {
    inside.wait();
    if (const pid_t child = ::fork(); child == 0) {
      const int stream = connect_socket(SOCK_STREAM, tcp);
      inside.tell(Address::of(stream).port());
      ::close(stream);
      inside.wait();
      ::_exit(0);
    }
  });
  open_on(subject);
  subject.go();
  const Address stream("127.0.0.1", static_cast<uint16_t>(subject.told()));
  EXPECT_EQ(part(flow(1, kProtocolTcp, stream, tcp)), SubjectPart::kCalls);
  const UniqueFd own_stream(connect_socket(SOCK_STREAM, tcp));
  EXPECT_EQ(part(flow(2, kProtocolTcp, Address::of(own_stream.get()), tcp)), SubjectPart::kNone)
      << "somebody else's, opened as late";
  // A UDP socket is known after the next walk.
  const UniqueFd own_datagram(connect_socket(SOCK_DGRAM, udp));
  const FlowRow datagrams = flow(3, kProtocolUdp, Address::of(own_datagram.get()), udp);
  EXPECT_EQ(part(datagrams), SubjectPart::kUnknown);
  tick(datagrams);
  EXPECT_EQ(part(datagrams), SubjectPart::kNone);
  const auto opened = owners_->take_opened();
  ASSERT_EQ(opened.size(), 1u);
  EXPECT_EQ(opened[0].end.remote, tcp.endpoint());
}

TEST_P(FlowOwnersTest, tcp_of_ipv4_through_an_ipv6_socket) {
  open();
  const Actor server("dual server", [&](const Actor::Inside& inside) {
    const int listener = open_socket(SOCK_STREAM, Address("::", 0));
    inside.tell(Address::of(listener).port());
    CHECK(::accept(listener, nullptr, nullptr) >= 0);
    inside.tell(0);
  });
  const auto port = static_cast<uint16_t>(server.told());
  const Actor client("dual client", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(connect_socket(SOCK_STREAM, Address("::ffff:127.0.0.1", port))).port());
  });
  const Address from("127.0.0.1", static_cast<uint16_t>(client.told()));
  server.told();
  EXPECT_EQ(tick(flow(1, kProtocolTcp, from, Address("127.0.0.1", port))),
            end_text("dual client", client, has_events() ? kExact : kSnapshot) + " > " +
                end_text("dual server", server, kSnapshot));
}

TEST_P(FlowOwnersTest, a_connection_not_accepted_yet_is_the_listeners) {
  open();
  const Actor server("lazy server", [&](const Actor::Inside& inside) {
    const int listener = open_socket(SOCK_STREAM, Address("0.0.0.0", 0));
    inside.tell(Address::of(listener).port());
  });
  const Address to("127.0.0.1", static_cast<uint16_t>(server.told()));
  const UniqueFd client(connect_socket(SOCK_STREAM, to));
  EXPECT_THAT(tick(flow(1, kProtocolTcp, Address::of(client.get()), to)),
              testing::EndsWith(" > " + end_text("lazy server", server, kSnapshot)));
}

TEST_P(FlowOwnersTest, the_worker_that_accepts_takes_over_from_the_listener) {
  open();
  const Actor server("master", [&](const Actor::Inside& inside) {
    const int listener = open_socket(SOCK_STREAM, Address("127.0.0.1", 0));
    inside.tell(Address::of(listener).port());
    inside.wait();
    const pid_t worker = ::fork();
    if (worker == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, "worker");
      CHECK(::accept(listener, nullptr, nullptr) >= 0);
      inside.tell(::getpid());
      ::pause();
    }
  });
  const Address to("127.0.0.1", static_cast<uint16_t>(server.told()));
  const UniqueFd client(connect_socket(SOCK_STREAM, to));
  const FlowRow row = flow(1, kProtocolTcp, Address::of(client.get()), to);
  limits_.refresh_ns = 0;
  open();
  EXPECT_THAT(tick(row), testing::EndsWith(" > " + end_text("master", server, kSnapshot)));
  server.go();
  const int worker = server.told();
  EXPECT_THAT(tick(row), testing::EndsWith(fmt::format(" > worker {} snapshot", worker)));
}

TEST_P(FlowOwnersTest, a_flow_of_this_host_that_has_no_owner_is_counted_as_missed_once) {
  open();
  uint16_t gone_port = 0;
  {
    const UniqueFd socket(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0)));
    gone_port = Address::of(socket.get()).port();
  }
  const Address elsewhere("203.0.113.7", 53);
  // A socket that was opened and closed between two ticks.
  FlowRow row = flow(1, kProtocolUdp, Address("127.0.0.1", gone_port), elsewhere);
  row.packets = {1, 1};
  row.payload_bytes = {4, 4};
  EXPECT_EQ(tick(row), "- > -");
  EXPECT_EQ(std::exchange(missed_, 0), 1u);
  row.ended = true;
  EXPECT_EQ(tick(row), "- > -");
  EXPECT_EQ(missed_, 0u);  // it is the same flow

  // A flow is not missed if both ends are elsewhere, if nobody answered at the only end that is
  // here, or if only the kernel answered, without payload.
  row = flow(2, kProtocolUdp, Address("198.51.100.1", 9), elsewhere);
  row.packets = {1, 1};
  row.payload_bytes = {4, 4};
  EXPECT_EQ(tick(row), "- > -");
  row = flow(3, kProtocolUdp, elsewhere, Address("127.0.0.1", gone_port));
  row.packets = {1, 0};
  row.payload_bytes = {4, 0};
  EXPECT_EQ(tick(row), "- > -");
  row = flow(4, kProtocolTcp, elsewhere, Address("127.0.0.1", gone_port));
  row.packets = {1, 1};
  row.payload_bytes = {0, 0};
  row.ended = true;
  EXPECT_EQ(tick(row), "- > -");
  EXPECT_EQ(missed_, 0u);
}

TEST_P(FlowOwnersTest, a_socket_in_two_processes_is_shared_and_the_first_is_named) {
  open();
  const Actor parent("parent", [&](const Actor::Inside& inside) {
    const int fd = open_socket(SOCK_DGRAM, Address("127.0.0.1", 0));
    ::usleep(20'000);  // the rung proc knows start times only in clock ticks
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, "child");
      inside.tell(Address::of(fd).port());
      ::pause();
    }
  });
  const Address server("127.0.0.1", static_cast<uint16_t>(parent.told()));
  const UniqueFd client(connect_socket(SOCK_DGRAM, server));
  EXPECT_THAT(tick(flow(1, kProtocolUdp, Address::of(client.get()), server)),
              testing::EndsWith(" > " + end_text("parent", parent, kShared)));
}

TEST_P(FlowOwnersTest, two_sockets_on_one_port_are_shared) {
  open();
  const Actor first("first", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("0.0.0.0", 0), true)).port());
  });
  const auto port = static_cast<uint16_t>(first.told());
  ::usleep(20'000);
  const Actor second("second", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("0.0.0.0", port), true)).port());
  });
  second.told();
  const UniqueFd client(connect_socket(SOCK_DGRAM, Address("127.0.0.1", port)));
  EXPECT_THAT(tick(flow(1, kProtocolUdp, Address::of(client.get()), Address("127.0.0.1", port))),
              testing::EndsWith(" > " + end_text("first", first, kShared)));
}

TEST_P(FlowOwnersTest, a_connection_over_before_the_tick_is_exact_by_bpf_and_else_unknown) {
  open();
  const Actor server("brief server", [&](const Actor::Inside& inside) {
    const int listener = open_socket(SOCK_STREAM, Address("127.0.0.1", 0));
    inside.tell(Address::of(listener).port());
    CHECK(::close(::accept(listener, nullptr, nullptr)) == 0);
    CHECK(::close(listener) == 0);
    inside.tell(0);
  });
  const Address to("127.0.0.1", static_cast<uint16_t>(server.told()));
  Actor client("brief client", [&](const Actor::Inside& inside) {
    const int fd = connect_socket(SOCK_STREAM, to);
    const uint16_t port = Address::of(fd).port();
    ::close(fd);
    inside.tell(port);
  });
  const Address from("127.0.0.1", static_cast<uint16_t>(client.told()));
  server.told();
  client.end();  // its process is over too
  EXPECT_EQ(tick(flow(1, kProtocolTcp, from, to)),
            has_events() ? end_text("brief client", client, kExact) + " > " +
                               end_text("brief server", server, kSnapshot)
                         : "- > -");
}

TEST_P(FlowOwnersTest, a_refused_connect_is_exact_by_bpf) {
  open();
  const int closed = open_socket(SOCK_STREAM, Address("127.0.0.1", 0));
  const Address to = Address::of(closed);
  ::close(closed);
  const Actor client("refused", [&](const Actor::Inside& inside) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Address local("127.0.0.1", 0);
    CHECK(::bind(fd, local.raw(), local.size()) == 0);
    inside.tell(Address::of(fd).port());
    Address target = to;
    CHECK(::connect(fd, target.raw(), target.size()) != 0);
    ::close(fd);
    inside.tell(0);
  });
  const Address from("127.0.0.1", static_cast<uint16_t>(client.told()));
  client.told();
  EXPECT_EQ(tick(flow(1, kProtocolTcp, from, to)),
            has_events() ? end_text("refused", client, kExact) + " > -" : "- > -");
}

TEST_P(FlowOwnersTest, udp_over_before_the_tick_is_unknown) {
  open();
  int fd = open_socket(SOCK_DGRAM, Address("127.0.0.1", 0));
  const Address from = Address::of(fd);
  ::close(fd);
  EXPECT_EQ(tick(flow(1, kProtocolUdp, from, Address("127.0.0.1", 1))), "- > -");
}

TEST_P(FlowOwnersTest, an_owner_stays_when_its_socket_is_gone_and_yields_to_the_next) {
  limits_.refresh_ns = 0;  // walks every tick
  open();
  const int sink = open_socket(SOCK_DGRAM, Address("127.0.0.1", 0));
  const Address to = Address::of(sink);
  const auto client_at = [&](uint16_t port) {
    return [&, port](const Actor::Inside& inside) {
      const int fd = open_socket(SOCK_DGRAM, Address("127.0.0.1", port));
      Address target = to;
      CHECK(::connect(fd, target.raw(), target.size()) == 0);
      inside.tell(Address::of(fd).port());
    };
  };
  Actor first("first", client_at(0));
  const auto port = static_cast<uint16_t>(first.told());
  const FlowRow row = flow(1, kProtocolUdp, Address("127.0.0.1", port), to);
  EXPECT_THAT(tick(row), testing::StartsWith(end_text("first", first, kSnapshot)));
  first.end();
  EXPECT_THAT(tick(row), testing::StartsWith(end_text("first", first, kSnapshot)));
  const Actor second("second", client_at(port));
  EXPECT_EQ(second.told(), port);
  EXPECT_THAT(tick(row), testing::StartsWith(end_text("second", second, kSnapshot)));
  ::close(sink);
}

TEST_P(FlowOwnersTest, a_port_of_another_host_is_nobodys_though_we_have_it_open) {
  open();
  const UniqueFd server(open_socket(SOCK_DGRAM, Address("0.0.0.0", 0)));
  const uint16_t port = Address::of(server.get()).port();
  EXPECT_EQ(tick(flow(1, kProtocolUdp, Address("198.51.100.1", 9), Address("198.51.100.2", port))),
            "- > -");
  EXPECT_THAT(tick(flow(2, kProtocolUdp, Address("198.51.100.1", 9), Address("127.0.0.1", port))),
              testing::EndsWith("snapshot"));
}

TEST_P(FlowOwnersTest, an_ipv6_only_socket_serves_no_ipv4) {
  open();
  const UniqueFd server(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  CHECK(::setsockopt(server.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0);
  Address any("::", 0);
  CHECK(::bind(server.get(), any.raw(), any.size()) == 0);
  const uint16_t port = Address::of(server.get()).port();
  EXPECT_EQ(tick(flow(1, kProtocolUdp, Address("198.51.100.1", 9), Address("127.0.0.1", port))),
            "- > -");
  EXPECT_THAT(tick(flow(2, kProtocolUdp, Address("2001:db8::1", 9), Address("::1", port))),
              testing::EndsWith("snapshot"));
}

TEST_P(FlowOwnersTest, sockets_of_another_network_namespace_are_not_ours) {
  open();
  const Actor other("elsewhere", [&](const Actor::Inside& inside) {
    if (::unshare(CLONE_NEWNET) != 0) {
      inside.tell(0);
      return;
    }
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("0.0.0.0", 0))).port());
  });
  const int port = other.told();
  if (port == 0) GTEST_SKIP() << "needs cap_sys_admin to make a network namespace";
  EXPECT_EQ(tick(flow(1, kProtocolUdp, Address("127.0.0.1", 9),
                      Address("127.0.0.1", static_cast<uint16_t>(port)))),
            "- > -");
}

TEST_P(FlowOwnersTest, a_new_name_is_told_under_the_same_number) {
  limits_.refresh_ns = 0;
  open();
  const Actor server("before", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0))).port());
    inside.wait();
    ::prctl(PR_SET_NAME, "\x1b[2J\xff");
    inside.tell(0);
  });
  const FlowRow row = flow(1, kProtocolUdp, Address("198.51.100.1", 9),
                           Address("127.0.0.1", static_cast<uint16_t>(server.told())));
  const auto before = tick(std::vector{row});
  ASSERT_TRUE(before[0].owners[1]);
  EXPECT_EQ(changed_owners_, 1u);
  EXPECT_EQ(table_.find(before[0].owners[1])->name, "before");
  tick(row);
  EXPECT_EQ(changed_owners_, 0u);
  server.go();
  server.told();
  const auto after = tick(std::vector{row});
  EXPECT_EQ(changed_owners_, 1u);
  EXPECT_EQ(after[0].owners[1], before[0].owners[1]);
  EXPECT_EQ(table_.find(after[0].owners[1])->name, "\x1b[2J\xff");
}

TEST_P(FlowOwnersTest, start_time_is_the_processs_own) {
  open();
  const Actor server("server", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0))).port());
  });
  const auto rows =
      tick(std::vector{flow(1, kProtocolUdp, Address("198.51.100.1", 9),
                            Address("127.0.0.1", static_cast<uint16_t>(server.told())))});
  ASSERT_TRUE(rows[0].owners[1]);
  const int64_t tick_ns = kNanosPerSecond / ::sysconf(_SC_CLK_TCK);
  const auto stat = ProcReader("/proc").stat(server.pid());
  EXPECT_EQ(table_.find(rows[0].owners[1])->start_time_ns / tick_ns,
            static_cast<int64_t>(stat->start_ticks));
}

TEST_P(FlowOwnersTest, a_walk_too_long_for_a_tick_goes_on_in_the_next) {
  limits_.walk_ns_per_resolve = 0;  // each call does as little as possible
  open();
  constexpr int kSockets = 800;
  const Actor server("many sockets", [&](const Actor::Inside& inside) {
    for (int i = 0; i < kSockets; ++i)
      inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0))).port());
  });
  std::vector<FlowRow> rows;
  for (int i = 0; i < kSockets; ++i) {
    rows.push_back(flow(static_cast<uint64_t>(i + 1), kProtocolUdp, Address("198.51.100.1", 9),
                        Address("127.0.0.1", static_cast<uint16_t>(server.told()))));
  }
  const auto known = [&] {
    return std::ranges::count_if(rows,
                                 [](const FlowRow& row) { return row.owners[1].has_value(); });
  };
  rows = tick(rows);
  EXPECT_EQ(known(), 0);  // a walk that is not complete is not used
  int ticks = 1;
  for (; known() == 0 && ticks < 10'000; ++ticks) rows = tick(rows);
  EXPECT_EQ(known(), kSockets);
  EXPECT_GT(ticks, 2);
  for (const FlowRow& row : rows)
    EXPECT_EQ(owners_of(row, table_), "- > " + end_text("many sockets", server, kSnapshot));
}

TEST_P(FlowOwnersTest, walks_keep_to_their_share_of_time) {
  limits_.walk_share = 1'000'000;  // no second walk during this test
  open();
  const UniqueFd one(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0)));
  const Address stranger("198.51.100.1", 9);
  EXPECT_THAT(tick(flow(1, kProtocolUdp, stranger, Address::of(one.get()))), HasSubstr("snapshot"));
  const UniqueFd two(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0)));
  EXPECT_EQ(tick(flow(2, kProtocolUdp, stranger, Address::of(two.get()))), "- > -");
}

TEST_P(FlowOwnersTest, what_finds_no_room_is_counted) {
  std::vector<UniqueFd> fds;
  std::vector<FlowRow> rows;
  for (uint64_t id = 1; id <= 4; ++id) {
    fds.emplace_back(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0)));
    rows.push_back(
        flow(id, kProtocolUdp, Address("198.51.100.1", 9), Address::of(fds.back().get())));
  }
  const auto known = [](const std::vector<FlowRow>& answered) {
    return std::ranges::count_if(answered,
                                 [](const auto& row) { return row.owners[1].has_value(); });
  };
  limits_.max_flows = 3;
  open();
  EXPECT_EQ(known(tick(rows)), 3);
  EXPECT_EQ(std::exchange(missed_, 0), 1u);

  limits_.max_flows = 100;
  limits_.max_owners = 0;
  open();
  EXPECT_EQ(known(tick(rows)), 0);
  EXPECT_EQ(std::exchange(missed_, 0), 4u);

  limits_.max_owners = 100;
  limits_.max_sockets = 1;
  open();
  EXPECT_LE(known(tick(rows)), 1);
  EXPECT_GE(missed_, 3u);
}

TEST_P(FlowOwnersTest, ends_that_change_places_take_their_owners_along) {
  open();
  const Actor server("server", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0))).port());
  });
  const Address to("127.0.0.1", static_cast<uint16_t>(server.told()));
  FlowRow row = flow(1, kProtocolUdp, Address("198.51.100.1", 9), to);
  EXPECT_EQ(tick(row), "- > " + end_text("server", server, kSnapshot));
  row.initiator_is_low = !row.initiator_is_low;
  EXPECT_EQ(tick(row), end_text("server", server, kSnapshot) + " > -");
}

/// Becomes nobody with only these capabilities. This cannot be undone, so it is called in a child.
void become_nobody(const std::vector<int>& kept) {
  const std::vector<cap_value_t> values(kept.begin(), kept.end());
  cap_t state = ::cap_init();
  for (const cap_flag_t flag : {CAP_EFFECTIVE, CAP_PERMITTED}) {
    if (!values.empty())
      CHECK(::cap_set_flag(state, flag, static_cast<int>(values.size()), values.data(), CAP_SET) ==
            0);
  }
  CHECK(::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
  CHECK(::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0);
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  CHECK(::cap_set_proc(state) == 0);
  ::cap_free(state);
}

/// Resolves one tick with a flow between a socket of this process and `server`.
std::string resolve_once(FlowOwners& owners, const Address& server) {
  const UniqueFd own(connect_socket(SOCK_DGRAM, server));
  Sample sample;
  sample.changed_flows = {flow(1, kProtocolUdp, Address::of(own.get()), server)};
  owners.resolve(sample);
  OwnerTable table;
  for (const FlowOwner& owner : sample.changed_owners) table.set(owner);
  return owners_of(sample.changed_flows[0], table);
}

TEST_P(FlowOwnersTest, works_on_with_no_more_than_the_capabilities_it_asks_for) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  const Actor server("roots server", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0))).port());
  });
  const Address to("127.0.0.1", static_cast<uint16_t>(server.told()));
  ProbeOptions options;
  options.forced["owners"] = GetParam();
  const std::string text = in_child([&] {
    ::prctl(PR_SET_NAME, "topspin");
    const auto owners = FlowOwners::open({}, options, limits_);
    become_nobody(owners->capabilities_needed());
    return fmt::format("{} {}", resolve_once(*owners, to), ::getpid());
  });
  EXPECT_THAT(text, testing::StartsWith("topspin "));
  EXPECT_THAT(text, HasSubstr(" > " + end_text("roots server", server, kSnapshot)));
}

TEST(FlowOwnersPrivileges, without_any_it_sees_what_is_this_users) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  const Actor server("roots server", [&](const Actor::Inside& inside) {
    inside.tell(Address::of(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0))).port());
  });
  const Address to("127.0.0.1", static_cast<uint16_t>(server.told()));
  const std::string text = in_child([&] {
    ::prctl(PR_SET_NAME, "topspin");
    become_nobody({});
    FlowOwnerLimits limits;
    limits.walk_ns_per_resolve = 10 * kNanosPerSecond;
    const auto owners = FlowOwners::open({}, {}, limits);
    return fmt::format("{} {} | {} | {}", owners->status().name, rung_name(owners->status().rung),
                       owners->status().reason, resolve_once(*owners, to));
  });
  EXPECT_THAT(text, testing::StartsWith("owners proc | tp_btf: "));
  EXPECT_THAT(text, HasSubstr("needs cap_bpf and cap_perfmon"));
  EXPECT_THAT(text, HasSubstr("this user's processes"));
  EXPECT_THAT(text, testing::ContainsRegex("topspin [0-9]+ snapshot > -"));
}

TEST(FlowOwnersLadder, turned_off_it_names_nobody) {
  ProbeOptions options;
  options.forced["owners"] = Rung::kNone;
  const auto owners = FlowOwners::open({}, options);
  EXPECT_EQ(owners->status().rung, Rung::kNone);
  EXPECT_EQ(owners->status().reason, "turned off");
  const UniqueFd server(open_socket(SOCK_DGRAM, Address("127.0.0.1", 0)));
  EXPECT_EQ(resolve_once(*owners, Address::of(server.get())), "- > -");
  EXPECT_THAT(owners->capabilities_needed(), IsEmpty());
}

TEST(FlowOwnersLadder, a_rung_that_is_not_there_is_a_reason) {
  ProbeOptions options;
  options.forced["owners"] = Rung::kPerf;
  const auto owners = FlowOwners::open({}, options);
  EXPECT_EQ(owners->status().rung, Rung::kNone);
  EXPECT_THAT(owners->status().reason, HasSubstr("no rung perf"));
}

}  // namespace
}  // namespace topspin
