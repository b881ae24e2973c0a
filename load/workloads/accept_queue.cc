// accept-queue: each client connects when it joins, sends nothing, and closes when it leaves. With
// more clients than the server's backlog this shows what happens to the rest: retransmitted SYNs,
// refusals, timeouts, and the kernel's ListenOverflows.
//
// The established connection counts as the reply. A client's connection can be established although
// the server never created it: compare `connected` with kernel.tcp_passive_opens.
#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include <sys/socket.h>

#include "load/engine/engine.h"
#include "load/wire/tcp_socket.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

class AcceptQueue : public Workload {
 public:
  Status prepare(Engine& engine) override {
    engine_ = &engine;
    const Schedule& schedule = engine.schedule();
    LoadNeeds needs;
    needs.descriptors = schedule.clients_max + kSpareDescriptors;
    TOPSPIN_TRY(check_needs(needs, engine.limits(), false));
    sources_.prepare(engine.target(), schedule.stays.size(), usable_ports(engine.limits()));
    clients_.resize(schedule.stays.size());
    return {};
  }

  void join(uint32_t stay) override {
    Client& client = clients_[stay];
    const int64_t intended_ns = engine_->stay(stay).join_ns;
    client.actual_ns = engine_->now_ns();
    TcpBeginning begun = begin_connect(engine_->target(), sources_.next());
    if (begun.local_errno == 0 && begun.remote_errno == 0) {
      begun.local_errno =
          engine_->watch(begun.fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, stay);
    }
    if (begun.local_errno != 0) {
      engine_->count_error(begun.local_errno);
      engine_->ledger().send_failed(intended_ns);
      return;
    }
    engine_->count_descriptors(1);
    client.fd = std::move(begun.fd);
    client.connecting = true;
    client.number = engine_->ledger().sent(stay, intended_ns, client.actual_ns);
    if (begun.remote_errno != 0) fail(stay, begun.remote_errno);
  }

  void due(uint32_t, int64_t) override { CHECK(false); }  // without a period nothing is due

  void leave(uint32_t stay) override {
    clients_[stay].leaving = true;
    close_if_quiet(stay);
  }

  void ready(uint64_t token, uint32_t) override {
    const auto stay = static_cast<uint32_t>(token);
    Client& client = clients_[stay];
    if (!client.fd) return;  // it was closed in this round
    if (client.connecting) {
      if (const int number = take_socket_error(client.fd.get()); number != 0) {
        fail(stay, number);
        return;
      }
      const int64_t now_ns = engine_->now_ns();
      client.connecting = false;
      ++tcp_.connected;
      tcp_.syn_retries += syn_retries(client.fd.get());
      connect_latency_.record(
          static_cast<uint64_t>(std::max<int64_t>(0, now_ns - client.actual_ns)));
      engine_->ledger().reply(stay, client.number, client.actual_ns, now_ns);
    }
    while (true) {
      const ssize_t got = recv(client.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got > 0) {
        bytes_received_ += static_cast<uint64_t>(got);
        continue;
      }
      if (got < 0 && errno == EAGAIN) break;
      ++tcp_.closed_by_peer;  // by FIN or RST; it was established, so nothing is lost
      close(client);
      break;
    }
    close_if_quiet(stay);
  }

  void overdue(uint32_t stay, uint64_t number) override {
    CHECK(clients_[stay].number == number);
    ++tcp_.timeouts;
    lose(stay);
  }

  void report(LoadResult& result) override {
    result.tcp = tcp_;
    result.connect_latency = connect_latency_;
    result.bytes_received = bytes_received_;
  }

 private:
  struct Client {
    UniqueFd fd;
    uint64_t number = 0;
    int64_t actual_ns = 0;
    bool connecting = false;
    bool leaving = false;
    bool closed = false;
  };

  void fail(uint32_t stay, int number) {
    count_failure(tcp_, number, false);
    lose(stay);
  }

  void lose(uint32_t stay) {
    engine_->ledger().lose(clients_[stay].number);
    close(clients_[stay]);
    close_if_quiet(stay);
  }

  void close(Client& client) {
    client.connecting = false;
    client.fd.reset();
    engine_->count_descriptors(-1);
  }

  void close_if_quiet(uint32_t stay) {
    Client& client = clients_[stay];
    if (!client.leaving || client.connecting || client.closed) return;
    if (client.fd) close(client);
    client.closed = true;
    engine_->stay_closed();
  }

  Engine* engine_ = nullptr;
  SourceRotation sources_;
  std::vector<Client> clients_;  // by stay
  std::array<uint8_t, 16384> buffer_;
  TcpAccounts tcp_;
  Histogram connect_latency_;
  uint64_t bytes_received_ = 0;
};

}  // namespace

WorkloadType accept_queue_workload() {
  WorkloadType type;
  type.kind = WorkloadKind::kAcceptQueue;
  type.help = "Each client connects, sends nothing, and closes when it leaves";
  type.examples = "  topspin load accept-queue --target 127.0.0.1:8080 --clients 200 --hold 5s";
  type.options = schedule_options();
  type.run = [](const LoadOptions& options, const Target& target, const std::atomic<bool>& stop,
                const LoadProgressSink& progress) {
    AcceptQueue workload;
    EngineSettings settings;
    settings.due_once = true;
    return run_clients(workload, options, target, settings, stop, progress);
  };
  return type;
}

}  // namespace topspin
