// Calls: the requests that the subject sent to others. A call is a request on a flow that the
// subject opened to somebody else, and the subject waits for its reply. Calls are in none of
// FlowInterval's numbers of requests and replies, which cover the requests that others sent.
// docs/calls.md explains how the two are told apart. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/flow/flow.h"
#include "core/number/histogram.h"
#include "core/number/merge_numbers.h"
#include "core/number/number.h"

namespace topspin {

/// The subject's part in a flow.
enum class SubjectPart : uint8_t {
  kUnknown,        // the subject may have opened it
  kPerhapsServes,  // the subject has not opened it
  kNone,
  kServes,  // the subject is the responder, or both ends
  kCalls,   // the subject is the initiator only
};

/// Finds the subject's part in flows. Called on the capture thread, once for most flows.
class SubjectParts {
 public:
  virtual ~SubjectParts() = default;
  /// `initiator_is_low`: the initiator is the flow's low end. kUnknown and kPerhapsServes may
  /// become certain later, so ask again.
  virtual SubjectPart part_in(const FlowKey& flow, bool initiator_is_low) = 0;
};

/// Absent as a whole if there are no SubjectParts.
struct CallInterval {
  static constexpr std::string_view kProbe = "calls";

  std::optional<Histogram> latency;
  std::optional<uint64_t> requests;
  std::optional<uint64_t> failures;  // the sum of the next three, and of http_errors
  std::optional<uint64_t> unanswered, refused, never_completed;
  std::optional<uint64_t> resets;       // those of `unanswered` whose connection was reset
  std::optional<uint64_t> http_errors;  // answered with a status of 500 or more, in the clear
  std::optional<uint64_t> multiplexed_turns;
  /// The time in which at least one request to the subject was pending, and the part of it in which
  /// at least one call was pending too. A request is pending from its first packet to the first
  /// packet of its reply, but at most for the reply timeout. If several requests are pending at
  /// once, the second is an upper bound for each of them, because a call may belong to another.
  std::optional<uint64_t> serving_ns, serving_and_calling_ns;
  /// The same for lone replies: no other request to the subject was pending at the same time. For
  /// each reply the time in which a call was pending, and the sum of all their latencies.
  std::optional<Histogram> lone_reply_calling;
  std::optional<uint64_t> lone_reply_ns;
  std::optional<uint64_t> hidden_connections;
  std::optional<uint64_t> decided_late, undecided;  // losses

  /// Merges the interval that follows this one.
  void merge(const CallInterval& later) { merge_numbers(*this, later); }

  template <typename Visit>
  static void for_each_number(Visit visit);
};

template <typename Visit>
void CallInterval::for_each_number(Visit visit) {
  using C = CallInterval;
  using N = Number;
  visit(N::distribution("call_latency_ns", "call latency",
                        "From a request that the subject sent to its reply."),
        &C::latency);
  visit(N::count("called_requests", "calls",
                 "Requests that the subject sent on connections that it opened."),
        &C::requests);
  visit(N::count("call_failures", "failed calls",
                 "Calls that were not answered in time or with an HTTP error, and connections of "
                 "the subject that were refused or never completed."),
        &C::failures);
  visit(N::count("calls_unanswered", "calls not answered",
                 "Calls without a reply within the reply timeout, or cut off."),
        &C::unanswered);
  visit(N::count("calls_reset", "calls reset",
                 "Those calls not answered whose connection was reset."),
        &C::resets);
  visit(N::count("calls_refused", "calls refused",
                 "Connections of the subject that were refused: RST segments that answer a SYN."),
        &C::refused);
  visit(N::count("calls_never_completed", "calls never connected",
                 "Connections of the subject whose SYN was never answered."),
        &C::never_completed);
  visit(N::count("call_http_errors", "calls answered with an HTTP error",
                 "Calls answered with an HTTP status of 500 or more, where HTTP is in the clear."),
        &C::http_errors);
  visit(N::count("call_multiplexed_turns", "multiplexed turns of calls",
                 "Turns of called connections that answer in any order, such as HTTP/2; they count "
                 "as no calls."),
        &C::multiplexed_turns);
  visit(N::count("serving_ns", "time with a request pending",
                 "Time in which at least one request to the subject was pending."),
        &C::serving_ns);
  visit(N::count("serving_and_calling_ns", "of it, with a call pending",
                 "The part of serving_ns in which the subject also waited for a call: an upper "
                 "bound of the share of its replies, where several were pending at once."),
        &C::serving_and_calling_ns);
  visit(N::distribution("lone_reply_calling_ns", "lone reply: waiting for calls",
                        "The part of each reply in which a call was pending, of replies during "
                        "which no other request was pending."),
        &C::lone_reply_calling);
  visit(N::count("lone_reply_ns", "latency of these replies",
                 "The sum of the latencies of the replies in lone_reply_calling_ns."),
        &C::lone_reply_ns);
  visit(N::count("hidden_connections", "connections not captured",
                 "Connections of the subject to others that the capture filter hides, or that the "
                 "interface does not carry."),
        &C::hidden_connections);
  visit(N::lost("loss_calls_decided_late", LossKind::kPart,
                "calls that counted as requests of others until the subject's socket was found"),
        &C::decided_late);
  visit(N::lost("loss_requests_undecided", LossKind::kPart,
                "requests that the subject may have sent, which is not known; they count as those "
                "of others"),
        &C::undecided);
}

/// An address that the subject calls. Counts are since the run began.
struct CalledRow {
  uint32_t number = 0;  // within the run, from 1
  uint8_t protocol = 0;
  uint8_t ip_version = 4;
  Endpoint address;  // port 0: all addresses beyond the first kCalledAddresses
  uint64_t requests = 0;
  uint64_t unanswered = 0;
  uint64_t resets = 0;  // included in `unanswered`
  uint64_t refused = 0;
  uint64_t never_completed = 0;
  uint64_t http_errors = 0;
  uint64_t hidden_connections = 0;  // not captured; then all other counts are 0
  bool hidden_by_interface = false;
  Histogram latency;

  uint64_t failures() const { return unanswered + refused + never_completed + http_errors; }
  /// All attempts: calls, and connections that failed.
  uint64_t tries() const { return requests + refused + never_completed; }
};

/// The first kCalledAddresses addresses have a separate row each. Rows of hidden connections are
/// numbered after those.
inline constexpr size_t kCalledAddresses = 64;
inline constexpr uint32_t kOtherAddresses = kCalledAddresses + 1;
inline constexpr uint32_t kFirstHidden = kOtherAddresses + 1;

}  // namespace topspin
