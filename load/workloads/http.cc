// http: each client requests one path once per period, over HTTP/1.1, on a connection that it keeps
// (or on a new one for each request).
//
// A client has one connection and one request at a time. A request that becomes due while the
// previous one is unanswered waits, and keeps its intended time. That wait is in the intended
// latency, and not in the generator's own lateness. Requests that still wait when the client leaves
// were never sent, and count as blocked. In a closed loop the next request is due one period after
// the answer, or after the previous request was given up.
#include "load/http/http.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <vector>

#include <fmt/format.h>
#include <sys/socket.h>

#include "core/base/text.h"
#include "load/engine/engine.h"
#include "load/wire/tcp_socket.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

constexpr size_t kBacklogMax = 10'000;  // the most moments that wait for one client

class Http : public Workload {
 public:
  Status prepare(Engine& engine) override {
    engine_ = &engine;
    const LoadOptions& options = engine.options();
    const TargetParts& target = engine.target().parts;
    request_ =
        fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: topspin\r\n{}\r\n",
                    target.path.empty() ? options.http_path : target.path, target.host_header(),
                    options.http_keep_alive ? "" : "Connection: close\r\n");
    const Schedule& schedule = engine.schedule();
    LoadNeeds needs;
    needs.descriptors = engine.clients_most() + kSpareDescriptors;
    TOPSPIN_TRY(check_needs(needs, engine.limits(), false));
    sources_.prepare(engine.target(),
                     options.http_keep_alive
                         ? std::max<size_t>(schedule.stays.size(), engine.clients_most())
                         : engine.due_most(),
                     usable_ports(engine.limits()));
    clients_.resize(schedule.stays.size());
    return {};
  }

  void join(uint32_t) override {}

  void due(uint32_t stay, int64_t intended_ns) override {
    Client& client = clients_[stay];
    if (client.waiting.size() == kBacklogMax) {
      engine_->ledger().never_sent(client.waiting.front(), true);
      client.waiting.pop_front();
    }
    client.waiting.push_back(intended_ns);
    send_next(stay);
  }

  void leave(uint32_t stay) override {
    Client& client = clients_[stay];
    client.leaving = true;
    for (const int64_t intended_ns : client.waiting) {
      engine_->ledger().never_sent(intended_ns, true);
    }
    client.waiting.clear();
    close_if_quiet(stay);
  }

  void ready(uint64_t token, uint32_t) override {
    const auto stay = static_cast<uint32_t>(token);
    Client& client = clients_[stay];
    if (!client.fd) return;  // it was closed in this round
    if (!client.connected) {
      if (const int number = take_socket_error(client.fd.get()); number != 0) {
        fail(stay, number);
        return;
      }
      client.connected = true;
      ++tcp_.connected;
      tcp_.syn_retries += syn_retries(client.fd.get());
      connect_latency_.record(
          static_cast<uint64_t>(std::max<int64_t>(0, engine_->now_ns() - client.actual_ns)));
    }
    if (client.busy && !say(client)) {
      fail(stay, errno);
      return;
    }
    read_all(stay);
  }

  void overdue(uint32_t stay, uint64_t number) override {
    CHECK(clients_[stay].busy && clients_[stay].number == number);
    ++tcp_.timeouts;
    lose(stay);
  }

  void report(LoadResult& result) override {
    result.has_plan = !engine_->options().closed_loop;  // there the server's speed decides
    result.tcp = tcp_;
    result.http = http_;
    result.connect_latency = connect_latency_;
    result.bytes_received = bytes_received_;
  }

  void stays_added() override { clients_.resize(engine_->schedule().stays.size()); }

 private:
  struct Client {
    UniqueFd fd;
    bool connected = false;
    bool busy = false;  // a request is being sent or is unanswered
    bool leaving = false;
    bool closed = false;
    uint64_t number = 0;
    int64_t actual_ns = 0;
    int64_t free_ns = 0;  // when its last request ended
    size_t said = 0;      // bytes of the request that were sent
    HttpResponse response;
    std::deque<int64_t> waiting;  // moments that are due
  };

  void send_next(uint32_t stay) {
    Client& client = clients_[stay];
    while (!client.busy && !client.waiting.empty()) {
      const int64_t intended_ns = client.waiting.front();
      client.waiting.pop_front();
      client.actual_ns = engine_->now_ns();
      int remote_errno = 0;
      if (!client.fd) {
        TcpBeginning begun = begin_connect(engine_->target(), sources_.next());
        if (begun.local_errno == 0 && begun.remote_errno == 0) {
          begun.local_errno =
              engine_->watch(begun.fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, stay);
        }
        if (begun.local_errno != 0) {
          engine_->count_error(begun.local_errno);
          engine_->ledger().send_failed(intended_ns);
          ask_again(stay);
          continue;
        }
        remote_errno = begun.remote_errno;
        engine_->count_descriptors(1);
        client.fd = std::move(begun.fd);
        client.connected = false;
      }
      client.number = engine_->ledger().sent(stay, intended_ns, client.actual_ns, client.free_ns);
      client.busy = true;
      client.said = 0;
      client.response.reset();
      if (remote_errno != 0) {
        count_failure(tcp_, remote_errno, false);
        end_request(stay);
        close_connection(client);
      } else if (client.connected && !say(client)) {
        count_failure(tcp_, errno, false);
        end_request(stay);
        close_connection(client);
      }
    }
  }

  /// Sends the rest of the request. False if that fails; errno has the reason.
  bool say(Client& client) {
    while (client.said < request_.size()) {
      const ssize_t sent = send(client.fd.get(), request_.data() + client.said,
                                request_.size() - client.said, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EAGAIN) return true;
        // A server may answer and close without reading. Its answer must still be read.
        if (errno != EPIPE && errno != ECONNRESET) return false;
        client.said = request_.size();
        return true;
      }
      client.said += static_cast<size_t>(sent);
    }
    return true;
  }

  void read_all(uint32_t stay) {
    Client& client = clients_[stay];
    while (client.fd) {
      const ssize_t got = recv(client.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0) {
        if (!client.busy) {
          close_connection(client);  // the server ended an idle connection
          return;
        }
        fail(stay, errno);
        return;
      }
      if (got == 0) {
        ++tcp_.closed_by_peer;
        end_of_stream(stay);
        return;
      }
      bytes_received_ += static_cast<uint64_t>(got);
      std::span<const uint8_t> bytes(buffer_.data(), static_cast<size_t>(got));
      if (client.busy) bytes = bytes.subspan(client.response.feed(bytes));
      if (client.busy && client.response.state() == HttpResponse::State::kMalformed) {
        ++tcp_.failed;
        if (http_.malformed++ == 0)
          http_.malformed_head = sanitize_for_terminal(client.response.head());
        lose(stay);
        return;
      }
      const bool done = client.busy && client.response.state() == HttpResponse::State::kDone;
      // These bytes answer no request, so later answers on this connection could not be recognised.
      const bool stray = !bytes.empty();
      if (stray) engine_->ledger().unexpected(engine_->now_ns());
      if (done) {
        const bool reuse =
            client.response.keep_alive() && engine_->options().http_keep_alive && !stray;
        answered(stay);
        if (!reuse) close_connection(client);
        send_next(stay);
        close_if_quiet(stay);
        if (!reuse) return;  // a new connection has its own events
      } else if (stray) {
        close_connection(client);
        return;
      }
    }
  }

  void end_of_stream(uint32_t stay) {
    Client& client = clients_[stay];
    if (!client.busy) {
      close_connection(client);
      return;
    }
    client.response.end_of_stream();
    if (client.response.state() == HttpResponse::State::kDone) {
      answered(stay);
      close_connection(client);
      send_next(stay);
      close_if_quiet(stay);
      return;
    }
    ++tcp_.truncated;
    lose(stay);
  }

  void answered(uint32_t stay) {
    Client& client = clients_[stay];
    const int status = client.response.status();
    ++http_.statuses[status];
    http_.body_bytes += client.response.body_bytes();
    if (is_http_error(status)) engine_->ledger().error_answer(client.number);
    client.free_ns = engine_->now_ns();
    engine_->ledger().reply(stay, client.number, client.actual_ns, client.free_ns);
    client.busy = false;
    ask_again(stay);
  }

  void end_request(uint32_t stay) {
    Client& client = clients_[stay];
    engine_->ledger().lose(client.number);
    client.free_ns = engine_->now_ns();
    client.busy = false;
    ask_again(stay);
  }

  void ask_again(uint32_t stay) {
    const LoadOptions& options = engine_->options();
    if (options.closed_loop) engine_->add_due(stay, engine_->now_ns() + options.period_ns);
  }

  void fail(uint32_t stay, int number) {
    count_failure(tcp_, number, !clients_[stay].response.empty());
    lose(stay);
  }

  void lose(uint32_t stay) {
    Client& client = clients_[stay];
    end_request(stay);
    close_connection(client);
    send_next(stay);
    close_if_quiet(stay);
  }

  void close_connection(Client& client) {
    client.fd.reset();
    client.connected = false;
    engine_->count_descriptors(-1);
  }

  void close_if_quiet(uint32_t stay) {
    Client& client = clients_[stay];
    if (!client.leaving || client.busy || client.closed) return;
    if (client.fd) close_connection(client);
    client.closed = true;
    engine_->stay_closed();
  }

  Engine* engine_ = nullptr;
  SourceRotation sources_;
  std::string request_;
  std::vector<Client> clients_;  // by stay
  std::array<uint8_t, 65536> buffer_;
  TcpAccounts tcp_;
  HttpAccounts http_;
  Histogram connect_latency_;
  uint64_t bytes_received_ = 0;
};

/// The path is given in the target or as an option, not in both.
Status check_path(const LoadOptions& options, const TargetParts& target) {
  if (!target.path.empty() && options.http_path != "/" && options.http_path != target.path) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("the target has the path {} and --path is {}; give one of them",
                                  target.path, options.http_path));
  }
  const auto visible = [](char c) { return c > ' ' && c < 0x7F; };
  const std::string& path = target.path.empty() ? options.http_path : target.path;
  if (!path.starts_with('/') || !std::all_of(path.begin(), path.end(), visible)) {
    return make_error(ErrorCode::kUsage,
                      "the path must begin with / and have no spaces or control characters");
  }
  return {};
}

}  // namespace

WorkloadType http_workload() {
  WorkloadType type;
  type.kind = WorkloadKind::kHttp;
  type.help = "HTTP/1.1: each client sends one GET per period";
  type.examples =
      "  topspin load http --target 127.0.0.1:8080 --clients 500 --period 100ms\n"
      "  topspin load http --target http://127.0.0.1:8080/health --connection close";
  type.takes_url = true;
  type.options = options_of(
      schedule_options(),
      {period_option(), grid_option(),
       of_schedule(flag_option(
           "closed",
           "Closed loop: send, wait for the reply, sleep for a period (1us or more), repeat",
           &LoadOptions::closed_loop)),
       text_option("path", "The path to request", &LoadOptions::http_path, "/"),
       choice_option<bool>("connection", "keep-alive, or close: a new connection for each request",
                           &LoadOptions::http_keep_alive,
                           {{"keep-alive", true}, {"close", false}})});
  type.check_target = check_path;
  type.can_be_shared = true;
  type.keeps_flows = [](const LoadOptions& options) { return options.http_keep_alive; };
  type.run = [](const LoadOptions& options, const Target& target, const std::atomic<bool>& stop,
                const LoadProgressSink& progress) {
    Http workload;
    EngineSettings settings;
    return run_clients(workload, options, target, settings, stop, progress);
  };
  return type;
}

}  // namespace topspin
