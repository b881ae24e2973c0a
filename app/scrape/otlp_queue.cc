#include "app/scrape/otlp_queue.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

std::string name_of_items(OtlpRequest::Signal signal, uint64_t items) {
  const bool is_metrics = signal == OtlpRequest::Signal::kMetrics;
  return fmt::format("{} {}{}", items, is_metrics ? "data point" : "log record",
                     items == 1 ? "" : "s");
}

/// Whether a message of this kind may be told now. It is not told again for a while.
bool may_tell(std::optional<int64_t>& told_ns, int64_t now_ns) {
  if (told_ns && now_ns - *told_ns < OtlpQueue::kMessageEveryNs) return false;
  told_ns = now_ns;
  return true;
}

}  // namespace

void OtlpQueue::count_dropped(OtlpRequest::Signal signal, uint64_t items) {
  (signal == OtlpRequest::Signal::kMetrics ? totals_.points_dropped : totals_.logs_dropped) +=
      items;
}

/// Drops one request. False if none is waiting.
bool OtlpQueue::make_room() {
  if (waiting_.empty()) return false;
  auto oldest = std::find_if(waiting_.begin(), waiting_.end(), [](const OtlpRequest& request) {
    return request.signal == OtlpRequest::Signal::kMetrics;
  });
  if (oldest == waiting_.end()) oldest = waiting_.begin();
  drop(*oldest);
  waiting_bytes_ -= oldest->body.size();
  waiting_.erase(oldest);
  return true;
}

void OtlpQueue::keep_limits() {
  bool dropped = false;
  while (waiting_.size() > kMostRequests || waiting_bytes_ > kMostBytes)
    dropped = make_room() || dropped;
  if (!dropped || std::exchange(is_full_, true)) return;
  tell(fmt::format(
      "{} requests for {} wait already; the oldest are dropped from now on, and counted",
      waiting_.size(), collector_));
}

void OtlpQueue::push(OtlpRequest request) {
  if (request.body.size() > kMostBytes) {
    drop(request);
    return;
  }
  waiting_bytes_ += request.body.size();
  waiting_.push_back(std::move(request));
  keep_limits();
}

const OtlpRequest* OtlpQueue::take(int64_t now_ns) {
  if (under_way_ || waiting_.empty() || now_ns < not_before_ns_) return nullptr;
  under_way_ = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= under_way_->body.size();
  if (failures_ > 0) ++totals_.retries;
  return &*under_way_;
}

std::optional<int64_t> OtlpQueue::due_ns() const {
  if (under_way_ || waiting_.empty()) return std::nullopt;
  return not_before_ns_;
}

/// Between a half and the whole of a time that doubles, so that many clients of one collector do
/// not come back together.
int64_t OtlpQueue::wait_ns(const OtlpAnswer& answer) {
  if (answer.retry_after_ns > 0) return std::min(answer.retry_after_ns, kLongestRetryAfterNs);
  int64_t longest = kFirstWaitNs;
  for (uint64_t i = 1; i < failures_ && longest < kLongestWaitNs; ++i) longest *= 2;
  longest = std::min(longest, kLongestWaitNs);
  return std::uniform_int_distribution<int64_t>(longest / 2, longest)(random_);
}

void OtlpQueue::answered(const OtlpAnswer& answer, int64_t now_ns) {
  if (!under_way_) return;
  OtlpRequest request = *std::exchange(under_way_, std::nullopt);
  const std::string said = sanitize_for_terminal(answer.text);
  if (answer.outcome == OtlpAnswer::Outcome::kTryAgain) {
    ++failures_;
    not_before_ns_ = now_ns + wait_ns(answer);
    if (!is_failing_ && may_tell(failure_told_ns_, now_ns)) {
      is_failing_ = true;
      tell(fmt::format("{} did not take the numbers ({}); they are sent again", collector_, said));
    }
    waiting_bytes_ += request.body.size();
    waiting_.push_front(std::move(request));
    keep_limits();
    return;
  }
  failures_ = 0;
  not_before_ns_ = now_ns;
  uint64_t lost = request.items;
  if (answer.outcome == OtlpAnswer::Outcome::kAccepted) {
    ++totals_.requests_delivered;
    const bool was_told = std::exchange(is_failing_, false) || is_full_;
    is_full_ = false;
    if (was_told) tell(fmt::format("{} takes the numbers again", collector_));
    lost = std::min(answer.rejected, request.items);
  }
  if (lost == 0) return;
  count_dropped(request.signal, lost);
  if (!may_tell(refusal_told_ns_, now_ns)) return;
  tell(fmt::format("{} refused {} of {} ({}); they are dropped, and counted", collector_, lost,
                   name_of_items(request.signal, request.items), said));
}

void OtlpQueue::abandon() {
  if (under_way_) drop(*under_way_);
  under_way_.reset();
  while (make_room()) {
  }
}

std::vector<std::string> OtlpQueue::take_messages() { return std::exchange(messages_, {}); }

}  // namespace topspin
