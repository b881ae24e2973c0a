// SplitCheck: checks that the split of replies, which probes in the kernel measure, agrees with the
// reply latency, which the capture measures. The two sources are independent, so this is a
// permanent self-check of every run.
//
// Both see the same replies only if all captured replies came from the subject. This is assumed if
// every responder's port belongs to one of the subject's listening or UDP sockets; otherwise
// nothing is compared. If the subject answered, but most replies of the flows at its ports came
// from the other end, the capture has swapped the ends of flows, and the check says so. Pure; one
// thread.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/number/histogram.h"
#include "core/tick/sample.h"

namespace topspin {

/// The sums of both sources for one run.
struct SplitTotals {
  uint64_t wire_replies = 0;  // without requests that were never answered
  uint64_t wire_sum_ns = 0;
  /// The part of wire_sum_ns that the longest replies took: as many replies as segments were sent
  /// again and connections were refused by a full accept queue. Such a request, or its reply, may
  /// have been delayed on the way, and no part of the split includes that.
  uint64_t wire_held_up_ns = 0;
  uint64_t wire_turns = 0;  // handshake_turns and multiplexed_turns
  uint64_t split_replies = 0;
  uint64_t split_sum_ns = 0;  // of all three parts
  uint64_t split_turns = 0;   // replies_multiplexed
};

/// Why the split may be wrong, as a sentence; nullopt if it agrees. REQUIRES: both sources saw the
/// same server.
std::optional<std::string> doubt_of_split(const SplitTotals& totals);

/// Whether a doubt of a stored run is one of these. It concerns only the split; the numbers of the
/// wire, the load and the scheduler are not in doubt.
bool is_doubt_of_split(std::string_view doubt);

class SplitCheck {
 public:
  /// `reply_timeout_ns` is that of the capture, whose reply latency counts a request that is never
  /// answered as this.
  explicit SplitCheck(int64_t reply_timeout_ns)
      : reply_timeout_ns_(static_cast<uint64_t>(std::max<int64_t>(reply_timeout_ns, 0))) {}

  /// The next tick of the run.
  void add(const Sample& sample);
  /// At the end of the run.
  std::optional<std::string> doubt() const;

 private:
  using Ports = std::bitset<65'536>;
  struct Answered {
    uint64_t replies = 0;
    uint16_t initiator_port = 0;
    uint16_t responder_port = 0;
    bool is_tcp = false;
  };
  std::optional<std::string> doubt_of_ends() const;
  struct Sides {
    Ports responders;  // of captured flows that had a reply
    Ports subject;     // of its sockets
  };

  /// The most flows with a reply, by id; a run with more is not checked.
  static constexpr size_t kAnsweredMax = 65'536;
  std::unordered_map<uint64_t, Answered> answered_;
  Sides tcp_;
  Sides udp_;
  bool has_split_ = false;
  bool missed_rows_ = false;
  uint64_t never_came() const;
  uint64_t held_up_ns() const;

  uint64_t reply_timeout_ns_;
  Histogram wire_;        // a reply that never came counts as the timeout
  uint64_t held_up_ = 0;  // retransmitted segments and refused connections
  uint64_t late_replies_ = 0;
  uint64_t unanswered_ = 0;
  SplitTotals totals_;  // all but those of reply latency
};

}  // namespace topspin
