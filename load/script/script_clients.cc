#include "load/script/script_clients.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "core/base/result.h"
#include "core/base/text.h"

namespace topspin {
namespace {

// A script whose answers are always there at once lets others have their turn after so many.
constexpr uint32_t kReceivesPerRun = 16;
constexpr int kReadsPerEvent = 16;  // of one socket, before others have their turn
constexpr uint32_t kStreamEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
constexpr int kTimersPerRound = 64;  // as the engine: replies are read in between
constexpr size_t kMostNameBytes = 80;
constexpr uint32_t kPortsPerSource = 20'000;
constexpr std::string_view kTimeout = "timeout";
constexpr std::string_view kOtherReasons = "others";

/// What a script gives a step or a check for a name, as it can be shown and stored.
std::string plain_name(std::string_view name) {
  const bool is_plain =
      std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c < 0x7F; });
  return is_plain ? std::string(name) : sanitize_for_terminal(name);
}

/// Reads "IP:PORT" or "[IPV6]:PORT".
Result<SocketAddress> parse_socket_address(const std::string& text) {
  TOPSPIN_ASSIGN(const TargetParts parts, split_target(text));
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const std::string port = std::to_string(parts.port);
  if (getaddrinfo(parts.host.c_str(), port.c_str(), &hints, &list) != 0)
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} is no IP address with a port; only the target may be a name", text));
  SocketAddress address;
  std::memcpy(&address.storage, list->ai_addr, list->ai_addrlen);
  address.length = list->ai_addrlen;
  freeaddrinfo(list);
  return address;
}

}  // namespace

/// Counts the time of an operation, which is not the script's.
class OperationTime {
 public:
  explicit OperationTime(ScriptClients& clients)
      : clients_(clients), begun_ns_(monotonic_now_ns()) {}
  ~OperationTime() { clients_.operation_ns_ += monotonic_now_ns() - begun_ns_; }
  OperationTime(const OperationTime&) = delete;
  OperationTime& operator=(const OperationTime&) = delete;

 private:
  ScriptClients& clients_;
  int64_t begun_ns_;
};

Status ScriptClients::prepare(Engine& engine) {
  engine_ = &engine;
  book_.emplace(options().timeout_ns, options().late_after_ns);
  LoadNeeds needs;
  needs.descriptors = engine.clients_most() + kSpareDescriptors;
  TOPSPIN_TRY(check_needs(needs, engine.limits(), false));
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return os_error("timerfd_create");
  if (engine.watch(timer_.get(), EPOLLIN | EPOLLET, kTimerToken) != 0) return os_error("epoll_ctl");
  http_server_.target = &engine.target();
  http_server_.keep = {true, true};
  if (const TargetParts& parts = engine.target().parts; parts.is_tls) {
    TlsSettings tls;
    tls.verifies = !options().http.insecure;
    tls.ca_file = options().http.ca_file;
    TOPSPIN_ASSIGN(http_server_.tls, TlsContext::make(tls, parts.host));
    tls_.emplace();
  }
  // Every source address, once the ports of the first one are used up.
  sources_.prepare(engine.target(), std::numeric_limits<uint64_t>::max(),
                   usable_ports(engine.limits()));
  clients_.resize(engine.schedule().stays.size());
  timers_.resize(clients_.size());
  return {};
}

Rhythm ScriptClients::rhythm_of(int64_t period_ns) const {
  return {period_ns, std::min(options().grid_ns.value_or(period_ns / 1000), period_ns)};
}

uint64_t& ScriptClients::count_of(std::map<std::string, uint64_t>& reasons,
                                  std::string_view reason) {
  std::string text = sanitize_for_terminal(reason);
  if (!reasons.contains(text) && reasons.size() >= kMostReasons) text = kOtherReasons;
  return reasons[text];
}

// ----- running and waiting -----

int64_t ScriptClients::take_script_ns() {
  const int64_t now = monotonic_now_ns();
  const int64_t ns = std::max<int64_t>(0, now - run_mark_ns_ - operation_ns_);
  run_mark_ns_ = now;
  operation_ns_ = 0;
  accounts_.script_ns += ns;
  return ns;
}

void ScriptClients::join(uint32_t stay) {
  Client& client = clients_[stay];
  client.is_live = true;
  client.since_ns = engine_->stay(stay).join_ns;
  run(stay, nullptr);
}

void ScriptClients::run(uint32_t index, const Answer* answer) {
  current_ = index;
  clients_[index].wait = Wait::kNothing;
  clients_[index].waits_on = kNoSocket;
  run_mark_ns_ = monotonic_now_ns();
  operation_ns_ = 0;
  is_running_ = true;
  received_in_run_ = 0;
  const ScriptState state =
      answer == nullptr ? guest_->start(index) : guest_->resume(index, *answer);
  is_running_ = false;
  Client& client = clients_[index];
  client.script_ns += take_script_ns();
  switch (state) {
    case ScriptState::kWaits:
      CHECK(client.wait != Wait::kNothing);
      if (client.wait == Wait::kForEver) drop(index);
      return;
    case ScriptState::kReturned: ++accounts_.clients_returned; break;
    case ScriptState::kFailed:
      ++accounts_.clients_failed;
      ++count_of(accounts_.errors, guest_->error());
      fail_message(index, "the script failed");
      break;
  }
  end_client(index);
}

void ScriptClients::resume(uint32_t index, const Answer& answer) {
  timers_.clear(index);
  run(index, &answer);
}

void ScriptClients::wait_for(Wait wait, std::optional<int64_t> until_ns, uint32_t socket) {
  Client& client = clients_[current_];
  CHECK(client.wait == Wait::kNothing);
  client.wait = wait;
  client.waits_on = socket;
  client.wake_ns = until_ns.value_or(std::numeric_limits<int64_t>::max());
  set_timer(current_);
}

std::nullopt_t ScriptClients::answer_later(const Answer& answer) {
  Client& client = clients_[current_];
  client.later_text = answer.text;
  client.later = answer;
  client.later.text = client.later_text;
  wait_for(Wait::kAnswer, now_ns());
  return std::nullopt;
}

void ScriptClients::set_timer(uint32_t index) {
  const Client& client = clients_[index];
  const int64_t at_ns =
      client.is_leaving ? std::min(client.wake_ns, client.cut_ns) : client.wake_ns;
  if (at_ns == std::numeric_limits<int64_t>::max())
    timers_.clear(index);
  else
    timers_.set(index, at_ns);
}

void ScriptClients::flush() {
  if (wants_stop_ || asked_to_stop_->load(std::memory_order_relaxed))
    stop_->store(true, std::memory_order_relaxed);
  for (int i = 0; i < kTimersPerRound; ++i) {
    const int64_t now = now_ns();
    const auto client = timers_.pop(now);
    if (!client) break;
    time_has_come(*client, now);
  }
  flush_mark_before_ns_ = std::exchange(flush_mark_ns_, accounts_.script_ns);
  arm_timer();
}

void ScriptClients::arm_timer() {
  const auto next = timers_.next_ns();
  if (!next || *next == armed_ns_) return;
  const int64_t at = std::max<int64_t>(1, engine_->to_monotonic(*next));
  itimerspec when{};
  when.it_value.tv_sec = at / kNanosPerSecond;
  when.it_value.tv_nsec = at % kNanosPerSecond;
  CHECK(timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
  armed_ns_ = *next;
}

void ScriptClients::time_has_come(uint32_t index, int64_t now_ns) {
  Client& client = clients_[index];
  current_ = index;
  if (client.wake_ns > now_ns) {  // so it is the end of its time
    fail_message(index, "cut off at the end of the client's time");
    drop(index);
    return;
  }
  switch (client.wait) {
    case Wait::kSleep:
      client.since_ns = now_ns;
      resume(index, {});
      return;
    case Wait::kTurn: begin_turn(index, now_ns); return;
    case Wait::kReceive: {
      // It may have come in time, and not have been read yet.
      const uint32_t socket = client.waits_on;
      if (const auto answer = try_receive(socket)) {
        resume(index, *answer);
        return;
      }
      if (now_ns < client.deadline_ns) {
        client.wake_ns = client.deadline_ns;
        set_timer(index);
        return;
      }
      if (sockets_[socket].wish.is_optional)
        resume(index, Answer::failure(kTimeout));
      else
        resume(index, fail_with(kTimeout));
      return;
    }
    case Wait::kConnect: {
      const uint32_t socket = client.waits_on;
      release(socket);
      (void)fail_with(kTimeout);
      resume(index, Answer::of_socket(socket, kTimeout));
      return;
    }
    case Wait::kSend:  // what was sent of it may have been read, so nothing sensible can follow
    case Wait::kHttp:
      close_socket(client.waits_on);
      resume(index, fail_with(kTimeout));
      return;
    case Wait::kAnswer: {
      const Answer answer = client.later;
      resume(index, answer);
      return;
    }
    case Wait::kNothing:
    case Wait::kForEver: CHECK(false);
  }
}

void ScriptClients::ready(uint64_t token, uint32_t events) {
  if (token == kTimerToken) {
    armed_ns_ = -1;  // flush() does what is due, and sets it again
    return;
  }
  const auto index = static_cast<uint32_t>(token);
  // The event may be of a socket that was closed in this round.
  if (!sockets_[index].is_open || token_of(index) != token) return;
  const uint32_t stay = sockets_[index].client;
  Client& client = clients_[stay];
  if (sockets_[index].http) {
    HttpConnection& http = *sockets_[index].http;
    http.ready(events);
    if (http.has_unread()) engine_->watch_again(http.fd(), HttpConnection::kEvents, token);
  } else if (client.waits_on != index) {
    return;
  }
  // The event came after the wait before this one had returned.
  client.script_ns += accounts_.script_ns - flush_mark_before_ns_;
  current_ = stay;
  std::optional<Answer> answer;
  switch (client.wait) {
    case Wait::kConnect: answer = connected(index); break;
    case Wait::kSend: answer = send_rest(index); break;
    case Wait::kReceive: answer = try_receive(index); break;
    default: break;
  }
  // Also while the client does not wait for it: the server may have closed a kept connection.
  if (sockets_[index].http) answer = take_http_events(index);
  if (answer) resume(stay, *answer);
}

void ScriptClients::leave(uint32_t index) {
  const int64_t now = now_ns();
  Client& client = clients_[index];
  if (client.is_live && client.wait == Wait::kTurn && client.next_ns < leave_ns(index)) {
    timers_.clear(index);
    begin_turn(index, now);
  }
  client.is_leaving = true;
  client.cut_ns = now + options().timeout_ns;
  if (!client.is_live) {
    if (!std::exchange(client.is_closed, true)) engine_->stay_closed();
  } else if (client.has_message) {
    set_timer(index);
  } else if (client.wait == Wait::kTurn) {
    current_ = index;
    end_loop(index, now);
    resume(index, Answer::of(Answer::Kind::kNil));
  } else {
    drop(index);
  }
}

/// The client's script ends here without having come to its end.
void ScriptClients::drop(uint32_t index) {
  ++accounts_.clients_left;
  end_client(index);
}

void ScriptClients::end_client(uint32_t index) {
  const int64_t now = now_ns();
  Client& client = clients_[index];
  while (!client.steps.empty()) {
    client.steps.back().has_failed = client.steps.back().has_failed || client.has_failed;
    book_->end(client.steps.back(), now);
    client.steps.pop_back();
  }
  if (client.has_message) end_message(index, now);
  if (client.loop != 0) end_loop(index, now);
  guest_->drop(index);
  while (client.first_socket != kNoSocket) release(client.first_socket);
  client.is_live = false;
  client.wait = Wait::kNothing;
  client.waits_on = kNoSocket;
  client.steps.shrink_to_fit();
  timers_.clear(index);
  if (client.is_leaving && !std::exchange(client.is_closed, true)) engine_->stay_closed();
}

// ----- turns, steps, checks -----

void ScriptClients::sleep(int64_t ns) {
  const Client& client = clients_[current_];
  if (client.is_leaving && !client.has_message)
    wait_for(Wait::kForEver, std::nullopt);
  else
    wait_for(Wait::kSleep, now_ns() + ns);
}

uint32_t ScriptClients::begin_turns(int64_t period_ns) {
  const int64_t now = now_ns();
  Client& client = clients_[current_];
  if (client.in_turn) end_message(current_, now);
  if (client.loop != 0) end_loop(current_, now);
  has_loops_ = true;
  client.loop = ++loops_;
  client.period_ns = period_ns;
  client.turns = 0;
  client.loop_since_ns = client.since_ns;
  client.next_ns = first_due_ns(client_phase_ns(slot(current_), rhythm_of(period_ns)), period_ns,
                                client.since_ns);
  return client.loop;
}

Result<std::optional<Answer>> ScriptClients::next_turn(uint32_t loop) {
  Client& client = clients_[current_];
  if (client.loop != loop) {
    return make_error(ErrorCode::kUsage,
                      "another loop of client:every has begun since, or this one has ended; such "
                      "loops cannot be in one another");
  }
  const int64_t now = now_ns();
  if (client.in_turn) end_message(current_, now);
  if (client.is_leaving) {
    end_loop(current_, now);
    return std::optional(Answer::of(Answer::Kind::kNil));
  }
  // A moment after the client's time never comes: leave() ends this wait.
  wait_for(Wait::kTurn,
           client.next_ns < leave_ns(current_) ? std::optional(client.next_ns) : std::nullopt);
  return std::optional<Answer>();
}

void ScriptClients::begin_turn(uint32_t index, int64_t now_ns) {
  Client& client = clients_[index];
  // As in the engine, only the last period's moment is done late.
  skip_moments(client, std::min(now_ns - client.period_ns, leave_ns(index)), client.free_ns);
  if (client.next_ns >= leave_ns(index)) {  // leave() ends this wait
    client.wake_ns = std::numeric_limits<int64_t>::max();
    return;
  }
  client.in_turn = true;
  client.is_first_step = true;
  client.turn_ns = client.next_ns;
  client.next_ns += client.period_ns;
  begin_message(index, client.turn_ns, now_ns);
  client.script_ns = std::clamp<int64_t>(now_ns - std::max(client.turn_ns, client.free_ns), 0,
                                         accounts_.script_ns - flush_mark_before_ns_);
  resume(index, Answer::of_turn(++client.turns));
}

/// Nothing is sent at the moments before `until_ns`. Those before `busy_until_ns` found the client
/// with an earlier message.
void ScriptClients::skip_moments(Client& client, int64_t until_ns, int64_t busy_until_ns) {
  const Schedule& schedule = engine_->schedule();
  while (client.next_ns < until_ns) {
    const bool is_blocked = client.next_ns < busy_until_ns;
    int64_t end_ns = is_blocked ? std::min(until_ns, busy_until_ns) : until_ns;
    for (size_t i = 0; i + 1 < schedule.stages.size(); ++i) {
      const int64_t stage_end_ns = schedule.stage_end_ns(i);
      if (stage_end_ns <= client.next_ns) continue;
      end_ns = std::min(end_ns, stage_end_ns);
      break;
    }
    const int64_t times = (end_ns - client.next_ns + client.period_ns - 1) / client.period_ns;
    engine_->ledger().never_sent(client.next_ns, is_blocked, static_cast<uint64_t>(times));
    client.next_ns += times * client.period_ns;
  }
}

void ScriptClients::end_loop(uint32_t index, int64_t now_ns) {
  Client& client = clients_[index];
  const int64_t end_ns = std::min(now_ns, leave_ns(index));
  const int64_t phase_ns = client_phase_ns(slot(index), rhythm_of(client.period_ns));
  planned_ += count_due(phase_ns, client.period_ns, client.loop_since_ns,
                        std::max(end_ns, client.loop_since_ns));
  // A turn that began for a moment after the end was one more.
  if (client.turns > 0 && client.turn_ns >= end_ns)
    planned_ += count_due(phase_ns, client.period_ns, end_ns, client.turn_ns + 1);
  skip_moments(client, end_ns, client.free_ns);
  client.loop = 0;
  client.since_ns = now_ns;
}

void ScriptClients::begin_message(uint32_t index, int64_t intended_ns, int64_t now_ns) {
  Client& client = clients_[index];
  client.has_message = true;
  client.has_failed = client.has_failed_check = false;
  client.reason.clear();
  client.begun_ns = now_ns;
  client.script_ns = 0;
  client.number = engine_->ledger().sent(index, intended_ns, now_ns, client.free_ns);
}

void ScriptClients::end_message(uint32_t index, int64_t now_ns) {
  Client& client = clients_[index];
  CHECK(client.steps.empty());
  Ledger& ledger = engine_->ledger();
  if (client.has_failed) {
    ledger.lose(client.number);
    ++count_of(accounts_.failures, client.reason);
  } else {
    if (client.has_failed_check) ledger.error_answer(client.number);
    ledger.reply(index, client.number, client.begun_ns, now_ns);
  }
  if (is_running_) client.script_ns += take_script_ns();
  accounts_.script_delay.record(static_cast<uint64_t>(client.script_ns));
  if (client.script_ns > options().late_after_ns) ++accounts_.script_late;
  client.has_message = client.in_turn = false;
  client.free_ns = now_ns;
}

Result<bool> ScriptClients::begin_step(std::string_view name) {
  Client& client = clients_[current_];
  if (name.empty() || name.size() > kMostNameBytes)
    return make_error(ErrorCode::kUsage,
                      fmt::format("a step's name has 1 to {} bytes", kMostNameBytes));
  if (client.steps.size() == kMostDepth)
    return make_error(ErrorCode::kUsage,
                      fmt::format("there are more than {} steps in one another", kMostDepth));
  const int64_t now = now_ns();
  if (!client.has_message) {
    if (client.is_leaving || wants_stop_) {
      wait_for(Wait::kForEver, std::nullopt);
      return false;
    }
    (void)take_script_ns();
    begin_message(current_, now, now);
    ++steps_outside_;
    ++planned_;
  }
  const bool is_first = client.in_turn && std::exchange(client.is_first_step, false);
  const auto open = book_->begin(plain_name(name), is_first ? client.turn_ns : now, now);
  if (!open) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("a load has at most {} steps; names with numbers or "
                                  "random parts make too many",
                                  StepBook::kMostNames));
  }
  client.steps.push_back(*open);
  return true;
}

void ScriptClients::end_step(bool has_failed) {
  Client& client = clients_[current_];
  if (client.steps.empty()) return;
  if (has_failed) fail("the script failed");
  const int64_t now = now_ns();
  book_->end(client.steps.back(), now);
  client.steps.pop_back();
  if (client.steps.empty() && !client.in_turn) end_message(current_, now);
}

void ScriptClients::fail_message(uint32_t index, std::string_view reason) {
  Client& client = clients_[index];
  for (OpenStep& step : client.steps) step.has_failed = true;
  if (!client.has_message) return;
  if (!std::exchange(client.has_failed, true)) client.reason = reason;
}

void ScriptClients::fail(std::string_view reason) {
  if (!clients_[current_].has_message) ++count_of(accounts_.outside_failures, reason);
  fail_message(current_, reason);
}

Answer ScriptClients::fail_with(std::string_view reason) {
  reason_ = reason;  // the answer is read after a text of the caller may have gone
  fail(reason_);
  return Answer::failure(reason_);
}

Status ScriptClients::check(std::string_view name, bool passed) {
  if (name.empty() || name.size() > kMostNameBytes)
    return make_error(ErrorCode::kUsage,
                      fmt::format("a check's name has 1 to {} bytes", kMostNameBytes));
  if (!book_->check(plain_name(name), passed))
    return make_error(ErrorCode::kUsage,
                      fmt::format("a load has at most {} checks; names with numbers or random "
                                  "parts make too many",
                                  StepBook::kMostNames));
  if (passed) return {};
  Client& client = clients_[current_];
  for (OpenStep& step : client.steps) step.has_failed_check = true;
  client.has_failed_check = true;
  return {};
}

void ScriptClients::printed(std::string_view line) {
  if (printed_lines_++ >= kMostPrintedLines) return;
  fmt::print(stderr, "{}\n", sanitize_for_terminal(line.substr(0, kMostPrintedBytes)));
  if (printed_lines_ == kMostPrintedLines)
    fmt::print(stderr, "topspin: the script has printed {} lines; no more are shown\n",
               kMostPrintedLines);
}

// ----- sockets -----

Result<uint32_t> ScriptClients::open_socket(std::string_view address, bool datagrams, bool keeps) {
  const Target* target = &engine_->target();
  if (!address.empty() && address != target->text && address != target->address.text()) {
    auto other = others_.find(address);
    if (other == others_.end()) {
      if (options().script_allowed.empty())
        return make_error(ErrorCode::kUsage,
                          fmt::format("{} is not the target; --allow names other addresses that "
                                      "a script may use",
                                      address));
      // A name would have to be resolved, which blocks.
      TOPSPIN_ASSIGN(SocketAddress numeric, parse_socket_address(std::string(address)));
      const auto& allowed = options().script_allowed;
      if (std::none_of(allowed.begin(), allowed.end(),
                       [&](const AddressPrefix& prefix) { return prefix.contains(numeric); }))
        return make_error(ErrorCode::kUsage,
                          fmt::format("{} is none of the addresses of --allow", address));
      if (others_.size() == kMostReasons)
        return make_error(ErrorCode::kUsage,
                          fmt::format("a script uses at most {} addresses", kMostReasons));
      Target made;
      made.text = address;
      made.address = numeric;
      made.family = numeric.storage.ss_family;
      other = others_.emplace(std::string(address), std::move(made)).first;
    }
    target = &other->second;
  }
  TOPSPIN_ASSIGN(const uint32_t index, take_socket(*target));
  sockets_[index].is_datagrams = datagrams;
  sockets_[index].keeps = keeps;
  return index;
}

Result<uint32_t> ScriptClients::take_socket(const Target& target) {
  Client& client = clients_[current_];
  if (client.sockets == kMostSockets)
    return make_error(ErrorCode::kUsage,
                      fmt::format("a client has at most {} sockets; close those that are not used",
                                  kMostSockets));
  uint32_t index = 0;
  if (free_sockets_.empty()) {
    index = static_cast<uint32_t>(sockets_.size());
    sockets_.emplace_back();
  } else {
    index = free_sockets_.back();
    free_sockets_.pop_back();
    const uint32_t generation = sockets_[index].generation;
    sockets_[index] = {};
    sockets_[index].generation = generation;
  }
  Socket& socket = sockets_[index];
  socket.client = current_;
  socket.target = &target;
  socket.next = std::exchange(client.first_socket, index);
  ++client.sockets;
  return index;
}

bool ScriptClients::is_own(uint32_t socket, uint32_t generation) const {
  return socket < sockets_.size() && sockets_[socket].generation == generation &&
         sockets_[socket].client == current_ && clients_[current_].is_live;
}

bool ScriptClients::is_open(uint32_t socket) const { return sockets_[socket].is_open; }

void ScriptClients::close_socket(uint32_t index) {
  Socket& socket = sockets_[index];
  if (!socket.is_open) return;
  socket.is_open = socket.is_connected = false;
  socket.fd.reset();
  socket.http.reset();
  // `response` stays, because an answer may point into it.
  socket.inbox = {};
  socket.outbox = {};
  engine_->count_descriptors(-1);
}

void ScriptClients::release(uint32_t index) {
  close_socket(index);
  Client& client = clients_[sockets_[index].client];
  uint32_t* link = &client.first_socket;
  while (*link != index) link = &sockets_[*link].next;
  *link = sockets_[index].next;
  --client.sockets;
  ++sockets_[index].generation;  // the script's object of it is no longer its own
  free_sockets_.push_back(index);
}

void ScriptClients::forget(uint32_t index, uint32_t generation) {
  if (index < sockets_.size() && sockets_[index].generation == generation) release(index);
}

/// Opens the descriptor, and connects it or begins to. Returns errno, or 0.
int ScriptClients::open_descriptor(Socket& socket) {
  const Target& target = *socket.target;
  const auto source = rotates_ && target.can_spread ? sources_.next() : std::nullopt;
  if (!socket.is_datagrams) {
    TcpBeginning begun = begin_connect(target, source);
    if (begun.local_errno != 0) return begun.local_errno;
    socket.fd = std::move(begun.fd);
    return begun.remote_errno;
  }
  UniqueFd fd(::socket(target.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  if (rotates_ && target.can_spread) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(spread_address(slot(socket.client) / kPortsPerSource));
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      return errno;
  }
  if (::connect(fd.get(), target.address.get(), target.address.length) != 0) return errno;
  socket.fd = std::move(fd);
  return 0;
}

std::optional<Answer> ScriptClients::connect(uint32_t index, int64_t timeout_ns) {
  const OperationTime time(*this);
  Socket& socket = sockets_[index];
  socket.begun_ns = now_ns();
  int number = open_descriptor(socket);
  // The ports of the first source address are used up.
  if ((number == EADDRNOTAVAIL || number == EAGAIN) && !rotates_ && socket.target->can_spread) {
    rotates_ = true;
    number = open_descriptor(socket);
  }
  if (number == 0) {
    number = engine_->watch(
        socket.fd.get(), socket.is_datagrams ? EPOLLIN | EPOLLET : kStreamEvents, token_of(index));
  }
  if (number != 0) {
    socket.fd.reset();
    const Answer failed = fail_socket(index, number);
    release(index);
    return answer_later(Answer::of_socket(index, failed.text));
  }
  engine_->count_descriptors(1);
  socket.is_open = true;
  if (socket.is_datagrams) {
    socket.is_connected = true;
    return Answer::of_socket(index);
  }
  wait_for(Wait::kConnect, socket.begun_ns + timeout_ns, index);
  return std::nullopt;
}

Answer ScriptClients::connected(uint32_t index) {
  Socket& socket = sockets_[index];
  if (const int number = take_socket_error(socket.fd.get()); number != 0) {
    const Answer failed = fail_socket(index, number);
    release(index);
    return Answer::of_socket(index, failed.text);
  }
  socket.is_connected = true;
  connect_latency_.record(static_cast<uint64_t>(std::max<int64_t>(0, now_ns() - socket.begun_ns)));
  return Answer::of_socket(index);
}

/// Counts the failure. A connection is then closed.
Answer ScriptClients::fail_socket(uint32_t index, int number) {
  Socket& socket = sockets_[index];
  if (is_local_failure(number)) {
    ++accounts_.local_errors;
    engine_->count_error(number);
  }
  if (socket.is_datagrams && number == ECONNREFUSED) ++port_unreachable_;
  if (!socket.is_datagrams) close_socket(index);
  return fail_with(failure_name(number));
}

/// What came before a datagram is sent does not answer it: it is late, or a second answer.
void ScriptClients::drain(uint32_t index) {
  Socket& socket = sockets_[index];
  for (int i = 0; i < 1000; ++i) {
    const ssize_t got = recv(socket.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0) return;
    bytes_received_ += static_cast<uint64_t>(got);
    engine_->ledger().unexpected(now_ns());
  }
}

std::optional<Answer> ScriptClients::send(uint32_t index, std::string_view bytes) {
  const OperationTime time(*this);
  Socket& socket = sockets_[index];
  if (!socket.is_open || !socket.is_connected) return not_connected();
  if (!socket.is_datagrams) {
    socket.outbox.assign(bytes);
    return send_rest(index);
  }
  if (!socket.keeps) drain(index);
  ssize_t sent = ::send(socket.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno == ECONNREFUSED) {  // of an earlier datagram; this one was not sent
    ++port_unreachable_;
    sent = ::send(socket.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  if (sent < 0) return fail_socket(index, errno);
  ++accounts_.messages_sent;
  accounts_.bytes_sent += static_cast<uint64_t>(sent);
  return Answer::of(Answer::Kind::kTrue);
}

std::optional<Answer> ScriptClients::send_rest(uint32_t index) {
  Socket& socket = sockets_[index];
  while (!socket.outbox.empty()) {
    const ssize_t sent = ::send(socket.fd.get(), socket.outbox.data(), socket.outbox.size(),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
      if (clients_[current_].wait == Wait::kNothing)
        wait_for(Wait::kSend, now_ns() + options().timeout_ns, index);
      return std::nullopt;
    }
    if (sent < 0) return fail_socket(index, errno);
    accounts_.bytes_sent += static_cast<uint64_t>(sent);
    socket.outbox.erase(0, static_cast<size_t>(sent));
  }
  ++accounts_.messages_sent;
  return Answer::of(Answer::Kind::kTrue);
}

std::optional<Answer> ScriptClients::receive(uint32_t index, ReceiveWish wish) {
  const OperationTime time(*this);
  Socket& socket = sockets_[index];
  if (!socket.is_open || !socket.is_connected) return not_connected();
  socket.wish = std::move(wish);
  socket.searched = 0;
  if (socket.wish.until == ReceiveWish::Until::kHttp) {
    if (socket.is_datagrams) return fail_with("not HTTP");
    if (!http_) http_.emplace();
    if (!socket.response) socket.response = std::make_unique<HttpResponse>(socket.wish.keep);
    socket.response->reset(socket.wish.is_head);
  }
  const int64_t now = now_ns();
  clients_[current_].deadline_ns = now + socket.wish.timeout_ns;
  if (++received_in_run_ > kReceivesPerRun) {
    wait_for(Wait::kReceive, now, index);
    return std::nullopt;
  }
  if (auto answer = try_receive(index)) return answer;
  wait_for(Wait::kReceive, clients_[current_].deadline_ns, index);
  return std::nullopt;
}

std::optional<Answer> ScriptClients::receive_datagram(uint32_t index) {
  Socket& socket = sockets_[index];
  const ssize_t got = recv(socket.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return std::nullopt;
  if (got < 0) return fail_socket(index, errno);
  ++accounts_.messages_received;
  bytes_received_ += static_cast<uint64_t>(got);
  return Answer::of(Answer::Kind::kText, {buffer_.data(), static_cast<size_t>(got)});
}

std::optional<Answer> ScriptClients::take_from_inbox(Socket& socket) {
  const ReceiveWish& wish = socket.wish;
  size_t length = 0, behind = 0;
  switch (wish.until) {
    case ReceiveWish::Until::kHttp: return take_response(socket, false);
    case ReceiveWish::Until::kEnd: break;
    case ReceiveWish::Until::kAny:
      length = behind = socket.inbox.size();
      if (wish.bytes != 0) length = behind = std::min(length, wish.bytes);
      break;
    case ReceiveWish::Until::kBytes:
      if (socket.inbox.size() >= wish.bytes) length = behind = wish.bytes;
      break;
    case ReceiveWish::Until::kMark: {
      const size_t at = socket.inbox.find(wish.mark, socket.searched);
      if (at != std::string::npos) {
        length = wish.is_line && at > 0 && socket.inbox[at - 1] == '\r' ? at - 1 : at;
        behind = at + wish.mark.size();
      } else if (socket.inbox.size() >= wish.mark.size()) {
        socket.searched = socket.inbox.size() - wish.mark.size() + 1;
      }
      break;
    }
  }
  if (behind == 0) return std::nullopt;
  taken_.assign(socket.inbox, 0, length);
  socket.inbox.erase(0, behind);
  if (socket.inbox.empty() && socket.inbox.capacity() > 4096) socket.inbox = {};
  ++accounts_.messages_received;
  return Answer::of(Answer::Kind::kText, taken_);
}

std::optional<Answer> ScriptClients::take_response(Socket& socket, bool has_ended) {
  HttpResponse& response = *socket.response;
  if (!socket.inbox.empty()) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(socket.inbox.data());
    const size_t fed = response.feed({bytes, socket.inbox.size()});
    socket.inbox.erase(0, fed);
  }
  if (has_ended) response.end_of_stream();
  if (response.state() == HttpResponse::State::kMalformed) {
    http_->count_malformed(response.head());
    socket.inbox.clear();
    return fail_with("not HTTP");
  }
  if (response.state() != HttpResponse::State::kDone) return std::nullopt;
  Answer answer = http_answered(response.answer());
  answer.kind = Answer::Kind::kRawResponse;
  answer.keeps_alive = response.keep_alive() && !has_ended;
  return answer;
}

std::optional<Answer> ScriptClients::try_receive(uint32_t index) {
  Socket& socket = sockets_[index];
  if (socket.is_datagrams) return receive_datagram(index);
  for (int reads = 0;; ++reads) {
    if (auto answer = take_from_inbox(socket)) return answer;
    if (socket.inbox.size() >= kMostInbox) {
      close_socket(index);
      return fail_with("the answer is too long");
    }
    // A response in HTTP may be endless. Others have their turn.
    if (reads == kReadsPerEvent) {
      engine_->watch_again(socket.fd.get(), kStreamEvents, token_of(index));
      return std::nullopt;
    }
    const ssize_t got =
        recv(socket.fd.get(), buffer_.data(),
             std::min(buffer_.size(), kMostInbox - socket.inbox.size()), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return std::nullopt;
    if (got < 0) return fail_socket(index, errno);
    if (got == 0 && socket.wish.until == ReceiveWish::Until::kHttp) {
      auto answer = take_response(socket, true);
      close_socket(index);
      return answer ? answer : fail_with("truncated");
    }
    if (got == 0 && socket.wish.until == ReceiveWish::Until::kEnd) {
      taken_ = std::move(socket.inbox);
      close_socket(index);
      ++accounts_.messages_received;
      return Answer::of(Answer::Kind::kText, taken_);
    }
    if (got == 0) {
      close_socket(index);
      return fail_with("closed by the server");
    }
    bytes_received_ += static_cast<uint64_t>(got);
    socket.inbox.append(buffer_.data(), static_cast<size_t>(got));
  }
}

// ----- HTTP -----

std::optional<Answer> ScriptClients::request(HttpRequest request, int64_t timeout_ns) {
  const OperationTime time(*this);
  Client& client = clients_[current_];
  if (!http_) http_.emplace();
  if (client.http_socket == kNoSocket) {
    const auto taken = take_socket(engine_->target());
    if (!taken.ok()) return fail_with("too many sockets");
    client.http_socket = *taken;
  }
  const uint32_t index = client.http_socket;
  Socket& socket = sockets_[index];
  socket.prepared = std::make_unique<PreparedHttpRequest>(
      prepare_request(std::move(request), engine_->target().parts.host_header()));
  socket.begun_ns = now_ns();
  if (socket.http && !socket.http->can_begin()) close_socket(index);
  if (!socket.http) {
    auto opening =
        HttpConnection::open(http_server_, rotates_ ? sources_.next() : std::nullopt, nullptr);
    if (opening.local_errno == EADDRNOTAVAIL && !rotates_ && engine_->target().can_spread) {
      rotates_ = true;
      opening = HttpConnection::open(http_server_, sources_.next(), nullptr);
    }
    int number = opening.local_errno != 0 ? opening.local_errno : opening.remote_errno;
    if (number == 0)
      number = engine_->watch(opening.connection->fd(), HttpConnection::kEvents, token_of(index));
    if (number != 0) return answer_later(fail_socket(index, number));
    socket.http = std::move(opening.connection);
    socket.is_open = true;
    engine_->count_descriptors(1);
  }
  ++accounts_.messages_sent;
  accounts_.bytes_sent += socket.prepared->http1.size();
  socket.http->begin(0, *socket.prepared);
  if (auto answer = take_http_events(index)) return answer;
  wait_for(Wait::kHttp, socket.begun_ns + timeout_ns, index);
  return std::nullopt;
}

Answer ScriptClients::http_answered(const HttpAnswer& answer) {
  ++http_->statuses[answer.status];
  http_->body_bytes += answer.body_bytes;
  ++accounts_.messages_received;
  if (is_http_error(answer.status)) {
    Client& client = clients_[current_];
    for (OpenStep& step : client.steps) step.has_failed_check = true;
    client.has_failed_check = true;
  }
  Answer made = Answer::of(Answer::Kind::kResponse);
  made.response = &answer;
  return made;
}

/// What became of the client's request, if it has ended.
std::optional<Answer> ScriptClients::take_http_events(uint32_t index) {
  Socket& socket = sockets_[index];
  HttpConnection& http = *socket.http;
  std::optional<Answer> answer;
  bool has_ended = false;
  while (const auto event = http.next_event()) {
    switch (event->kind) {
      case HttpEvent::Kind::kConnected:
        socket.connected_ns = now_ns();
        connect_latency_.record(
            static_cast<uint64_t>(std::max<int64_t>(0, now_ns() - socket.begun_ns)));
        break;
      case HttpEvent::Kind::kSecured:
        ++tls_->handshakes;
        ++tls_->versions[http.tls_version()];
        tls_->handshake_latency.record(
            static_cast<uint64_t>(std::max<int64_t>(0, now_ns() - socket.connected_ns)));
        break;
      case HttpEvent::Kind::kAnswered: answer = http_answered(*event->answer); break;
      case HttpEvent::Kind::kFailed:
        if (event->failure.is_local()) ++accounts_.local_errors;
        if (event->failure.kind == HttpFailure::Kind::kTls) ++tls_->failed;
        answer = fail_with(count_failure(event->failure, false, *http_, nullptr));
        break;
      case HttpEvent::Kind::kStray: engine_->ledger().unexpected(now_ns()); break;
      case HttpEvent::Kind::kEnded: has_ended = true; break;
    }
  }
  bytes_received_ += http.take_bytes_received();
  if (!has_ended) return answer;
  if (answer && answer->kind == Answer::Kind::kResponse) {
    last_response_ = *answer->response;  // it is the connection's
    answer->response = &last_response_;
  }
  close_socket(index);
  return answer;
}

// ----- the result -----

void ScriptClients::report(LoadResult& result) {
  result.planned = planned_;
  result.has_plan = has_loops_ && steps_outside_ == 0;
  result.closed_loop = !has_loops_ && steps_outside_ > 0;
  result.http = http_;
  result.tls = tls_;
  result.script = accounts_;
  book_->report(*result.script, result.total.end_ns);
  result.script->memory_max_bytes = guest_->memory_max_bytes();
  result.connect_latency = connect_latency_;
  result.bytes_received = bytes_received_;
  result.port_unreachable = port_unreachable_;
}

}  // namespace topspin
