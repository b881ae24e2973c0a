// http: each client sends a request once per period, over HTTP/1.1 or HTTP/2, plain or inside TLS,
// on a connection that it keeps (or on a new one for each request, or for some number of them).
//
// A client has one connection. Over HTTP/1.1 it has one request at a time, over HTTP/2 as many as
// --streams says. A request that becomes due while the client is busy waits, and keeps its intended
// time. That wait is in the intended latency, and not in the generator's own lateness. Requests
// that still wait when the client leaves were never sent, and count as blocked. In a closed loop
// the next request is due one period after the answer, or after the previous request was given up.
//
// An answer that is not what the options expect is an error of the server: it is replied, and one
// of http_errors.
#include "load/http/http.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/read_file.h"
#include "core/base/text.h"
#include "core/number/csv.h"
#include "load/engine/engine.h"
#include "load/wire/tcp_socket.h"
#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

constexpr size_t kBacklogMax = 10'000;  // the most moments that wait for one client
constexpr size_t kMaxBodyBytes = size_t{16} << 20;
constexpr uint32_t kMaxStreams = 1000;
constexpr uint32_t kMaxAgain = 3;  // times that a request is sent again

/// The request of the options, with {column} where a row of data belongs.
Result<HttpRequest> request_of(const HttpLoadOptions& http, const TargetParts& target) {
  HttpRequest request;
  request.path = target.path.empty() ? http.path : target.path;
  const bool has_body = !http.body.empty() || !http.body_file.empty();
  request.method = !http.method.empty() ? http.method : has_body ? "POST" : "GET";
  for (const std::string& text : http.headers) {
    TOPSPIN_ASSIGN(request.headers.emplace_back(), parse_header(text));
  }
  request.body = http.body;
  return request;
}

class Http : public Workload {
 public:
  /// Reads what the options say. REQUIRES: read_load_files() was called.
  Status open(const LoadOptions& options, const Target& target) {
    const HttpLoadOptions& http = options.http;
    TOPSPIN_ASSIGN(const HttpRequest request, request_of(http, target.parts));
    rows_ = http.data.get();
    TOPSPIN_ASSIGN(
        recipe_,
        HttpRecipe::make(request, rows_ != nullptr ? rows_->columns : std::vector<std::string>()));
    TOPSPIN_ASSIGN(checks_, HttpChecks::make(http.expect_status, http.checks));
    for (const std::string& name : checks_.names()) http_.checks[name] = 0;
    host_ = target.parts.host_header();
    is_fixed_ = recipe_.is_fixed() && !http.cookies;
    if (recipe_.is_fixed()) fixed_ = prepare_request(recipe_.fill({}), host_);
    server_.http2 = http.http2;
    server_.streams = http.streams;
    server_.keep = checks_.keep();
    server_.keep.headers = server_.keep.headers || http.cookies;
    if (target.parts.is_tls) {
      TlsSettings tls;
      tls.verifies = !http.insecure;
      tls.ca_file = http.ca_file;
      tls.resumes = http.resumption;
      tls.wants_http2 = http.http2;
      TOPSPIN_ASSIGN(server_.tls, TlsContext::make(tls, target.parts.host));
      tls_.emplace();
    }
    return {};
  }

  Status prepare(Engine& engine) override {
    engine_ = &engine;
    server_.target = &engine.target();
    const Schedule& schedule = engine.schedule();
    LoadNeeds needs;
    needs.descriptors = engine.clients_most() + kSpareDescriptors;
    TOPSPIN_TRY(check_needs(needs, engine.limits(), false));
    sources_.prepare(engine.target(),
                     options().requests_per_connection == 0
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
    turn(stay);
  }

  void leave(uint32_t stay) override {
    Client& client = clients_[stay];
    client.leaving = true;
    for (const int64_t intended_ns : client.waiting) {
      engine_->ledger().never_sent(intended_ns, true);
    }
    client.waiting.clear();
    turn(stay);
  }

  void ready(uint64_t token, uint32_t events) override {
    const auto stay = static_cast<uint32_t>(token);
    Client& client = clients_[stay];
    if (!client.connection) return;  // it was closed in this round
    client.connection->ready(events);
    if (client.connection->has_unread())
      engine_->watch_again(client.connection->fd(), HttpConnection::kEvents, token);
    turn(stay);
  }

  void overdue(uint32_t stay, uint64_t number) override {
    Client& client = clients_[stay];
    ++tcp_.timeouts;
    const bool was_open = end(stay, number);
    if (was_open && client.connection && !client.connection->cancel(number)) {
      drain(stay);
      close_connection(client);
    }
    turn(stay);
  }

  void report(LoadResult& result) override {
    result.has_plan = !engine_->options().closed_loop;  // there the server's speed decides
    result.tcp = tcp_;
    result.http = http_;
    result.tls = tls_;
    result.connect_latency = connect_latency_;
    result.bytes_received = bytes_received_;
  }

  void stays_added() override { clients_.resize(engine_->schedule().stays.size()); }

 private:
  struct Exchange {
    uint64_t number = 0;  // of the ledger
    int64_t actual_ns = 0;
    uint32_t again = 0;                        // how often it was sent again
    std::unique_ptr<PreparedHttpRequest> own;  // null: fixed_
  };
  struct Client {
    std::unique_ptr<TlsSession> session;  // outlives the connection
    std::unique_ptr<HttpConnection> connection;
    std::vector<Exchange> open;      // being sent, or unanswered
    std::vector<Exchange> again;     // to be sent again
    std::deque<int64_t> waiting;     // moments that are due
    int64_t free_ns = 0;             // when a request of it last ended
    int64_t began_monotonic_ns = 0;  // its connection, or TLS's handshake
    uint32_t begun = 0;              // requests on this connection
    bool leaving = false;
    bool closed = false;
    std::unique_ptr<CookieJar> cookies;
  };

  const HttpLoadOptions& options() const { return engine_->options().http; }

  /// Does all that a client can do now.
  void turn(uint32_t stay) {
    Client& client = clients_[stay];
    do {
      drain(stay);
    } while (send_one(stay));
    if (!client.leaving || client.closed || !client.open.empty() || !client.again.empty()) return;
    if (client.connection) close_connection(client);
    client.closed = true;
    engine_->stay_closed();
  }

  bool is_full(const Client& client) const {
    const uint32_t most = options().requests_per_connection;
    return client.connection->is_over() || (most > 0 && client.begun >= most);
  }

  /// Begins a request that waits, or fails to. False: there is none, or the client is busy.
  bool send_one(uint32_t stay) {
    Client& client = clients_[stay];
    if (client.connection && is_full(client)) {
      if (!client.open.empty()) return false;
      close_connection(client);
    }
    if (client.waiting.empty() && client.again.empty()) return false;
    int remote_errno = 0;
    if (!client.connection) {
      const int local_errno = open_connection(stay, remote_errno);
      if (local_errno != 0) {
        engine_->count_error(local_errno);
        if (!client.again.empty()) {
          ++tcp_.failed;
          http_.count_failure("no new connection to send it again");
          end(stay, client.again.front().number);
        } else {
          engine_->ledger().send_failed(client.waiting.front());
          client.waiting.pop_front();
          ask_again(stay);
        }
        return true;
      }
    }
    if (client.connection && !client.connection->can_begin()) return false;
    Exchange exchange;
    if (!client.again.empty()) {
      exchange = std::move(client.again.front());
      client.again.erase(client.again.begin());
    } else {
      const int64_t intended_ns = client.waiting.front();
      client.waiting.pop_front();
      exchange.actual_ns = engine_->now_ns();
      exchange.number =
          engine_->ledger().sent(stay, intended_ns, exchange.actual_ns, client.free_ns);
      if (!is_fixed_) exchange.own = make_request(client);
    }
    Exchange& begun = client.open.emplace_back(std::move(exchange));
    if (remote_errno != 0) {
      count_failure(tcp_, remote_errno, false);
      end(stay, begun.number);
      return true;
    }
    ++client.begun;
    client.connection->begin(begun.number, begun.own ? *begun.own : fixed_,
                             client.begun == options().requests_per_connection);
    return true;
  }

  /// Returns errno of this host, or 0. `remote_errno`: the server refused at once.
  int open_connection(uint32_t stay, int& remote_errno) {
    Client& client = clients_[stay];
    if (server_.tls && options().resumption && !client.session)
      client.session = std::make_unique<TlsSession>();
    client.began_monotonic_ns = monotonic_now_ns();
    client.begun = 0;
    auto opening = HttpConnection::open(server_, sources_.next(), client.session.get());
    remote_errno = opening.remote_errno;
    if (!opening.connection) return opening.local_errno;
    if (const int number = engine_->watch(opening.connection->fd(), HttpConnection::kEvents, stay);
        number != 0)
      return number;
    engine_->count_descriptors(1);
    client.connection = std::move(opening.connection);
    return 0;
  }

  std::unique_ptr<PreparedHttpRequest> make_request(Client& client) {
    HttpRequest request;
    if (rows_ != nullptr && !recipe_.is_fixed()) {
      const LoadOptions& load = engine_->options();
      const size_t row = (next_row_++ * load.share_count + load.share) % rows_->rows.size();
      request = recipe_.fill(rows_->rows[row]);
    } else {
      request = recipe_.fill({});
    }
    if (client.cookies) {
      const std::string cookies =
          client.cookies->header(request.path, server_.tls != nullptr, wall_now_ns());
      if (!cookies.empty()) request.headers.push_back({"Cookie", cookies});
    }
    return std::make_unique<PreparedHttpRequest>(prepare_request(std::move(request), host_));
  }

  /// Takes all that the connection has to say.
  void drain(uint32_t stay) {
    Client& client = clients_[stay];
    if (!client.connection) return;
    while (const auto event = client.connection->next_event()) {
      switch (event->kind) {
        case HttpEvent::Kind::kConnected:
          ++tcp_.connected;
          tcp_.syn_retries += syn_retries(client.connection->fd());
          record_since(client, event->at_monotonic_ns, connect_latency_);
          break;
        case HttpEvent::Kind::kSecured:
          ++tls_->handshakes;
          if (client.connection->is_resumed()) ++tls_->resumed;
          ++tls_->versions[client.connection->tls_version()];
          record_since(client, event->at_monotonic_ns, tls_->handshake_latency);
          break;
        case HttpEvent::Kind::kAnswered: answered(stay, event->exchange, *event->answer); break;
        case HttpEvent::Kind::kFailed: failed(stay, event->exchange, event->failure); break;
        case HttpEvent::Kind::kStray: engine_->ledger().unexpected(engine_->now_ns()); break;
        case HttpEvent::Kind::kEnded:
          if (event->failure.kind == HttpFailure::Kind::kTruncated) ++tcp_.closed_by_peer;
          if (event->failure.kind == HttpFailure::Kind::kTls) ++tls_->failed;
          break;
      }
    }
    bytes_received_ += client.connection->take_bytes_received();
  }

  static void record_since(Client& client, int64_t monotonic_ns, Histogram& histogram) {
    histogram.record(
        static_cast<uint64_t>(std::max<int64_t>(0, monotonic_ns - client.began_monotonic_ns)));
    client.began_monotonic_ns = monotonic_ns;
  }

  void answered(uint32_t stay, uint64_t number, const HttpAnswer& answer) {
    Client& client = clients_[stay];
    const auto exchange = find(client.open, number);
    if (exchange == client.open.end()) return;
    ++http_.statuses[answer.status];
    http_.body_bytes += answer.body_bytes;
    checks_.judge(answer, failed_checks_);
    for (const uint32_t check : failed_checks_) ++http_.checks[checks_.names()[check]];
    if (!failed_checks_.empty() || !checks_.expects(answer.status))
      engine_->ledger().error_answer(number);
    if (options().cookies) {
      if (!client.cookies) client.cookies = std::make_unique<CookieJar>();
      const HttpRequest& request = (exchange->own ? *exchange->own : fixed_).request;
      http_.cookies_dropped += client.cookies->take(answer, request.path, wall_now_ns());
    }
    client.free_ns = engine_->now_ns();
    engine_->ledger().reply(stay, number, exchange->actual_ns, client.free_ns);
    remove(client.open, exchange);
    ask_again(stay);
  }

  void failed(uint32_t stay, uint64_t number, const HttpFailure& failure) {
    Client& client = clients_[stay];
    if (failure.kind == HttpFailure::Kind::kNotProcessed) {
      const auto exchange = find(client.open, number);
      if (exchange != client.open.end() && exchange->again < kMaxAgain) {
        ++http_.sent_again;
        ++exchange->again;
        client.again.push_back(std::move(*exchange));
        remove(client.open, exchange);
        return;
      }
    }
    (void)count_failure(failure, server_.http2, http_, &tcp_);
    end(stay, number);
  }

  using Exchanges = std::vector<Exchange>;
  static Exchanges::iterator find(Exchanges& exchanges, uint64_t number) {
    return std::find_if(exchanges.begin(), exchanges.end(),
                        [&](const Exchange& e) { return e.number == number; });
  }
  static void remove(Exchanges& exchanges, Exchanges::iterator at) {
    if (at != exchanges.end() - 1) *at = std::move(exchanges.back());
    exchanges.pop_back();
  }

  /// The request will not be answered. Returns whether the connection had it.
  bool end(uint32_t stay, uint64_t number) {
    Client& client = clients_[stay];
    engine_->ledger().lose(number);
    client.free_ns = engine_->now_ns();
    const auto exchange = find(client.open, number);
    const bool was_open = exchange != client.open.end();
    if (was_open) {
      remove(client.open, exchange);
    } else {
      const auto waits = find(client.again, number);
      CHECK(waits != client.again.end());
      client.again.erase(waits);
    }
    ask_again(stay);
    return was_open;
  }

  void ask_again(uint32_t stay) {
    const LoadOptions& load = engine_->options();
    if (load.closed_loop) engine_->add_due(stay, engine_->now_ns() + load.period_ns);
  }

  void close_connection(Client& client) {
    CHECK(client.open.empty());
    client.connection.reset();
    engine_->count_descriptors(-1);
  }

  Engine* engine_ = nullptr;
  HttpServer server_;
  SourceRotation sources_;
  HttpRecipe recipe_;
  HttpChecks checks_;
  std::string host_;
  PreparedHttpRequest fixed_;       // if recipe_ is fixed
  bool is_fixed_ = true;            // all requests are fixed_
  const CsvTable* rows_ = nullptr;  // of the options
  uint64_t next_row_ = 0;
  std::vector<Client> clients_;  // by stay
  std::vector<uint32_t> failed_checks_;
  TcpAccounts tcp_;
  HttpAccounts http_;
  std::optional<TlsAccounts> tls_;
  Histogram connect_latency_;
  uint64_t bytes_received_ = 0;
};

Error wrong_http(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

/// The path is given in the target or as an option, not in both.
Status check_http_target(const LoadOptions& options, const TargetParts& target) {
  const HttpLoadOptions& http = options.http;
  if (!target.path.empty() && http.path != "/" && http.path != target.path) {
    return wrong_http(fmt::format("the target has the path {} and --path is {}; give one of them",
                                  target.path, http.path));
  }
  if (!target.is_tls && (http.insecure || !http.ca_file.empty()))
    return wrong_http("--insecure and --ca-file are for an https:// URL");
  TOPSPIN_ASSIGN(HttpRequest request, request_of(http, target));
  // Braces in a path stand for columns.
  if (!http.data_file.empty())
    std::erase_if(request.path, [](char c) { return c == '{' || c == '}'; });
  return check_request(request);
}

Status check_http(const LoadOptions& options) {
  const HttpLoadOptions& http = options.http;
  if (!http.body.empty() && !http.body_file.empty())
    return wrong_http("give either --body or --body-file");
  if (http.insecure && !http.ca_file.empty())
    return wrong_http("--ca-file says whom to trust, and --insecure trusts everybody; give one");
  if (http.streams > 1 && !http.http2)
    return wrong_http("--streams is for HTTP/2; give --http2, too");
  if (http.streams > 1 && options.closed_loop)
    return wrong_http("a closed loop has one request at a time per client; leave out --streams");
  return HttpChecks::make(http.expect_status, http.checks).ok()
             ? Status()
             : HttpChecks::make(http.expect_status, http.checks).error();
}

Status read_http_files(LoadOptions& options) {
  HttpLoadOptions& http = options.http;
  if (!http.body_file.empty()) {
    auto body = read_file(http.body_file, kMaxBodyBytes);
    if (!body.ok()) {
      return make_error(ErrorCode::kInput, fmt::format("--body-file: cannot read {}: {}",
                                                       http.body_file, body.error().message));
    }
    if (http.method.empty()) http.method = "POST";
    http.body = std::move(*body);
    http.body_file.clear();
  }
  if (http.data_file.empty() || http.data) return {};
  TOPSPIN_ASSIGN(CsvTable table, read_csv_file(http.data_file));
  if (table.rows.empty())
    return make_error(ErrorCode::kInput, fmt::format("--data: {} has no rows", http.data_file));
  HttpRequest request;
  for (const std::string& text : http.headers) {
    TOPSPIN_ASSIGN(request.headers.emplace_back(), parse_header(text));
  }
  TOPSPIN_ASSIGN(const HttpRecipe headers, HttpRecipe::make(request, table.columns));
  for (size_t column = 0; column < table.columns.size(); ++column) {
    if (!headers.is_in_headers(column)) continue;
    for (size_t row = 0; row < table.rows.size(); ++row) {
      const std::string& value = table.rows[row][column];
      const auto is_control = [](char c) {
        return static_cast<unsigned char>(c) < ' ' || c == 0x7F;
      };
      if (std::none_of(value.begin(), value.end(), is_control)) continue;
      return make_error(
          ErrorCode::kInput,
          fmt::format("{}, line {}, column {}: a header cannot have control characters",
                      http.data_file, table.lines[row], table.columns[column]));
    }
  }
  http.data = std::make_shared<const CsvTable>(std::move(table));
  return {};
}

LoadOption connection_option() {
  LoadOption option;
  option.name = "connection";
  option.help =
      "keep-alive; close: a new connection for each request; or a number of requests per "
      "connection";
  option.default_text = "keep-alive";
  option.value_name = "keep-alive|close|COUNT";
  option.set = [](LoadDraft& draft, const std::string& text) -> Status {
    uint32_t& most = draft.options.http.requests_per_connection;
    if (text == "keep-alive" || text == "close") {
      most = text == "close" ? 1 : 0;
      return {};
    }
    const auto number = read_number(text, 1, UINT32_MAX);
    if (!number.ok())
      return wrong_http(fmt::format("\"{}\" is none of keep-alive, close, or a number", text));
    most = static_cast<uint32_t>(*number);
    return {};
  };
  return option;
}

LoadOption named(LoadOption option, std::string value_name, char letter = 0) {
  option.value_name = std::move(value_name);
  option.letter = letter;
  return option;
}

LoadOption of_host(LoadOption option) {
  option = of_file(std::move(option));
  option.is_of_host = true;
  option.value_name = "FILE";
  return option;
}

}  // namespace

WorkloadType http_workload() {
  WorkloadType type;
  type.kind = WorkloadKind::kHttp;
  type.help = "HTTP: each client sends a request once per period";
  type.examples =
      "  topspin load http --target 127.0.0.1:8080 --clients 500 --period 100ms\n"
      "  topspin load http --target http://127.0.0.1:8080/health --connection close\n"
      "  topspin load http --target https://shop.test/ --http2 --streams 10\n"
      "  topspin load http --target http://127.0.0.1:8080/users/{id} --data users.csv\n"
      "  topspin load http --target http://127.0.0.1:8080/users --body '{\"a\": 1}'\n"
      "      --expect-status 201 --check 'json /id'";
  type.takes_url = true;
  using H = HttpLoadOptions;
  type.options = options_of(
      options_of(schedule_options(), find_options()),
      {period_option(), grid_option(), threads_option(),
       of_schedule(flag_option(
           "closed",
           "Closed loop: send, wait for the reply, sleep for a period (1us or more), repeat",
           &LoadOptions::closed_loop)),
       text_option("path", "The path to request, unless the target has it", &H::path, "/"),
       text_option("method", "The method (default GET, with a body POST)", &H::method),
       named(list_option("header", "A header of the request, as \"Name: value\"", &H::headers),
             "HEADER", 'H'),
       named(text_option("body", "The request's body", &H::body), "TEXT"),
       of_host(text_option("body-file", "A file with the request's body, at most 16 MiB",
                           &H::body_file)),
       of_host(text_option("data",
                           "CSV with a line of names; {name} in path, headers and body is that "
                           "column of the next row",
                           &H::data_file)),
       flag_option("cookies", "Each client keeps the cookies that it gets", &H::cookies),
       named(text_option("expect-status",
                         "Other statuses are errors, as 200,404 or 2xx (default 200-399)",
                         &H::expect_status),
             "STATUSES"),
       list_option("check",
                   "What an answer must be like, else it is an error: \"header NAME [= TEXT]\", "
                   "\"body contains TEXT\", \"json /POINTER [= VALUE]\", each with \"NAME: \" "
                   "before it if it should be called so",
                   &H::checks),
       connection_option(),
       flag_option("insecure", "Do not verify the certificate of an https:// target", &H::insecure),
       of_host(text_option("ca-file", "Certificates to trust, in PEM, instead of the system's",
                           &H::ca_file)),
       choice_option<bool>("resumption", "off: each TLS handshake is a full one", &H::resumption,
                           {{"on", true}, {"off", false}}),
       flag_option("http2", "HTTP/2: by ALPN over TLS, without asking (h2c) over TCP", &H::http2),
       number_option("streams", "HTTP/2: most requests of a client at once", 1, kMaxStreams,
                     &H::streams, "1")});
  type.check = check_http;
  type.check_target = check_http_target;
  type.read_files = read_http_files;
  type.can_be_shared = true;
  type.per_thread_s = 30'000;
  type.keeps_flows = [](const LoadOptions& options) {
    return options.http.requests_per_connection == 0;
  };
  type.run = [](const LoadOptions& options, const Target& target, const std::atomic<bool>& stop,
                const LoadProgressSink& progress) -> Result<LoadResult> {
    Http workload;
    TOPSPIN_TRY(workload.open(options, target));
    EngineSettings settings;
    return run_clients(workload, options, target, settings, stop, progress);
  };
  return type;
}

}  // namespace topspin
