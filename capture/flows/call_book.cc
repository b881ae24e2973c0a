#include "capture/flows/call_book.h"

#include <algorithm>
#include <utility>

namespace topspin {

Result<CallBook> CallBook::create(SubjectParts* parts, uint64_t max_flows, int64_t timeout_ns,
                                  const FlowInterval& empty) {
  MappedArray<uint8_t> sides;
  if (parts != nullptr) {
    TOPSPIN_ASSIGN(sides, MappedArray<uint8_t>::create(max_flows));
  }
  return CallBook(parts, std::move(sides), timeout_ns, empty);
}

CallBook::CallBook(SubjectParts* parts, MappedArray<uint8_t> sides, int64_t timeout_ns,
                   const FlowInterval& empty)
    : parts_(parts),
      sides_(std::move(sides)),
      served_(parts != nullptr ? timeout_ns : 1, 1),
      calls_(parts != nullptr ? timeout_ns : 1, 1),
      step_ns_(std::max<int64_t>(timeout_ns / 100, 1)),
      empty_(empty),
      interval_(empty) {}

void CallBook::begin_flow(uint32_t slot) {
  if (!is_on()) return;
  sides_.prepare(size_t{slot} + 1);
  sides_[slot] = kUnasked;
}

void CallBook::end_flow(uint32_t slot) {
  if (!is_on()) return;
  if (const auto found = unsure_.find(slot); found != unsure_.end()) {
    if (sides_[slot] == kUnsure) undecided_ += found->second;
    unsure_.erase(found);
  }
  sides_[slot] = kUnasked;
}

std::vector<uint32_t> CallBook::unsure() const {
  std::vector<uint32_t> slots;
  slots.reserve(unsure_.size());
  for (const auto& [slot, requests] : unsure_) slots.push_back(slot);
  return slots;
}

void CallBook::finish() {
  for (const auto& [slot, requests] : unsure_) {
    if (sides_[slot] == kUnsure) undecided_ += requests;
  }
  unsure_.clear();
}

void CallBook::ask(uint32_t slot, const FlowKey& flow, bool initiator_is_low) {
  if (!is_on()) return;
  const SubjectPart part = parts_->part_in(flow, initiator_is_low);
  if (part == SubjectPart::kUnknown || part == SubjectPart::kPerhapsServes) {
    const bool has_room = unsure_.size() < kUnsureMax || unsure_.contains(slot);
    if (has_room) unsure_.try_emplace(slot, 0);
    if (part == SubjectPart::kPerhapsServes)
      sides_[slot] = kPerhapsServes;
    else
      sides_[slot] = has_room ? kUnsure : kUnsureForGood;
    return;
  }
  if (const auto found = unsure_.find(slot); found != unsure_.end()) {
    if (part == SubjectPart::kCalls) decided_late_ += found->second;
    unsure_.erase(found);
  }
  if (part == SubjectPart::kCalls)
    sides_[slot] = call_side(flow, initiator_is_low);
  else
    sides_[slot] = part == SubjectPart::kServes ? kServed : kNone;
}

/// kFirstCall plus the index of the called address, whose row is created here if it is new.
uint8_t CallBook::call_side(const FlowKey& flow, bool initiator_is_low) {
  const Endpoint& called = initiator_is_low ? flow.high : flow.low;
  size_t at = 0;
  for (; at < addresses_.size() && at < kCalledAddresses; ++at) {
    const CalledRow& row = addresses_[at].row;
    if (row.address == called && row.protocol == flow.protocol && row.ip_version == flow.ip_version)
      break;
  }
  if (at == addresses_.size()) {
    CalledRow& row = addresses_.emplace_back().row;
    row.number = static_cast<uint32_t>(at + 1);
    row.ip_version = flow.ip_version;
    if (at < kCalledAddresses) {
      row.protocol = flow.protocol;
      row.address = called;
    }
  }
  return static_cast<uint8_t>(kFirstCall + at);
}

uint64_t CallBook::move_time(int64_t from_ns, int64_t to_ns) {
  uint64_t ran_out = 0;
  while (from_ns < to_ns) {
    const bool is_serving = served_.count() != 0, is_calling = calls_.count() != 0;
    // While something is pending, move in steps, because it may time out in between.
    const int64_t next_ns = is_serving || is_calling ? std::min(to_ns, from_ns + step_ns_) : to_ns;
    const auto passed = static_cast<uint64_t>(next_ns - from_ns);
    if (is_calling) calling_ns_ += next_ns - from_ns;
    if (is_serving) serving_ns_ += passed;
    if (is_serving && is_calling) serving_and_calling_ns_ += passed;
    if (const uint64_t left = served_.advance(next_ns); left != 0) {
      ran_out += left;
      lone_.reset();
    }
    interval_.unanswered += calls_.advance(next_ns);
    from_ns = next_ns;
  }
  return ran_out;
}

CalledRow& CallBook::row_of(uint32_t slot) {
  Address& address = addresses_[static_cast<size_t>(sides_[slot] - kFirstCall)];
  address.is_changed = true;
  return address.row;
}

/// Counts one more event of a flow that may or may not be a call.
void CallBook::note_unsure(uint32_t slot) {
  if (!is_on()) return;
  if (sides_[slot] == kUnsure)
    ++unsure_[slot];
  else if (sides_[slot] == kUnsureForGood)
    ++undecided_;
}

void CallBook::count_request(uint32_t slot) {
  if (is_call(slot))
    ++row_of(slot).requests;
  else
    note_unsure(slot);
}

void CallBook::uncount_request(uint32_t slot) {
  if (!is_call(slot)) return;
  CalledRow& row = row_of(slot);
  row.requests -= row.requests != 0;
}

void CallBook::note_reply(uint32_t slot, int64_t latency_ns, bool is_late) {
  if (!is_call(slot)) return;
  CalledRow& row = row_of(slot);
  row.latency.record(static_cast<uint64_t>(latency_ns));
  row.unanswered += is_late;
}

void CallBook::note_given_up(uint32_t slot, int64_t timeout_ns, bool is_reset) {
  if (!is_call(slot)) return;
  CalledRow& row = row_of(slot);
  row.latency.record(static_cast<uint64_t>(timeout_ns));
  ++row.unanswered;
  row.resets += is_reset;
  resets_ += is_reset;
}

void CallBook::note_http_error(uint32_t slot) {
  if (!is_call(slot)) return;
  ++row_of(slot).http_errors;
  ++http_errors_;
}

void CallBook::note_refused(uint32_t slot) {
  if (is_call(slot))
    ++row_of(slot).refused;
  else
    note_unsure(slot);
}

void CallBook::note_never_completed(uint32_t slot) {
  if (is_call(slot))
    ++row_of(slot).never_completed;
  else
    note_unsure(slot);
}

void CallBook::note_marked(uint32_t slot, int64_t stamp_ns) {
  if (!is_on() || sides_[slot] != kServed) return;
  lone_.reset();
  if (served_.count() == 1) lone_ = LoneReply{stamp_ns, calling_ns_};
}

void CallBook::note_unmarked(uint32_t slot, int64_t stamp_ns, int64_t reply_ns) {
  if (!is_on() || sides_[slot] != kServed || !lone_) return;
  if (served_.count() == 0 && lone_->request_ns == stamp_ns) {
    const int64_t latency_ns = std::max<int64_t>(reply_ns - stamp_ns, 0);
    const int64_t calling_ns = std::min(calling_ns_ - lone_->calling_ns, latency_ns);
    lone_calling_.record(static_cast<uint64_t>(calling_ns));
    lone_reply_ns_ += static_cast<uint64_t>(latency_ns);
  }
  lone_.reset();
}

std::optional<CallInterval> CallBook::take_interval() {
  if (!is_on()) return std::nullopt;
  CallInterval out;
  const uint64_t none = std::min(no_requests_, interval_.requests);
  no_requests_ -= none;
  out.requests = interval_.requests - none;
  out.unanswered = interval_.unanswered;
  out.refused = interval_.tcp_refused;
  out.never_completed = interval_.tcp_never_completed;
  out.multiplexed_turns = interval_.multiplexed_turns;
  out.latency = std::move(interval_.reply_latency);
  out.http_errors = std::exchange(http_errors_, 0);
  out.resets = std::exchange(resets_, 0);
  out.failures = *out.unanswered + *out.refused + *out.never_completed + *out.http_errors;
  out.serving_ns = std::exchange(serving_ns_, 0);
  out.serving_and_calling_ns = std::exchange(serving_and_calling_ns_, 0);
  out.lone_reply_calling = std::exchange(lone_calling_, {});
  out.lone_reply_ns = std::exchange(lone_reply_ns_, 0);
  out.decided_late = std::exchange(decided_late_, 0);
  out.undecided = std::exchange(undecided_, 0);
  interval_ = empty_;
  return out;
}

std::vector<CalledRow> CallBook::take_changed() {
  std::vector<CalledRow> changed;
  for (Address& address : addresses_) {
    if (std::exchange(address.is_changed, false)) changed.push_back(address.row);
  }
  return changed;
}

}  // namespace topspin
