// For tests of the flight recorder: a server that stalls, clients that count, and the recorder in a
// network of its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "core/base/unique_fd.h"
#include "store/run_store.h"
#include "tests/support/own_network.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {

inline std::string slurp(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A server that echoes, and stalls once.
class StallingServer {
 public:
  StallingServer(int after_ms, int stall_ms)
      : process_({std::string(TOPSPIN_BINARY_DIR) + "/tests/app/stalling_server",
                  std::to_string(after_ms), std::to_string(stall_ms)}) {
    if (!process_.wait_for("port ") || !process_.wait_for("\n")) return;
    const std::string text = output();
    port_ = std::stoi(text.substr(text.find("port ") + 5));
  }
  int port() const { return port_; }
  pid_t pid() const { return process_.pid(); }
  Process& process() { return process_; }
  /// The beginning and end of the stall, on the monotonic clock. Ends the server.
  std::pair<int64_t, int64_t> stall() {
    process_.wait_for("stalled ");
    process_.wait_for("\n");
    process_.send(SIGKILL);
    const std::string out = process_.finish().out;
    long long begin = 0, end = 0;
    const size_t at = out.find("stalled ");
    if (at == std::string::npos ||
        std::sscanf(out.c_str() + at, "stalled %lld %lld", &begin, &end) != 2)
      return {};
    return {begin, end};
  }

 private:
  std::string output() { return process_.output_so_far(); }
  Process process_;
  int port_ = 0;
};

/// Clients that each send one datagram every 20 ms and take what comes back.
class Pinger {
 public:
  Pinger(int port, int clients) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    for (int i = 0; i < clients; ++i) {
      clients_.emplace_back(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      EXPECT_EQ(
          ::connect(clients_.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
          0);
    }
    thread_ = std::thread([this] { run(); });
  }
  ~Pinger() { stop(); }
  void stop() {
    ending_ = true;
    if (thread_.joinable()) thread_.join();
  }
  /// Pauses, or goes on.
  void pause(bool paused) { paused_ = paused; }
  uint64_t sent() const { return sent_; }
  uint64_t received() const { return received_; }

 private:
  void run() {
    while (!ending_) {
      for (const UniqueFd& client : clients_) {
        char data[8];
        while (::recv(client.get(), data, sizeof data, 0) > 0) ++received_;
        if (!paused_ && ::send(client.get(), "ping", 4, 0) == 4) ++sent_;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    for (const UniqueFd& client : clients_) {
      char data[8];
      while (::recv(client.get(), data, sizeof data, 0) > 0) ++received_;
    }
  }
  std::vector<UniqueFd> clients_;
  std::atomic<bool> ending_ = false, paused_ = false;
  std::atomic<uint64_t> sent_ = 0, received_ = 0;
  std::thread thread_;
};

class Watch : public testing::Test {
 protected:
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (!OwnNetwork::why_not().empty()) GTEST_SKIP() << OwnNetwork::why_not();
  }
  std::string db() const { return dir_.file("w.db"); }
  std::vector<std::string> watch(std::vector<std::string> more) const {
    std::vector<std::string> words = {topspin_binary(), "watch", "-i", "lo", "--db", db()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<StoredRun> runs() const {
    auto store = RunStore::open(db());
    if (!store.ok()) {
      ADD_FAILURE() << store.error().message;
      return {};
    }
    auto runs = (*store)->list_runs();
    if (!runs.ok()) {
      ADD_FAILURE() << runs.error().message;
      return {};
    }
    return *runs;
  }
  size_t incidents() const {
    const auto all = runs();
    return static_cast<size_t>(std::count_if(all.begin(), all.end(), [](const StoredRun& run) {
      return run.end.status == RunStatus::kIncident;
    }));
  }
  TempDir dir_;
};

}  // namespace topspin::test
