#include "load/engine/ledger.h"

#include <algorithm>
#include <cstdlib>

namespace topspin {
namespace {

// How far a reply's latency may differ from the client's previous reply and still count as similar.
constexpr int64_t kUsualTimes = 4;
constexpr int64_t kUsualOffNs = 5 * kNanosPerMilli;
// If no reply comes for this many timeouts, messages are lost and not late.
constexpr int64_t kTimeoutsLate = 5;

uint64_t non_negative(int64_t ns) { return ns > 0 ? static_cast<uint64_t>(ns) : 0; }

}  // namespace

Ledger::Ledger(const Schedule& schedule, const LedgerSettings& settings) : settings_(settings) {
  static_assert(kMaxStages <= std::numeric_limits<uint16_t>::max());
  clients_.resize(schedule.stays.size());
  parts_.resize(schedule.stages.size());
  for (size_t i = 0; i < parts_.size(); ++i) {
    parts_[i].name = schedule.stages[i].name;
    parts_[i].begin_ns = schedule.stage_begin_ns[i];
    parts_[i].end_ns = schedule.stage_end_ns(i);
    parts_[i].clients_from = schedule.stages[i].from;
    parts_[i].clients_to = schedule.stages[i].to;
  }
  CHECK(!parts_.empty());
}

LoadPart& Ledger::part_at(int64_t time_ns) {
  // The stage that contains the moment; a stage without length contains none. After the end, the
  // last stage.
  const auto after = std::partition_point(
      parts_.begin(), parts_.end(), [&](const LoadPart& part) { return part.end_ns <= time_ns; });
  return after == parts_.end() ? parts_.back() : *after;
}

Ledger::Message* Ledger::find(uint64_t number) {
  return const_cast<Message*>(std::as_const(*this).find(number));
}

const Ledger::Message* Ledger::find(uint64_t number) const {
  if (number >= base_ && number - base_ < messages_.size()) return &messages_[number - base_];
  const auto parked = parked_.find(number);
  return parked == parked_.end() ? nullptr : &parked->second;
}

bool Ledger::is_of(uint32_t client, uint64_t number) const {
  const Message* message = find(number);
  return message != nullptr && message->client == client;
}

uint64_t Ledger::sent(uint32_t client, int64_t intended_ns, int64_t actual_ns, int64_t free_ns) {
  const uint64_t number = next_number();
  LoadPart& part = part_at(intended_ns);
  const int64_t lateness_ns = actual_ns - std::max(intended_ns, free_ns);
  ++part.accounts.scheduled;
  ++part.accounts.sent;
  if (lateness_ns > settings_.late_after_ns) ++part.accounts.sent_late;
  part.own_lateness.record(non_negative(lateness_ns));
  recent_lateness_.record(non_negative(lateness_ns));
  messages_.push_back({intended_ns, actual_ns, kNone, client,
                       static_cast<uint16_t>(&part - parts_.data()), State::kOutstanding});
  Client& chain = clients_[client];
  if (Message* last = chain.last == kNone ? nullptr : find(chain.last); last != nullptr) {
    last->next_of_client = number;
  }
  if (chain.first == kNone) chain.first = number;
  chain.last = number;
  ++chain.outstanding;
  return number;
}

void Ledger::send_failed(int64_t intended_ns) {
  LoadAccounts& accounts = part_at(intended_ns).accounts;
  ++accounts.scheduled;
  ++accounts.send_errors;
}

void Ledger::never_sent(int64_t intended_ns, bool blocked, uint64_t times) {
  LoadAccounts& accounts = part_at(intended_ns).accounts;
  accounts.scheduled += times;
  accounts.never_scheduled += times;
  if (blocked) accounts.blocked += times;
}

void Ledger::answer(Message& message, int64_t now_ns) {
  LoadPart& part = parts_[message.part];
  if (message.state == State::kOutstanding) {
    ++part.accounts.replied;
    --clients_[message.client].outstanding;
  } else {
    ++part.accounts.late_replies;
  }
  message.state = State::kAnswered;
  part.latency_intended.record(non_negative(now_ns - message.intended_ns));
  part.latency_actual.record(non_negative(now_ns - message.actual_ns));
  recent_latency_.record(non_negative(now_ns - message.intended_ns));
}

void Ledger::give_up(Message& message) {
  if (message.state == State::kOutstanding) --clients_[message.client].outstanding;
  message.state = State::kLost;
  LoadPart& part = parts_[message.part];
  ++part.accounts.lost;
  // Record the timeout and not the actual wait, which depends on when the client left.
  part.latency_actual.record(non_negative(settings_.timeout_ns));
  part.latency_intended.record(
      non_negative(settings_.timeout_ns + message.actual_ns - message.intended_ns));
}

Match Ledger::reply(uint32_t client, uint64_t number, int64_t actual_ns, int64_t now_ns) {
  Message* message = find(number);
  if (message == nullptr || message->client != client || message->actual_ns != actual_ns) {
    unexpected(now_ns);
    return Match::kUnexpected;
  }
  switch (message->state) {
    case State::kOutstanding: answer(*message, now_ns); return Match::kReply;
    case State::kOverdue:
      answer(*message, now_ns);
      unpark(number);
      return Match::kLateReply;
    case State::kAnswered: ++parts_[message->part].accounts.duplicates; return Match::kDuplicate;
    case State::kLost: break;  // its client has closed, or the message was given up
  }
  unexpected(now_ns);
  return Match::kUnexpected;
}

Match Ledger::reply_unnumbered(uint32_t client, int64_t now_ns) {
  Client& chain = clients_[client];
  const Message* last = chain.last == kNone ? nullptr : find(chain.last);
  if (last == nullptr) {
    unexpected(now_ns);
    return Match::kUnexpected;
  }
  const auto number = choose_unanswered(chain, now_ns);
  if (!number) {
    ++parts_[last->part].accounts.duplicates;
    return Match::kDuplicate;
  }
  Message& message = *find(*number);
  const Match match = message.state == State::kOutstanding ? Match::kReply : Match::kLateReply;
  const int64_t latency_ns = now_ns - message.actual_ns;
  const Message* next = message.next_of_client == kNone ? nullptr : find(message.next_of_client);
  chain.steady_late =
      latency_ns > settings_.timeout_ns && chain.usual_ns && next != nullptr &&
      std::abs(latency_ns - *chain.usual_ns) <= (next->actual_ns - message.actual_ns) / 2;
  chain.usual_ns = latency_ns;
  chain.answered = std::max(chain.answered, *number + 1);
  answer(message, now_ns);
  unpark(*number);
  return match;
}

/// The message to which an answer without a number belongs; nullopt if all are answered.
std::optional<uint64_t> Ledger::choose_unanswered(const Client& chain, int64_t now_ns) const {
  std::optional<uint64_t> oldest, in_time, like_usual;
  int64_t oldest_ns = 0, least_off = 0;
  if (chain.usual_ns) least_off = *chain.usual_ns * (kUsualTimes - 1) + kUsualOffNs;
  const Message *before = nullptr, *last = nullptr;
  for (uint64_t number = chain.first; number != kNone; number = last->next_of_client) {
    before = std::exchange(last, find(number));
    CHECK(last != nullptr);
    const bool is_passed_over = last->state == State::kOverdue && number < chain.answered;
    const bool is_open = last->state == State::kOutstanding || last->state == State::kOverdue;
    if (!is_open || is_passed_over) continue;
    if (!oldest) {
      oldest = number;
      oldest_ns = now_ns - last->actual_ns;
    }
    if (!in_time && last->state == State::kOutstanding) in_time = number;
    if (!chain.usual_ns) continue;
    const int64_t off = std::abs(now_ns - last->actual_ns - *chain.usual_ns);
    if (off > least_off) continue;
    least_off = off;
    like_usual = number;
  }
  if (!oldest) return std::nullopt;
  if (oldest_ns <= settings_.timeout_ns) return like_usual ? like_usual : oldest;
  if (like_usual && (*chain.usual_ns <= settings_.timeout_ns || chain.steady_late))
    return like_usual;
  const bool is_prompt = last->state == State::kOutstanding && before != nullptr &&
                         now_ns - last->actual_ns <= (last->actual_ns - before->actual_ns) / 8;
  if (is_prompt) return chain.last;
  if (like_usual) return like_usual;
  return oldest_ns <= settings_.timeout_ns * kTimeoutsLate ? oldest : in_time.value_or(chain.last);
}

void Ledger::unpark(uint64_t number) {
  const auto parked = parked_.find(number);
  if (parked == parked_.end()) return;
  clients_[parked->second.client] = {};  // a parked message is the whole chain of its client
  parked_.erase(parked);
}

void Ledger::unexpected(int64_t now_ns) { ++part_at(now_ns).accounts.unexpected; }

void Ledger::error_answer(uint64_t number) {
  const Message* message = find(number);
  CHECK(message != nullptr);
  ++parts_[message->part].accounts.http_errors;
}

void Ledger::lose(uint64_t number) {
  Message* message = find(number);
  CHECK(message != nullptr && message->state != State::kAnswered && message->state != State::kLost);
  give_up(*message);
  unpark(number);
}

void Ledger::close(uint32_t client) {
  bool dead = false;
  for (uint64_t number = clients_[client].first; number != kNone;) {
    Message* message = find(number);
    CHECK(message != nullptr);
    if (message->state == State::kOutstanding || message->state == State::kOverdue) {
      if (settings_.closed_loop && !dead) {
        dead = true;
        ++parts_[message->part].accounts.dead_clients;
      }
      give_up(*message);
    }
    number = message->next_of_client;
  }
}

std::optional<int64_t> Ledger::next_expiry_ns() const {
  for (expiry_cursor_ = std::max(expiry_cursor_, base_); expiry_cursor_ < next_number();
       ++expiry_cursor_) {
    const Message& message = messages_[expiry_cursor_ - base_];
    if (message.state == State::kOutstanding) return message.actual_ns + settings_.timeout_ns;
  }
  return std::nullopt;
}

bool Ledger::next_overdue(int64_t now_ns, std::pair<uint32_t, uint64_t>& overdue) {
  const auto at_ns = next_expiry_ns();
  if (!at_ns || *at_ns > now_ns) return false;
  Message& message = messages_[expiry_cursor_ - base_];
  message.state = State::kOverdue;
  --clients_[message.client].outstanding;
  overdue = {message.client, expiry_cursor_};
  return true;
}

void Ledger::pop_front() {
  const Message& front = messages_.front();
  Client& chain = clients_[front.client];
  CHECK(chain.first == base_);  // chains are in the order of numbers
  chain.first = front.next_of_client;
  if (chain.first == kNone) chain.last = kNone;
  messages_.pop_front();
  ++base_;
}

void Ledger::forget(int64_t now_ns) {
  while (!messages_.empty()) {
    Message& front = messages_.front();
    if (front.state == State::kOutstanding) return;
    if (now_ns - front.actual_ns < settings_.timeout_ns + settings_.late_window_ns &&
        settings_.late_window_ns > 0) {
      return;
    }
    if (front.state == State::kOverdue) {
      if (settings_.closed_loop) {
        // The client is parked. It has sent nothing since, so this message is its whole chain.
        CHECK(front.next_of_client == kNone);
        parked_.emplace(base_, front);
        messages_.pop_front();
        ++base_;
        continue;
      }
      if (settings_.late_window_ns == 0) return;  // TCP: its connection is about to be closed
      give_up(front);
    }
    pop_front();
  }
}

LoadAccounts Ledger::total_accounts() const {
  LoadAccounts total;
  for (const LoadPart& part : parts_) total.merge(part.accounts);
  for (const LoadPart& part : taken_) total.merge(part.accounts);
  return total;
}

std::vector<LoadPart> Ledger::whole_parts() const {
  std::vector<LoadPart> whole = parts_;
  for (size_t i = 0; i < taken_.size(); ++i) whole[i].merge(taken_[i]);
  return whole;
}

std::vector<std::pair<uint32_t, LoadPart>> Ledger::take_parts() {
  taken_.resize(parts_.size());
  std::vector<std::pair<uint32_t, LoadPart>> taken;
  for (size_t i = 0; i < parts_.size(); ++i) {
    LoadPart& part = parts_[i];
    if (part.accounts == LoadAccounts{}) continue;
    taken_[i].merge(part);
    taken.emplace_back(static_cast<uint32_t>(i), part);
    part.accounts = {};
    part.latency_intended.clear();
    part.latency_actual.clear();
    part.own_lateness.clear();
  }
  return taken;
}

std::pair<Histogram, Histogram> Ledger::take_recent() {
  std::pair<Histogram, Histogram> taken{std::move(recent_latency_), std::move(recent_lateness_)};
  recent_latency_ = {};
  recent_lateness_ = {};
  return taken;
}

}  // namespace topspin
