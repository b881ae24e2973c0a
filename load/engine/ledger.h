// Ledger: every message from its sending to its end, and what each stage's accounts say. Pure.
//
// Messages have consecutive numbers in the order they were sent. A message is outstanding, then
// either answered, or overdue once the timeout has passed; an overdue one can still be answered
// (late) until it is given up as lost: when its client closes, or kLateWindow after the timeout.
// Answered messages are remembered for the same window, so that a second answer is known as a
// duplicate.
//
// An answer that carries its message's number is matched exactly. One that does not belongs to the
// unanswered message that has waited about as long as the client's last answer took (up to 4 times
// that and 5 ms), or else to the oldest. If the oldest is overdue, it is lost or the server is
// slow. Then an answer to the youngest within an eighth of the gap before that belongs to the
// youngest, unless answers are late by the same time. Overdue messages of which a later one was
// answered are lost. Without an unanswered message the answer is a duplicate. These are the
// capture's rules (docs/capture.md), so that both tell the same. A loss followed by a duplicate is
// told apart by numbers alone.
//
// Memory: 32 bytes a message for timeout + late window, 48 bytes a client. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "load/engine/schedule.h"
#include "load/load.h"

namespace topspin {

inline constexpr int64_t kLateWindowNs = 5 * kNanosPerSecond;

struct LedgerSettings {
  int64_t timeout_ns = kNanosPerSecond;
  int64_t late_window_ns = kLateWindowNs;  // 0: nothing is late or a duplicate (TCP)
  int64_t late_after_ns = 10 * kNanosPerMilli;
  bool closed_loop = false;  // overdue messages are never given up before their client closes
};

enum class Match : uint8_t { kReply, kLateReply, kDuplicate, kUnexpected };

class Ledger {
 public:
  Ledger(const Schedule& schedule, const LedgerSettings& settings);

  // What became of a moment of the schedule. One of the three for each.
  /// Gives the message's number. `free_ns`: since when the client has had no earlier message in its
  /// way. The generator's own lateness counts from there, or from the intended moment if that came
  /// later: a server that answers late, or never, does not make the generator late.
  uint64_t sent(uint32_t client, int64_t intended_ns, int64_t actual_ns, int64_t free_ns = 0);
  void send_failed(int64_t intended_ns);
  void never_sent(int64_t intended_ns, bool blocked, uint64_t times = 1);

  /// The number that the next sent() will give.
  uint64_t next_number() const { return base_ + messages_.size(); }

  /// An answer with a number, and the moment of sending that came back with it.
  Match reply(uint32_t client, uint64_t number, int64_t actual_ns, int64_t now_ns);
  Match reply_unnumbered(uint32_t client, int64_t now_ns);
  /// Bytes that were no answer at all.
  void unexpected(int64_t now_ns);

  /// The answer that is about to be given says that the server failed.
  void error_answer(uint64_t number);

  /// TCP: the message failed, and will not be answered.
  void lose(uint64_t number);

  /// Whether the client has messages that are neither answered nor overdue.
  bool waiting(uint32_t client) const { return clients_[client].outstanding > 0; }
  /// Whether the message is remembered, and is this client's.
  bool is_of(uint32_t client, uint64_t number) const;

  /// No more will be heard for this client: what it still waits for is lost. A lost message enters
  /// the latencies as if it had been answered at its timeout, the least that is certain.
  void close(uint32_t client);

  /// The first moment at which expire() has something to do.
  std::optional<int64_t> next_expiry_ns() const;

  /// Declares overdue what has been outstanding for the timeout, and calls on_overdue(client,
  /// number) for each (which may call close() and lose()); forgets what is older than the window.
  template <typename OnOverdue>
  void expire(int64_t now_ns, const OnOverdue& on_overdue) {
    std::pair<uint32_t, uint64_t> overdue;
    while (next_overdue(now_ns, overdue)) on_overdue(overdue.first, overdue.second);
    forget(now_ns);
  }

  /// Stage by stage, as it stands.
  const std::vector<LoadPart>& parts() const { return parts_; }
  LoadAccounts total_accounts() const;

  /// The histograms since the last call: of replies (intended) and of own lateness.
  std::pair<Histogram, Histogram> take_recent();

 private:
  static constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
  enum class State : uint8_t { kOutstanding, kOverdue, kAnswered, kLost };
  struct Message {
    int64_t intended_ns;
    int64_t actual_ns;
    uint64_t next_of_client;  // or kNone
    uint32_t client;
    uint16_t part;
    State state;
  };
  struct Client {
    uint64_t first = kNone;  // its oldest remembered message
    uint64_t last = kNone;
    uint32_t outstanding = 0;
    // Of answers without numbers.
    bool steady_late = false;         // the last was late, and as late as the one before
    uint64_t answered = 0;            // 1 + the number of the youngest that is answered
    std::optional<int64_t> usual_ns;  // latency of the last
  };

  LoadPart& part_at(int64_t time_ns);
  Message* find(uint64_t number);
  const Message* find(uint64_t number) const;
  bool next_overdue(int64_t now_ns, std::pair<uint32_t, uint64_t>& overdue);
  void forget(int64_t now_ns);
  void pop_front();
  void answer(Message& message, int64_t now_ns);
  void give_up(Message& message);
  void unpark(uint64_t number);
  std::optional<uint64_t> choose_unanswered(const Client& chain, int64_t now_ns) const;

  LedgerSettings settings_;
  std::vector<LoadPart> parts_;
  std::vector<Client> clients_;
  std::deque<Message> messages_;  // number = base_ + index
  uint64_t base_ = 0;
  mutable uint64_t expiry_cursor_ = 0;            // all before it have been looked at
  std::unordered_map<uint64_t, Message> parked_;  // closed loop: waited for beyond the window
  Histogram recent_latency_;
  Histogram recent_lateness_;
};

}  // namespace topspin
