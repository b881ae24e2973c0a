// tcp-connect: each client connects once per period, sends its request if there is one, reads until
// the server closes, and closes. It is an open loop: a connection that takes longer than the period
// does not delay the next one.
//
// The server's FIN is the reply. With --expect-bytes, a FIN before that many bytes is a truncation.
#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_map>
#include <vector>

#include <sys/socket.h>

#include "load/engine/engine.h"
#include "load/wire/tcp_socket.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

constexpr uint32_t kTcpEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr int kReadsPerRound = 16;  // of one connection, before others have their turn

class TcpConnect : public Workload {
 public:
  Status prepare(Engine& engine) override {
    engine_ = &engine;
    const Schedule& schedule = engine.schedule();
    LoadNeeds needs;
    needs.descriptors = engine.clients_most() + kSpareDescriptors;
    TOPSPIN_TRY(check_needs(needs, engine.limits(), false));
    sources_.prepare(engine.target(), engine.due_most(), usable_ports(engine.limits()));
    clients_.resize(schedule.stays.size());
    return {};
  }

  void join(uint32_t) override {}

  void due(uint32_t stay, int64_t intended_ns) override {
    const int64_t actual_ns = engine_->now_ns();
    TcpBeginning begun = begin_connect(engine_->target(), sources_.next());
    const uint32_t index = take_index();
    if (begun.local_errno == 0 && begun.remote_errno == 0) {
      begun.local_errno = engine_->watch(begun.fd.get(), kTcpEvents, token_of(index));
    }
    if (begun.local_errno != 0) {
      engine_->count_error(begun.local_errno);
      engine_->ledger().send_failed(intended_ns);
      free_.push_back(index);
      return;
    }
    engine_->count_descriptors(1);
    Connection& connection = connections_[index];
    connection.fd = std::move(begun.fd);
    connection.stay = stay;
    connection.actual_ns = actual_ns;
    connection.number = engine_->ledger().sent(stay, intended_ns, actual_ns);
    by_number_[connection.number] = index;
    ++clients_[stay].open;
    if (begun.remote_errno != 0) fail(index, begun.remote_errno);
  }

  void leave(uint32_t stay) override {
    clients_[stay].leaving = true;
    close_if_quiet(stay);
  }

  void ready(uint64_t token, uint32_t) override {
    const auto index = static_cast<uint32_t>(token);
    Connection& connection = connections_[index];
    // The event may be of a connection that was closed in this round.
    if (!connection.fd || token_of(index) != token) return;
    if (!connection.connected) {
      if (const int number = take_socket_error(connection.fd.get()); number != 0) {
        fail(index, number);
        return;
      }
      connection.connected = true;
      ++tcp_.connected;
      tcp_.syn_retries += syn_retries(connection.fd.get());
      connect_latency_.record(
          static_cast<uint64_t>(std::max<int64_t>(0, engine_->now_ns() - connection.actual_ns)));
    }
    if (!say(connection)) {
      fail(index, errno);
      return;
    }
    read_all(index);
  }

  void overdue(uint32_t, uint64_t number) override {
    const auto found = by_number_.find(number);
    CHECK(found != by_number_.end());
    ++tcp_.timeouts;
    lose(found->second);
  }

  void report(LoadResult& result) override {
    result.tcp = tcp_;
    result.connect_latency = connect_latency_;
    result.bytes_received = bytes_received_;
  }

  void stays_added() override { clients_.resize(engine_->schedule().stays.size()); }

 private:
  struct Connection {
    UniqueFd fd;
    uint32_t stay = 0;
    uint32_t generation = 0;
    uint64_t number = 0;
    int64_t actual_ns = 0;
    uint64_t received = 0;
    size_t said = 0;
    bool connected = false;
  };
  struct Client {
    uint32_t open = 0;
    bool leaving = false;
    bool closed = false;
  };

  uint64_t token_of(uint32_t index) const {
    return uint64_t{connections_[index].generation & 0x7FFFFFFF} << 32 | index;
  }

  uint32_t take_index() {
    if (free_.empty()) {
      connections_.emplace_back();
      return static_cast<uint32_t>(connections_.size() - 1);
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    const uint32_t generation = connections_[index].generation + 1;
    connections_[index] = {};
    connections_[index].generation = generation;
    return index;
  }

  /// Sends the rest of the request. False if that fails; errno has the reason.
  bool say(Connection& connection) {
    const std::string& request = engine_->options().request;
    while (connection.said < request.size()) {
      const ssize_t sent = send(connection.fd.get(), request.data() + connection.said,
                                request.size() - connection.said, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EAGAIN) return true;
        // The server closed without reading, but its answer may have arrived nevertheless.
        if (errno != EPIPE && errno != ECONNRESET) return false;
        connection.said = request.size();
        return true;
      }
      connection.said += static_cast<size_t>(sent);
    }
    return true;
  }

  void read_all(uint32_t index) {
    Connection& connection = connections_[index];
    for (int reads = 0;; ++reads) {
      // The server may send faster than this thread reads. Others have their turn.
      if (reads == kReadsPerRound) {
        engine_->watch_again(connection.fd.get(), kTcpEvents, token_of(index));
        return;
      }
      const ssize_t got = recv(connection.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got > 0) {
        connection.received += static_cast<uint64_t>(got);
        bytes_received_ += static_cast<uint64_t>(got);
        continue;
      }
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0) {
        fail(index, errno);
        return;
      }
      ++tcp_.closed_by_peer;
      if (connection.received < engine_->options().expect_bytes.value_or(0)) {
        ++tcp_.truncated;
        lose(index);
        return;
      }
      engine_->ledger().reply(connection.stay, connection.number, connection.actual_ns,
                              engine_->now_ns());
      close(index);
      return;
    }
  }

  void fail(uint32_t index, int number) {
    count_failure(tcp_, number, connections_[index].received > 0);
    lose(index);
  }

  void lose(uint32_t index) {
    engine_->ledger().lose(connections_[index].number);
    close(index);
  }

  void close(uint32_t index) {
    Connection& connection = connections_[index];
    connection.fd.reset();
    engine_->count_descriptors(-1);
    by_number_.erase(connection.number);
    free_.push_back(index);
    --clients_[connection.stay].open;
    close_if_quiet(connection.stay);
  }

  void close_if_quiet(uint32_t stay) {
    Client& client = clients_[stay];
    if (!client.leaving || client.open > 0 || client.closed) return;
    client.closed = true;
    engine_->stay_closed();
  }

  Engine* engine_ = nullptr;
  SourceRotation sources_;
  std::vector<Client> clients_;  // by stay
  std::vector<Connection> connections_;
  std::vector<uint32_t> free_;  // indices of connections_
  std::unordered_map<uint64_t, uint32_t> by_number_;
  std::array<uint8_t, 65536> buffer_;
  TcpAccounts tcp_;
  Histogram connect_latency_;
  uint64_t bytes_received_ = 0;
};

}  // namespace

WorkloadType tcp_connect_workload() {
  WorkloadType type;
  type.kind = WorkloadKind::kTcpConnect;
  type.help =
      "Each client connects, sends a request, and reads until the server closes, once per period";
  type.examples = "  topspin load tcp-connect --target 127.0.0.1:8080 --clients 50 --period 1s";
  type.options =
      options_of(options_of(schedule_options(), find_options()),
                 {period_option(), grid_option(), threads_option(),
                  text_option("request", "What to send once connected (default: nothing)",
                              &LoadOptions::request),
                  number_option("expect-bytes", "An answer shorter than this is truncated", 0,
                                uint64_t{1} << 40, &LoadOptions::expect_bytes)});
  type.can_be_shared = true;
  type.per_thread_s = 10'000;
  type.run = [](const LoadOptions& options, const Target& target, const std::atomic<bool>& stop,
                const LoadProgressSink& progress) {
    TcpConnect workload;
    EngineSettings settings;
    return run_clients(workload, options, target, settings, stop, progress);
  };
  return type;
}

}  // namespace topspin
