// http: each client asks for one path once a period, over HTTP/1.1, on a connection that it keeps
// (or on a new one for each request).
//
// A client has one connection and one request at a time. A moment that comes while the one before
// is still unanswered waits for it, and keeps its intended time: that wait is in the intended
// latency, and not in the generator's own lateness. What still waits when the client leaves was
// never sent, and counts as blocked. In a closed loop the next moment is a period after the answer,
// or after the request was given up.
#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <vector>

#include <fmt/format.h>
#include <sys/socket.h>

#include "load/engine.h"
#include "load/http_response.h"
#include "load/tcp_socket.h"

namespace topspin {
namespace {

constexpr uint64_t kSpareDescriptors = 16;
constexpr size_t kBacklogMax = 10'000;  // moments that one client lets wait

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
    needs.descriptors = schedule.clients_max + kSpareDescriptors;
    TOPSPIN_TRY(check_needs(needs, engine.limits(), false));
    sources_.prepare(engine.target(),
                     options.http_keep_alive
                         ? schedule.sessions.size()
                         : count_planned(schedule, engine.rhythm(), schedule.end_ns),
                     usable_ports(engine.limits()));
    clients_.resize(schedule.sessions.size());
    return {};
  }

  void join(uint32_t) override {}

  void due(uint32_t session, int64_t intended_ns) override {
    Client& client = clients_[session];
    if (client.waiting.size() == kBacklogMax) {
      engine_->ledger().never_sent(client.waiting.front(), true);
      client.waiting.pop_front();
    }
    client.waiting.push_back(intended_ns);
    send_next(session);
  }

  void leave(uint32_t session) override {
    Client& client = clients_[session];
    client.leaving = true;
    for (const int64_t intended_ns : client.waiting) {
      engine_->ledger().never_sent(intended_ns, true);
    }
    client.waiting.clear();
    close_if_quiet(session);
  }

  void ready(uint64_t token, uint32_t) override {
    const auto session = static_cast<uint32_t>(token);
    Client& client = clients_[session];
    if (!client.fd) return;  // closed within this round
    if (!client.connected) {
      if (const int number = take_socket_error(client.fd.get()); number != 0) {
        fail(session, number);
        return;
      }
      client.connected = true;
      ++tcp_.connected;
      tcp_.syn_retries += syn_retries(client.fd.get());
      connect_latency_.record(
          static_cast<uint64_t>(std::max<int64_t>(0, engine_->now_ns() - client.actual_ns)));
    }
    if (client.busy && !say(client)) {
      fail(session, errno);
      return;
    }
    read_all(session);
  }

  void overdue(uint32_t session, uint64_t number) override {
    CHECK(clients_[session].busy && clients_[session].number == number);
    ++tcp_.timeouts;
    lose(session);
  }

  void report(LoadResult& result) override {
    result.has_plan = !engine_->options().closed_loop;  // how many it will be, the server decides
    result.tcp = tcp_;
    result.http = http_;
    result.connect_latency = connect_latency_;
    result.bytes_received = bytes_received_;
  }

 private:
  struct Client {
    UniqueFd fd;
    bool connected = false;
    bool busy = false;  // a request is on its way or unanswered
    bool leaving = false;
    bool closed = false;
    uint64_t number = 0;
    int64_t actual_ns = 0;
    int64_t free_ns = 0;  // when its last request ended
    size_t said = 0;      // bytes of the request
    HttpResponse response;
    std::deque<int64_t> waiting;  // moments that are due
  };

  void send_next(uint32_t session) {
    Client& client = clients_[session];
    while (!client.busy && !client.waiting.empty()) {
      const int64_t intended_ns = client.waiting.front();
      client.waiting.pop_front();
      client.actual_ns = engine_->now_ns();
      int remote_errno = 0;
      if (!client.fd) {
        TcpBeginning begun = begin_connect(engine_->target(), sources_.next());
        if (begun.local_errno == 0 && begun.remote_errno == 0) {
          begun.local_errno =
              engine_->watch(begun.fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, session);
        }
        if (begun.local_errno != 0) {
          engine_->count_error(begun.local_errno);
          engine_->ledger().send_failed(intended_ns);
          ask_again(session);
          continue;
        }
        remote_errno = begun.remote_errno;
        engine_->count_descriptors(1);
        client.fd = std::move(begun.fd);
        client.connected = false;
      }
      client.number =
          engine_->ledger().sent(session, intended_ns, client.actual_ns, client.free_ns);
      client.busy = true;
      client.said = 0;
      client.response.reset();
      if (remote_errno != 0) {
        count_failure(tcp_, remote_errno, false);
        end_request(session);
        close_connection(client);
      } else if (client.connected && !say(client)) {
        count_failure(tcp_, errno, false);
        end_request(session);
        close_connection(client);
      }
    }
  }

  /// Sends what is left of the request. False: errno says why it cannot.
  bool say(Client& client) {
    while (client.said < request_.size()) {
      const ssize_t sent = send(client.fd.get(), request_.data() + client.said,
                                request_.size() - client.said, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EAGAIN) return true;
        // A server may answer and close without reading: its answer is still to be read.
        if (errno != EPIPE && errno != ECONNRESET) return false;
        client.said = request_.size();
        return true;
      }
      client.said += static_cast<size_t>(sent);
    }
    return true;
  }

  void read_all(uint32_t session) {
    Client& client = clients_[session];
    while (client.fd) {
      const ssize_t got = recv(client.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0) {
        if (!client.busy) {
          close_connection(client);  // the server ended an idle connection
          return;
        }
        fail(session, errno);
        return;
      }
      if (got == 0) {
        ++tcp_.closed_by_peer;
        end_of_stream(session);
        return;
      }
      bytes_received_ += static_cast<uint64_t>(got);
      std::span<const uint8_t> bytes(buffer_.data(), static_cast<size_t>(got));
      if (client.busy) bytes = bytes.subspan(client.response.feed(bytes));
      if (client.busy && client.response.state() == HttpResponse::State::kMalformed) {
        ++tcp_.failed;
        lose(session);
        return;
      }
      const bool done = client.busy && client.response.state() == HttpResponse::State::kDone;
      // Bytes that nothing asked for: what follows on this connection cannot be told apart.
      const bool stray = !bytes.empty();
      if (stray) engine_->ledger().unexpected(engine_->now_ns());
      if (done) {
        const bool reuse =
            client.response.keep_alive() && engine_->options().http_keep_alive && !stray;
        answered(session);
        if (!reuse) close_connection(client);
        send_next(session);
        close_if_quiet(session);
        if (!reuse) return;  // a new connection has its own events
      } else if (stray) {
        close_connection(client);
        return;
      }
    }
  }

  void end_of_stream(uint32_t session) {
    Client& client = clients_[session];
    if (!client.busy) {
      close_connection(client);
      return;
    }
    client.response.end_of_stream();
    if (client.response.state() == HttpResponse::State::kDone) {
      answered(session);
      close_connection(client);
      send_next(session);
      close_if_quiet(session);
      return;
    }
    ++tcp_.truncated;
    lose(session);
  }

  void answered(uint32_t session) {
    Client& client = clients_[session];
    const int status = client.response.status();
    ++http_.statuses[status];
    http_.body_bytes += client.response.body_bytes();
    if (is_http_error(status)) engine_->ledger().error_answer(client.number);
    client.free_ns = engine_->now_ns();
    engine_->ledger().reply(session, client.number, client.actual_ns, client.free_ns);
    client.busy = false;
    ask_again(session);
  }

  void end_request(uint32_t session) {
    Client& client = clients_[session];
    engine_->ledger().lose(client.number);
    client.free_ns = engine_->now_ns();
    client.busy = false;
    ask_again(session);
  }

  void ask_again(uint32_t session) {
    const LoadOptions& options = engine_->options();
    if (options.closed_loop) engine_->add_due(session, engine_->now_ns() + options.period_ns);
  }

  void fail(uint32_t session, int number) {
    count_failure(tcp_, number, !clients_[session].response.empty());
    lose(session);
  }

  void lose(uint32_t session) {
    Client& client = clients_[session];
    end_request(session);
    close_connection(client);
    send_next(session);
    close_if_quiet(session);
  }

  void close_connection(Client& client) {
    client.fd.reset();
    client.connected = false;
    engine_->count_descriptors(-1);
  }

  void close_if_quiet(uint32_t session) {
    Client& client = clients_[session];
    if (!client.leaving || client.busy || client.closed) return;
    if (client.fd) close_connection(client);
    client.closed = true;
    engine_->session_closed();
  }

  Engine* engine_ = nullptr;
  SourceRotation sources_;
  std::string request_;
  std::vector<Client> clients_;  // by session
  std::array<uint8_t, 65536> buffer_;
  TcpAccounts tcp_;
  HttpAccounts http_;
  Histogram connect_latency_;
  uint64_t bytes_received_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_http() { return std::make_unique<Http>(); }

}  // namespace topspin
