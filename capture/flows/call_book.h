// CallBook knows which flows of a table are calls of the subject, and keeps the counts of calls.
//
// SubjectParts decides the side of a flow when its initiator first sends payload, or when its
// connection fails. While the answer is unsure, the flow counts as a flow of others, and the book
// asks again at the end of each interval. What such a flow counted before it turned out to be a
// call, or before it left undecided, is a loss and is counted as one.
//
// Time integrals: two SlidingCounts hold how many requests to the subject, and how many calls, are
// pending. Whenever time moves on, the elapsed time is added up. Requests whose timeout has passed
// leave the SlidingCount on their own, to within one bucket (1 ms).
//
// Without SubjectParts the book is off: every flow is a flow of others, and the cost is one test.
// One byte per flow. Owned by FlowTable, on the capture thread.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "capture/flows/mapped_array.h"
#include "capture/flows/sliding_count.h"
#include "core/base/result.h"
#include "core/flow/calls.h"
#include "core/flow/flow.h"

namespace topspin {

class CallBook {
 public:
  /// `parts` may be nullptr. `empty` is an interval in which nothing was seen.
  static Result<CallBook> create(SubjectParts* parts, uint64_t max_flows, int64_t timeout_ns,
                                 const FlowInterval& empty);

  bool is_on() const { return parts_ != nullptr; }
  bool is_call(uint32_t slot) const { return is_on() && sides_[slot] >= kFirstCall; }
  bool is_unasked(uint32_t slot) const { return is_on() && sides_[slot] == kUnasked; }

  /// Where the requests and replies of calls are counted.
  FlowInterval& account() { return interval_; }
  /// How many calls were wrongly counted in `requests`, perhaps of an earlier interval.
  uint64_t& no_requests() { return no_requests_; }
  /// Where the pending requests of a flow are marked; `others` if the subject is on neither side.
  SlidingCount& marks(uint32_t slot, SlidingCount& others) {
    if (!is_on() || sides_[slot] < kServed) return others;
    return sides_[slot] == kServed ? served_ : calls_;
  }

  /// The slot has a new flow, or a new connection on the same ends.
  void begin_flow(uint32_t slot);
  /// The flow in the slot leaves, or its initiator turned out to be the other end.
  void end_flow(uint32_t slot);
  /// Asks for the flow's side.
  void ask(uint32_t slot, const FlowKey& flow, bool initiator_is_low);
  /// Flows whose side is unsure, in any order.
  std::vector<uint32_t> unsure() const;
  /// The run ends: flows that are unsure stay undecided.
  void finish();

  /// Moves time on. Returns how many requests to the subject timed out.
  uint64_t advance(int64_t from_ns, int64_t to_ns) {
    if (!is_on()) return 0;
    return move_time(from_ns, to_ns);
  }

  // Events of requests. All but the first are ignored unless the flow is a call.
  void count_request(uint32_t slot);
  void uncount_request(uint32_t slot);
  void note_reply(uint32_t slot, int64_t latency_ns, bool is_late);
  void note_given_up(uint32_t slot, int64_t timeout_ns, bool is_reset);
  void note_http_error(uint32_t slot);
  /// A connection was refused, or never completed. Counts as undecided if its side is not known.
  void note_refused(uint32_t slot);
  void note_never_completed(uint32_t slot);

  /// A request with this stamp was marked / its reply came and the mark was removed.
  void note_marked(uint32_t slot, int64_t stamp_ns);
  void note_unmarked(uint32_t slot, int64_t stamp_ns, int64_t reply_ns);
  /// Marks changed in another way, so no reply is certain to have been the only one pending.
  void forget_lone() { lone_.reset(); }

  /// Closes the interval; nullopt if the book is off.
  std::optional<CallInterval> take_interval();
  /// Addresses whose rows changed since the last call.
  std::vector<CalledRow> take_changed();

 private:
  enum Side : uint8_t {
    kUnasked,
    kUnsure,
    kUnsureForGood,
    kPerhapsServes,
    kNone,
    kServed,
    kFirstCall
  };
  static constexpr size_t kUnsureMax = 65'536;
  static_assert(kFirstCall + kOtherAddresses <= UINT8_MAX);
  struct Address {
    CalledRow row;
    bool is_changed = false;
  };
  struct LoneReply {
    int64_t request_ns;
    int64_t calling_ns;  // calling_ns_ when the request was marked
  };

  CallBook(SubjectParts* parts, MappedArray<uint8_t> sides, int64_t timeout_ns,
           const FlowInterval& empty);
  uint64_t move_time(int64_t from_ns, int64_t to_ns);
  uint8_t call_side(const FlowKey& flow, bool initiator_is_low);
  void note_unsure(uint32_t slot);
  /// The row of a call's address, for writing.
  CalledRow& row_of(uint32_t slot);

  SubjectParts* parts_;
  MappedArray<uint8_t> sides_;
  std::unordered_map<uint32_t, uint64_t> unsure_;  // by slot: what the flow counted so far
  SlidingCount served_;
  SlidingCount calls_;
  int64_t step_ns_;
  FlowInterval empty_;
  FlowInterval interval_;
  uint64_t no_requests_ = 0;
  uint64_t http_errors_ = 0;
  uint64_t resets_ = 0;
  uint64_t decided_late_ = 0;
  uint64_t undecided_ = 0;
  uint64_t serving_ns_ = 0;
  uint64_t serving_and_calling_ns_ = 0;
  int64_t calling_ns_ = 0;  // time with a call pending, since the start
  std::optional<LoneReply> lone_;
  Histogram lone_calling_;
  uint64_t lone_reply_ns_ = 0;
  std::vector<Address> addresses_;  // by number - 1; at most kOtherAddresses
};

}  // namespace topspin
