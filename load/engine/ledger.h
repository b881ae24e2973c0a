// Ledger: follows every message from its sending to its end, and keeps each stage's accounts. Pure.
//
// Messages have consecutive numbers in the order in which they were sent. A message is first
// outstanding. Then it is answered, or it becomes overdue when the timeout has passed. An overdue
// message can still be answered (late) until it is lost: when its client closes, or kLateWindow
// after the timeout. Answered messages are remembered for the same time, so that a second answer is
// recognised as a duplicate.
//
// An answer that carries its message's number is matched exactly. Any other answer belongs to the
// unanswered message that has waited about as long as the client's last answer took (up to 4 times
// that and 5 ms), or else to the oldest one. If the oldest one is overdue, it is lost or the server
// is slow. In that case, an answer that comes within an eighth of the preceding gap after the
// youngest message was sent belongs to the youngest one, unless all answers are late by
// the same time.
// Overdue messages are lost if a later one was answered. If no message is unanswered, the answer is
// a duplicate. The capture has the same rules (docs/capture.md), so both give the same counts. Only
// numbers can distinguish a loss that is followed by a duplicate.
//
// Memory: 32 bytes per message for timeout + late window, and 48 bytes per client. One thread.
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

  // The fate of a moment of the schedule. Call exactly one of these three for each.
  /// Enters a message and returns its number. `free_ns` is the time since when no earlier message
  /// of the client has blocked it. The generator's own lateness counts from then, or from the
  /// intended moment if that is later. So a server that answers late, or never, does not make the
  /// generator late.
  uint64_t sent(uint32_t client, int64_t intended_ns, int64_t actual_ns, int64_t free_ns = 0);
  void send_failed(int64_t intended_ns);
  void never_sent(int64_t intended_ns, bool blocked, uint64_t times = 1);

  /// The number that the next sent() will return.
  uint64_t next_number() const { return base_ + messages_.size(); }

  /// An answer with a number and the time of sending that it brought back.
  Match reply(uint32_t client, uint64_t number, int64_t actual_ns, int64_t now_ns);
  Match reply_unnumbered(uint32_t client, int64_t now_ns);
  /// Bytes that were no answer.
  void unexpected(int64_t now_ns);

  /// The next answer is an error of the server.
  void error_answer(uint64_t number);

  /// TCP: the message failed and will not be answered.
  void lose(uint64_t number);

  /// Whether the client has messages that are neither answered nor overdue.
  bool waiting(uint32_t client) const { return clients_[client].outstanding > 0; }
  /// Whether the message is remembered and belongs to this client.
  bool is_of(uint32_t client, uint64_t number) const;

  /// The client gets no more answers: the messages that it still waits for are lost. A lost message
  /// enters the latencies as if it had been answered at its timeout, which is the least possible
  /// value.
  void close(uint32_t client);

  /// The first moment at which expire() has something to do.
  std::optional<int64_t> next_expiry_ns() const;

  /// Makes messages overdue that have been outstanding for the timeout, and calls
  /// on_overdue(client, number) for each; that may call close() and lose(). Forgets messages that
  /// are older than the window.
  template <typename OnOverdue>
  void expire(int64_t now_ns, const OnOverdue& on_overdue) {
    std::pair<uint32_t, uint64_t> overdue;
    while (next_overdue(now_ns, overdue)) on_overdue(overdue.first, overdue.second);
    forget(now_ns);
  }

  /// Clients were added behind the others.
  void add_clients(size_t count) { clients_.resize(clients_.size() + count); }

  /// The accounts of each stage, without what take_parts() took.
  const std::vector<LoadPart>& parts() const { return parts_; }
  /// Since the load began.
  std::vector<LoadPart> whole_parts() const;
  /// What was counted since the last call, of stages in which something was; by their positions.
  std::vector<std::pair<uint32_t, LoadPart>> take_parts();
  LoadAccounts total_accounts() const;

  /// The histograms since the last call: latency of replies (intended) and own lateness.
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
    // For answers without numbers.
    bool steady_late = false;         // the last one was late, and as late as the one before
    uint64_t answered = 0;            // 1 + the number of the youngest answered message
    std::optional<int64_t> usual_ns;  // latency of the last answer
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
  std::vector<LoadPart> taken_;  // empty, or what take_parts() took of each stage
  std::vector<Client> clients_;
  std::deque<Message> messages_;  // number = base_ + index
  uint64_t base_ = 0;
  mutable uint64_t expiry_cursor_ = 0;            // all messages before it have been checked
  std::unordered_map<uint64_t, Message> parked_;  // closed loop: still waited for after the window
  Histogram recent_latency_;
  Histogram recent_lateness_;
};

}  // namespace topspin
