// Files read with several threads give exactly the same numbers as with one, whatever the file
// contains and wherever it is cut. Ending never waits for input.
#include <cstdio>
#include <random>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "capture/flow_tracker.h"
#include "core/base/clock.h"
#include "tests/capture/scratch_file.h"
#include "tests/capture/times.h"
#include "tests/capture/whole_reading.h"

namespace topspin {
namespace {

std::string bytes_of(uint64_t value, int bytes) {  // in network order
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
  return out;
}
std::string host_word(uint32_t v) { return {reinterpret_cast<const char*>(&v), 4}; }

/// Random traffic on two interfaces, the second of which repeats some packets of the first. Clients
/// send requests over UDP and TCP, connections open and end, there are fragments and nonsense, and
/// the clock goes back a little, is set back, and jumps ahead. The same seed gives the same bytes.
class RandomCapture {
 public:
  explicit RandomCapture(uint32_t seed, uint32_t clients) : random_(seed), clients_(clients) {
    bytes_ = host_word(0xa1b23c4d) + host_word(2 | 4 << 16) + host_word(0) + host_word(0) +
             host_word(65'535) + host_word(276);
  }

  std::string packets(int count) {
    for (int i = 0; i < count; ++i) {
      step_clock();
      const std::string packet = next_packet();
      add(packet, 1);
      if (one_in(20)) add(packet, 2);
    }
    return std::move(bytes_);
  }

 private:
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  bool one_in(uint32_t n) { return below(n) == 0; }

  void step_clock() {
    now_ns_ += below(1'000'000);
    if (one_in(50)) now_ns_ -= kMs;
    if (one_in(3000)) now_ns_ += 5 * kNanosPerSecond;
    if (one_in(4000)) now_ns_ -= 3 * kNanosPerSecond;
    if (one_in(9000)) now_ns_ += 2 * 86'400 * kNanosPerSecond;
  }

  std::string next_packet() {
    const uint32_t client = below(clients_);
    const bool asks = !one_in(3);
    const uint64_t client_end = 0x0a000000 + client / 100, server_end = 0x0a800000 + client % 7;
    const std::string ends =
        bytes_of(asks ? client_end : server_end, 4) + bytes_of(asks ? server_end : client_end, 4);
    const std::string ports = bytes_of(asks ? 2000 + client % 100 : 8000, 2) +
                              bytes_of(asks ? 8000 : 2000 + client % 100, 2);
    const std::string payload(below(3) * 8, static_cast<char>(below(256)));
    if (client % 3 != 0) {
      const uint16_t length = static_cast<uint16_t>(28 + payload.size());
      const uint16_t fragment = one_in(40) ? 0x2000 : one_in(40) ? 0x0040 : 0;
      return bytes_of(0x4500, 2) + bytes_of(length, 2) + bytes_of(client, 2) +
             bytes_of(fragment, 2) + bytes_of(0x40110000, 4) + ends + ports +
             bytes_of(length - 20u, 2) + bytes_of(0, 2) + payload;
    }
    constexpr uint8_t kFlags[] = {0x02, 0x12, 0x10, 0x18, 0x18, 0x18, 0x11, 0x04};
    return bytes_of(0x4500, 2) + bytes_of(40 + payload.size(), 2) + bytes_of(0, 4) +
           bytes_of(one_in(100) ? 0x40990000 : 0x40060000, 4) + ends + ports +
           bytes_of(1000 + 8 * below(20), 4) + bytes_of(1000 + 8 * below(20), 4) +
           bytes_of(0x50, 1) + bytes_of(kFlags[below(8)], 1) + bytes_of(0xffff, 2) +
           bytes_of(0, 4) + payload;
  }

  void add(const std::string& ip, uint32_t interface) {
    const std::string packet = bytes_of(0x0800, 2) + bytes_of(0, 2) + bytes_of(interface, 4) +
                               bytes_of(1, 2) + bytes_of(0, 2) + bytes_of(0, 8) + ip;
    bytes_ += host_word(static_cast<uint32_t>(now_ns_ / kNanosPerSecond)) +
              host_word(static_cast<uint32_t>(now_ns_ % kNanosPerSecond)) +
              host_word(static_cast<uint32_t>(packet.size())) +
              host_word(static_cast<uint32_t>(packet.size())) + packet;
  }

  std::mt19937 random_;
  uint32_t clients_;
  std::string bytes_;
  int64_t now_ns_ = kStart;
};

TEST(Threads, ChangeNothingInTheAnswers) {
  for (uint32_t seed = 1; seed <= 2; ++seed) {
    const test::ScratchFile scratch(RandomCapture(seed, seed % 2 == 0 ? 60 : 9000).packets(12'000));
    FileOptions file;
    file.path = scratch.path();
    FlowTableOptions table;
    EXPECT_EQ(test::differences_by_threads(file, table), "") << seed;
    file.interval_ns = 100 * kMs;
    file.max_rows_per_interval = 20;
    file.max_rows_at_end = 500;
    EXPECT_EQ(test::differences_by_threads(file, table), "") << seed << ", intervals";
    file.filter = "udp";
    table.count_payload = true;
    table.period_ns = 10 * kMs;
    EXPECT_EQ(test::differences_by_threads(file, table), "") << seed << ", a filter and a period";
    file.filter.clear();
    table.max_flows = 40;
    EXPECT_EQ(test::differences_by_threads(file, table), "") << seed << ", a full table";
    table.idle_timeout_ns = 2 * kNanosPerSecond;
    table.max_flows = 1'000'000;
    EXPECT_EQ(test::differences_by_threads(file, table), "") << seed << ", flows that expire";
  }
}

/// The random captures contain what the test above is meant to compare.
TEST(Threads, MeetAllThatAFileCanHold) {
  const test::ScratchFile scratch(RandomCapture(1, 9000).packets(12'000));
  FileOptions file;
  file.path = scratch.path();
  file.threads = 2;
  const test::WholeReading reading = test::read_whole(file);
  EXPECT_EQ(reading.error, "");
  EXPECT_GT(reading.flows.size(), 5000u);
  EXPECT_GT(reading.totals.packets, 11'000u);
  EXPECT_GT(reading.totals.duplicate_packets, 500u);
  EXPECT_GT(reading.totals.time_steps, 2u);
  EXPECT_GT(reading.totals.fragments_first, 50u);
  EXPECT_GT(reading.totals.requests, 500u);
  EXPECT_GT(reading.totals.tcp_handshakes + reading.totals.tcp_resets, 50u);
}

TEST(Threads, EndAfterAsManyPacketsAsAreAskedFor) {
  const test::ScratchFile scratch(RandomCapture(5, 300).packets(3000));
  FileOptions file;
  file.path = scratch.path();
  file.interval_ns = 100 * kMs;
  for (const uint64_t packets : {1, 511, 512, 513, 1024, 2500}) {
    file.max_packets = packets;
    EXPECT_EQ(test::differences_by_threads(file), "") << packets;
  }
}

TEST(Threads, BreakOffWhereTheFileDoes) {
  const std::string whole = RandomCapture(6, 300).packets(3000);
  std::mt19937 random(6);
  for (int round = 0; round < 12; ++round) {
    std::string bytes = whole;
    if (round == 0) {
      bytes.resize(24);  // not one packet
    } else if (round % 2 == 0) {
      bytes.resize(24 + random() % (bytes.size() - 24));
    } else {
      for (int i = 0; i < 30; ++i) {
        char& byte = bytes[24 + random() % (bytes.size() - 24)];
        byte = static_cast<char>(byte ^ 1 << random() % 8);
      }
    }
    const test::ScratchFile scratch(bytes);
    FileOptions file;
    file.path = scratch.path();
    EXPECT_EQ(test::differences_by_threads(file), "") << "round " << round;
  }
}

std::unique_ptr<FlowTracker> open_with_threads(const std::string& path) {
  FileOptions file;
  file.path = path;
  file.threads = 2;
  auto tracker = FlowTracker::open_file(file, {});
  EXPECT_TRUE(tracker.ok()) << tracker.error().message;
  return std::move(*tracker);
}

TEST(Threads, EndWhenTheyAreToldTo) {
  const test::ScratchFile scratch(RandomCapture(7, 300).packets(30'000));
  const IntervalSink sink = [](ClosedInterval&&) {};
  const auto tracker = open_with_threads(scratch.path());
  ASSERT_TRUE(tracker->step(sink).ok());
  tracker->request_stop(0);
  while (true) {
    const auto outcome = tracker->step(sink);
    ASSERT_TRUE(outcome.ok());
    if (*outcome == StepOutcome::kEnd) break;
  }
  EXPECT_GT(tracker->totals().packets, 0u);
  EXPECT_EQ(*tracker->step(sink), StepOutcome::kEnd) << "and stay at the end";

  const auto never_stepped = open_with_threads(scratch.path());
  const auto left = open_with_threads(scratch.path());
  ASSERT_TRUE(left->step(sink).ok());  // the rest is never read
}

/// A pipe that holds `packets` random packets, and stays open.
class OpenPipe {
 public:
  explicit OpenPipe(int packets) {
    const std::string bytes = RandomCapture(8, 30).packets(packets);
    EXPECT_EQ(pipe(ends_), 0);
    EXPECT_GE(fcntl(ends_[1], F_SETPIPE_SZ, 1 << 20), static_cast<int>(bytes.size()));
    EXPECT_EQ(write(ends_[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  ~OpenPipe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  std::string path() const { return "/dev/fd/" + std::to_string(ends_[0]); }

 private:
  int ends_[2];
};

TEST(Threads, AreToldToStopWhileTheyWaitForAPipe) {
  const OpenPipe open_pipe(50);
  const auto tracker = open_with_threads(open_pipe.path());
  std::thread stops([&] {
    usleep(20'000);
    tracker->request_stop(0);
  });
  const auto outcome = tracker->step([](ClosedInterval&&) {});
  stops.join();
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(*outcome, StepOutcome::kEnd);
}

TEST(Threads, AreLeftWhileTheyWaitForAPipe) {
  const OpenPipe open_pipe(5000);  // more than one read takes
  const auto tracker = open_with_threads(open_pipe.path());
  ASSERT_TRUE(tracker->step([](ClosedInterval&&) {}).ok());
  EXPECT_GT(tracker->link_type().size(), 0u);
}

}  // namespace
}  // namespace topspin
