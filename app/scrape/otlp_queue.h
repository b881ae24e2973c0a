// OtlpQueue: requests that wait for a collector, and what becomes of each: delivered, sent again
// after a while, or dropped and counted. Pure: time is a parameter. One thread at a time.
//
// It does what OTLP asks of a client. One request is under way at a time. If the collector is
// overloaded or away (429, 502, 503, 504, no connection, no answer), the same request is sent
// again, after the time that the collector names or else after one that doubles, with jitter. Any
// other answer is final.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "report/metrics/otlp.h"

namespace topspin {

/// What became of one request that was sent.
struct OtlpAnswer {
  enum class Outcome : uint8_t { kAccepted, kTryAgain, kRefused };

  Outcome outcome = Outcome::kAccepted;
  int64_t retry_after_ns = 0;  // as the collector asks; 0: it does not say
  uint64_t rejected = 0;       // items of an accepted request that it did not take
  std::string text;            // "HTTP 503", and what the collector says; may be hostile
};

/// Counts of what was sent.
struct OtlpTotals {
  uint64_t requests_delivered = 0;
  uint64_t points_dropped = 0;
  uint64_t logs_dropped = 0;
  uint64_t retries = 0;
};

class OtlpQueue {
 public:
  static constexpr size_t kMostRequests = 32;
  static constexpr size_t kMostBytes = 16 << 20;
  static constexpr int64_t kFirstWaitNs = kNanosPerSecond;
  static constexpr int64_t kLongestWaitNs = 60 * kNanosPerSecond;
  /// A collector that asks for more is asked again earlier.
  static constexpr int64_t kLongestRetryAfterNs = 600 * kNanosPerSecond;
  static constexpr int64_t kMessageEveryNs = 60 * kNanosPerSecond;

  /// `collector` is its name in messages; `seed` is of the jitter.
  OtlpQueue(std::string collector, uint32_t seed)
      : collector_(std::move(collector)), random_(seed) {}

  /// If there is no room, the oldest request with metrics goes, and if there is none, the oldest
  /// one with logs: later metrics say what earlier ones said and more, but a log comes once.
  void push(OtlpRequest request);

  /// The request to send now; null if there is none, if it is too early, or if one is under way.
  /// It is under way until answered() or abandon().
  const OtlpRequest* take(int64_t now_ns);
  /// When take() has one; nullopt if it depends on something else than time.
  std::optional<int64_t> due_ns() const;
  void answered(const OtlpAnswer& answer, int64_t now_ns);
  /// Nothing can be sent any more. Everything that is there is dropped.
  void abandon();

  bool empty() const { return waiting_.empty() && !under_way_; }
  const OtlpTotals& totals() const { return totals_; }
  /// What a user should know; each is returned once.
  std::vector<std::string> take_messages();

 private:
  void drop(const OtlpRequest& request) { count_dropped(request.signal, request.items); }
  void count_dropped(OtlpRequest::Signal signal, uint64_t items);
  bool make_room();
  void keep_limits();
  int64_t wait_ns(const OtlpAnswer& answer);
  void tell(std::string message) { messages_.push_back(std::move(message)); }

  const std::string collector_;
  std::minstd_rand random_;
  std::deque<OtlpRequest> waiting_;
  std::optional<OtlpRequest> under_way_;
  size_t waiting_bytes_ = 0;
  uint64_t failures_ = 0;  // since the last answer that was final
  int64_t not_before_ns_ = 0;
  OtlpTotals totals_;
  std::vector<std::string> messages_;
  bool is_failing_ = false;  // and it was told
  bool is_full_ = false;     // likewise
  std::optional<int64_t> failure_told_ns_, refusal_told_ns_;
};

}  // namespace topspin
