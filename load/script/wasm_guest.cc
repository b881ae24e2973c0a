#include "load/script/wasm_guest.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <strings.h>

#include "core/base/text.h"
#include "load/script/client_random.h"

namespace topspin {

static_assert(WasmCalls::kMostBytes == ScriptClients::kMostInbox);

namespace {

// What the functions of topspin.h return and take; the header says what they mean.
constexpr auto kFailedCall = static_cast<uint64_t>(-1);
constexpr uint64_t kKeepFlag = 1;
constexpr uint64_t kHowMask = 15, kHowAny = 0, kHowExact = 1, kHowLine = 2, kHowAll = 3;
constexpr uint64_t kHowOptional = 16;

constexpr int64_t kMostGuestDurationNs = int64_t{86'400} * kNanosPerSecond;

}  // namespace

// ----- the guest -----

WasmGuest::WasmGuest(const LoadOptions& options, ScriptClients& clients)
    : clients_(clients),
      wasi_({[&clients] { return clients.now_ns(); },
             [&clients](const std::string& line) { clients.printed(line); }, next_random,
             ScriptClients::kMostPrintedBytes}),
      data_(options.script_data),
      name_(options.script_name),
      seed_(random_of_load(options.script_seed)),
      timeout_ns_(options.timeout_ns) {}

Result<std::unique_ptr<WasmGuest>> WasmGuest::open(const LoadOptions& options,
                                                   ScriptClients& clients) {
  std::unique_ptr<WasmGuest> guest(new WasmGuest(options, clients));
  const auto wrong = [&](std::string_view what) {
    return make_error(ErrorCode::kUsage, fmt::format("{}: {}", options.script_name, what));
  };
  if (options.script_period_ns || !options.script_arguments.empty())
    return wrong("--period and --arguments are for scripts of wrk");
  for (const LoadStage& stage : options.stages) {
    if (std::max(stage.from, stage.to) > kMostClients)
      return wrong(fmt::format("a script in WebAssembly has at most {} clients", kMostClients));
  }
  TOPSPIN_ASSIGN(guest->machine_, WasmMachine::open(options.script_text, options.script_name,
                                                    imports(), options.script_memory_bytes));
  // One is tried, so that a module that cannot start is an error before the load.
  const auto tried = guest->machine_->make_instance();
  if (!tried.ok()) return tried.error();
  return guest;
}

const std::vector<WasmImport>& WasmGuest::imports() {
  static const auto* const kAll = [] {
    auto* all = new std::vector<WasmImport>;
    for (const Function& function : functions()) all->push_back(function.import);
    for (const Wasi::Function& function : Wasi::functions()) all->push_back(function.import);
    return all;
  }();
  return *kAll;
}

const std::vector<WasmGuest::Function>& WasmGuest::functions() {
  constexpr std::string_view kModule = "topspin";
  static const auto* const kAll = new std::vector<Function>{
      {{kModule, "id", ":i"}, &WasmGuest::id},
      {{kModule, "time_ns", ":I"}, &WasmGuest::time_ns},
      {{kModule, "sleep", "I"}, &WasmGuest::sleep},
      {{kModule, "every", "I"}, &WasmGuest::every},
      {{kModule, "turn", ":I"}, &WasmGuest::turn},
      {{kModule, "step_begin", "ii"}, &WasmGuest::step_begin},
      {{kModule, "step_end", ""}, &WasmGuest::step_end},
      {{kModule, "check", "iii:i"}, &WasmGuest::check},
      {{kModule, "fail", "ii"}, &WasmGuest::fail},
      {{kModule, "random", ":I"}, &WasmGuest::random},
      {{kModule, "target", "ii:i"}, &WasmGuest::target},
      {{kModule, "udp", "iii:i"}, &WasmGuest::udp},
      {{kModule, "tcp", "iiI:i"}, &WasmGuest::tcp},
      {{kModule, "send", "iii:i"}, &WasmGuest::send},
      {{kModule, "recv", "iiiiI:i"}, &WasmGuest::recv},
      {{kModule, "recv_till", "iiiiiI:i"}, &WasmGuest::recv_till},
      {{kModule, "close", "i"}, &WasmGuest::close},
      {{kModule, "is_open", "i:i"}, &WasmGuest::is_open},
      {{kModule, "reason", "ii:i"}, &WasmGuest::reason},
      {{kModule, "http", "iiiiiiiiI:i"}, &WasmGuest::http},
      {{kModule, "http_body", "iii:i"}, &WasmGuest::http_body},
      {{kModule, "http_header", "iiii:i"}, &WasmGuest::http_header},
      {{kModule, "data_rows", "ii:i"}, &WasmGuest::data_rows},
      {{kModule, "data_cell", "iiiiiii:i"}, &WasmGuest::data_cell},
  };
  return *kAll;
}

ScriptState WasmGuest::start(uint32_t client) {
  if (scripts_.size() <= client) scripts_.resize(client + 1);
  Script& script = scripts_[client];
  script = {};
  script.imports = imports();
  script.random = random_of_client(seed_, client);
  auto made = machine_->make_instance();
  if (!made.ok()) {
    error_ = made.error().message;
    return ScriptState::kFailed;
  }
  script.instance = std::move(*made);
  machine_->begin_slice();
  return go_on(client);
}

ScriptState WasmGuest::resume(uint32_t client, const Answer& answer) {
  finish_call(scripts_[client], answer);
  machine_->begin_slice();
  return go_on(client);
}

ScriptState WasmGuest::go_on(uint32_t client) {
  Script& script = scripts_[client];
  WasmMachine::Instance& instance = *script.instance;
  while (true) {
    switch (instance.run(clients_.slot(client) + 1)) {
      case WasmMachine::Event::kReturned: return ScriptState::kReturned;
      case WasmMachine::Event::kFailed:
        error_ = fmt::format("{}: {}", name_, instance.error());
        // There are no lines to name.
        if (const auto last = instance.last_call(); last && !instance.is_ended_by_us())
          error_ += fmt::format(" (after {})", name_of(imports(), *last));
        return ScriptState::kFailed;
      case WasmMachine::Event::kCalled: break;
    }
    if (serve(script, instance.call()) == Served::kWaits) return ScriptState::kWaits;
  }
}

WasmGuest::Served WasmGuest::serve(Script& script, const Call& call) {
  const std::vector<Function>& own = functions();
  if (call.import < own.size()) return (this->*own[call.import].serve)(script, call);
  return wasi_.serve(call.import - own.size(), script, call);
}

/// The instance ends here if it waits, so no code of the guest runs for this.
void WasmGuest::drop(uint32_t client) {
  if (client < scripts_.size()) scripts_[client] = {};
}

// ----- answers -----

/// Answers the call in which the guest waits.
void WasmGuest::finish_call(Script& script, const Answer& done) {
  switch (done.kind) {
    case Answer::Kind::kNothing:
    case Answer::Kind::kTrue:
    case Answer::Kind::kNil: (void)answer(script, 0); return;
    case Answer::Kind::kText: (void)answer_text(script, script.into, done.text); return;
    case Answer::Kind::kNumber: (void)answer(script, static_cast<uint64_t>(done.number)); return;
    case Answer::Kind::kFailure:
      script.reason = done.text;
      (void)answer(script, kFailedCall);
      return;
    case Answer::Kind::kSocket:
      if (!done.text.empty()) script.reason = done.text;
      (void)answer(script, done.text.empty() ? script.opening : kFailedCall);
      return;
    case Answer::Kind::kResponse:
    case Answer::Kind::kRawResponse:
      script.response = std::make_unique<HttpAnswer>(*done.response);
      (void)answer(script, static_cast<uint64_t>(done.response->status));
      return;
  }
}

WasmGuest::Served WasmGuest::answer_when_done(Script& script, const std::optional<Answer>& done) {
  if (!done) return Served::kWaits;
  finish_call(script, *done);
  return Served::kAnswered;
}

/// A number of nanoseconds. False: the guest has been ended.
bool WasmGuest::duration(Script& script, uint64_t argument, int64_t least_ns, int64_t& ns) const {
  ns = static_cast<int64_t>(argument);
  if (ns >= least_ns && ns <= kMostGuestDurationNs) return true;
  (void)end(script,
            fmt::format("its time is from {} to a day, in nanoseconds", format_duration(least_ns)));
  return false;
}

/// Null if there is no such socket of the client any more.
WasmGuest::OwnSocket* WasmGuest::own_socket(Script& script, uint64_t number) {
  if (number >= script.sockets.size()) return nullptr;
  OwnSocket& socket = script.sockets[number];
  return clients_.is_own(socket.index, socket.generation) ? &socket : nullptr;
}

// ----- time, turns, steps and checks -----

WasmGuest::Served WasmGuest::id(Script& script, const Call&) {
  return answer(script, clients_.slot(clients_.current()) + 1);
}

WasmGuest::Served WasmGuest::time_ns(Script& script, const Call&) {
  return answer(script, static_cast<uint64_t>(clients_.now_ns()));
}

WasmGuest::Served WasmGuest::sleep(Script& script, const Call& call) {
  int64_t ns = 0;
  if (!duration(script, call.arguments[0], 0, ns)) return Served::kEnded;
  clients_.sleep(ns);
  return Served::kWaits;
}

WasmGuest::Served WasmGuest::every(Script& script, const Call& call) {
  int64_t ns = 0;
  if (!duration(script, call.arguments[0], 1000, ns)) return Served::kEnded;
  script.loop = clients_.begin_turns(ns);
  return answer(script, 0);
}

WasmGuest::Served WasmGuest::turn(Script& script, const Call&) {
  if (script.loop == 0) return end(script, "there is no loop of turns; call topspin.every first");
  const auto next = clients_.next_turn(script.loop);
  if (!next.ok()) return end(script, "the loop of turns has ended");
  return answer_when_done(script, *next);
}

WasmGuest::Served WasmGuest::step_begin(Script& script, const Call& call) {
  if (!read(script, call.arguments[0], call.arguments[1], text_)) return Served::kEnded;
  const auto begun = clients_.begin_step(text_);
  if (!begun.ok()) return end(script, begun.error().message);
  return *begun ? answer(script, 0) : Served::kWaits;
}

WasmGuest::Served WasmGuest::step_end(Script& script, const Call&) {
  clients_.end_step(false);
  return answer(script, 0);
}

WasmGuest::Served WasmGuest::check(Script& script, const Call& call) {
  if (!read(script, call.arguments[1], call.arguments[2], text_)) return Served::kEnded;
  const bool passed = call.arguments[0] != 0;
  if (const Status checked = clients_.check(text_, passed); !checked.ok())
    return end(script, checked.error().message);
  return answer(script, passed ? 1 : 0);
}

WasmGuest::Served WasmGuest::fail(Script& script, const Call& call) {
  if (!read(script, call.arguments[0], call.arguments[1], text_)) return Served::kEnded;
  clients_.fail(text_);
  return answer(script, 0);
}

WasmGuest::Served WasmGuest::random(Script& script, const Call&) {
  return answer(script, next_random(script.random));
}

WasmGuest::Served WasmGuest::target(Script& script, const Call& call) {
  return answer_text(script, {call.arguments[0], call.arguments[1]}, clients_.target().text);
}

// ----- sockets -----

WasmGuest::Served WasmGuest::open(Script& script, const Call& call, bool datagrams, bool keeps,
                                  int64_t timeout_ns) {
  if (!read(script, call.arguments[0], call.arguments[1], text_)) return Served::kEnded;
  const auto opened = clients_.open_socket(text_, datagrams, keeps);
  if (!opened.ok()) return end(script, opened.error().message);
  // A place whose socket is gone is used again.
  size_t place = 0;
  while (place < script.sockets.size() && own_socket(script, place) != nullptr) ++place;
  if (place == script.sockets.size()) script.sockets.emplace_back();
  script.sockets[place] = {*opened, clients_.generation(*opened)};
  script.opening = place;
  return answer_when_done(script, clients_.connect(*opened, timeout_ns));
}

WasmGuest::Served WasmGuest::udp(Script& script, const Call& call) {
  return open(script, call, true, (call.arguments[2] & kKeepFlag) != 0, timeout_ns_);
}

WasmGuest::Served WasmGuest::tcp(Script& script, const Call& call) {
  int64_t ns = timeout_ns_;
  if (static_cast<int64_t>(call.arguments[2]) >= 0 && !duration(script, call.arguments[2], 0, ns))
    return Served::kEnded;
  return open(script, call, false, false, ns);
}

WasmGuest::Served WasmGuest::send(Script& script, const Call& call) {
  if (!read(script, call.arguments[1], call.arguments[2], text_)) return Served::kEnded;
  const OwnSocket* socket = own_socket(script, call.arguments[0]);
  return answer_when_done(
      script, socket != nullptr ? clients_.send(socket->index, text_) : clients_.not_connected());
}

WasmGuest::Served WasmGuest::receive(Script& script, uint64_t number, ReceiveWish wish) {
  const OwnSocket* socket = own_socket(script, number);
  return answer_when_done(script, socket != nullptr
                                      ? clients_.receive(socket->index, std::move(wish))
                                      : clients_.not_connected());
}

WasmGuest::Served WasmGuest::recv(Script& script, const Call& call) {
  ReceiveWish wish;
  wish.timeout_ns = timeout_ns_;
  script.into = {call.arguments[1], call.arguments[2]};
  if (!script.instance->memory(script.into.offset, script.into.length))
    return end(script, "the place for its result is outside of the memory");
  if (static_cast<int64_t>(call.arguments[4]) >= 0 &&
      !duration(script, call.arguments[4], 0, wish.timeout_ns))
    return Served::kEnded;
  switch (call.arguments[3] & kHowMask) {
    case kHowAny: wish.bytes = script.into.length; break;
    case kHowExact:
      if (script.into.length < 1 || script.into.length > ScriptClients::kMostInbox)
        return end(script, fmt::format("so many bytes cannot be waited for; from 1 to {} can",
                                       ScriptClients::kMostInbox));
      wish.until = ReceiveWish::Until::kBytes;
      wish.bytes = script.into.length;
      break;
    case kHowLine:
      wish.until = ReceiveWish::Until::kMark;
      wish.mark = "\n";
      wish.is_line = true;
      break;
    case kHowAll: wish.until = ReceiveWish::Until::kEnd; break;
    default: return end(script, "there is no such way of receiving");
  }
  wish.is_optional = (call.arguments[3] & kHowOptional) != 0;
  return receive(script, call.arguments[0], std::move(wish));
}

WasmGuest::Served WasmGuest::recv_till(Script& script, const Call& call) {
  ReceiveWish wish;
  wish.timeout_ns = timeout_ns_;
  wish.until = ReceiveWish::Until::kMark;
  if (!read(script, call.arguments[1], call.arguments[2], wish.mark)) return Served::kEnded;
  if (wish.mark.empty()) return end(script, "the text to wait for is empty");
  script.into = {call.arguments[3], call.arguments[4]};
  if (!script.instance->memory(script.into.offset, script.into.length))
    return end(script, "the place for its result is outside of the memory");
  if (static_cast<int64_t>(call.arguments[5]) >= 0 &&
      !duration(script, call.arguments[5], 0, wish.timeout_ns))
    return Served::kEnded;
  return receive(script, call.arguments[0], std::move(wish));
}

WasmGuest::Served WasmGuest::close(Script& script, const Call& call) {
  if (const OwnSocket* socket = own_socket(script, call.arguments[0]))
    clients_.close(socket->index);
  return answer(script, 0);
}

WasmGuest::Served WasmGuest::is_open(Script& script, const Call& call) {
  const OwnSocket* socket = own_socket(script, call.arguments[0]);
  return answer(script, socket != nullptr && clients_.is_open(socket->index) ? 1 : 0);
}

WasmGuest::Served WasmGuest::reason(Script& script, const Call& call) {
  return answer_text(script, {call.arguments[0], call.arguments[1]}, script.reason);
}

// ----- HTTP and data -----

WasmGuest::Served WasmGuest::http(Script& script, const Call& call) {
  HttpRequest request;
  std::string headers;
  const auto& arguments = call.arguments;
  if (!read(script, arguments[0], arguments[1], request.method) ||
      !read(script, arguments[2], arguments[3], request.path) ||
      !read(script, arguments[4], arguments[5], headers) ||
      !read(script, arguments[6], arguments[7], request.body))
    return Served::kEnded;
  if (request.method.empty()) request.method = "GET";
  if (request.path.empty()) {
    const std::string& path = clients_.target().parts.path;
    request.path = path.empty() ? "/" : path;
  }
  std::string_view rest = headers;
  while (!rest.empty()) {
    const size_t end_of_line = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end_of_line);
    if (line.ends_with('\r')) line.remove_suffix(1);
    rest.remove_prefix(std::min(end_of_line + 1, rest.size()));
    if (line.empty()) continue;
    auto header = parse_header(line);
    if (!header.ok()) return end(script, header.error().message);
    request.headers.push_back(std::move(*header));
  }
  if (const Status checked = check_request(request); !checked.ok())
    return end(script, checked.error().message);
  int64_t ns = timeout_ns_;
  if (static_cast<int64_t>(arguments[8]) >= 0 && !duration(script, arguments[8], 0, ns))
    return Served::kEnded;
  return answer_when_done(script, clients_.request(std::move(request), ns));
}

WasmGuest::Served WasmGuest::http_body(Script& script, const Call& call) {
  if (!script.response) return answer(script, kFailedCall);
  const std::string_view body = script.response->body;
  const std::string_view part = body.substr(std::min<uint64_t>(call.arguments[2], body.size()));
  if (!write(script, call.arguments[0], part.substr(0, call.arguments[1]))) return Served::kEnded;
  return answer(script, body.size());
}

WasmGuest::Served WasmGuest::http_header(Script& script, const Call& call) {
  if (!read(script, call.arguments[0], call.arguments[1], text_)) return Served::kEnded;
  if (!script.response) return answer(script, kFailedCall);
  for (const HttpHeader& header : script.response->headers) {
    if (::strcasecmp(header.name.c_str(), text_.c_str()) == 0)
      return answer_text(script, {call.arguments[2], call.arguments[3]}, header.value);
  }
  return answer(script, kFailedCall);
}

WasmGuest::Served WasmGuest::data_rows(Script& script, const Call& call) {
  if (!read(script, call.arguments[0], call.arguments[1], text_)) return Served::kEnded;
  const auto table = data_.find(text_);
  if (table == data_.end())
    return end(script,
               fmt::format("\"{}\" is no file that --data names", sanitize_for_terminal(text_)));
  return answer(script, table->second.rows.size());
}

WasmGuest::Served WasmGuest::data_cell(Script& script, const Call& call) {
  if (!read(script, call.arguments[0], call.arguments[1], text_)) return Served::kEnded;
  const auto found = data_.find(text_);
  if (found == data_.end())
    return end(script,
               fmt::format("\"{}\" is no file that --data names", sanitize_for_terminal(text_)));
  const CsvTable& table = found->second;
  if (!read(script, call.arguments[3], call.arguments[4], text_)) return Served::kEnded;
  const auto column = std::find(table.columns.begin(), table.columns.end(), text_);
  if (column == table.columns.end())
    return end(script, fmt::format("there is no column \"{}\"", sanitize_for_terminal(text_)));
  const auto& row = table.rows[call.arguments[2] % table.rows.size()];
  const auto place = static_cast<size_t>(column - table.columns.begin());
  return answer_text(script, {call.arguments[5], call.arguments[6]},
                     place < row.size() ? std::string_view(row[place]) : std::string_view());
}

}  // namespace topspin
