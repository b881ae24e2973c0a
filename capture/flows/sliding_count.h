// SlidingCount counts how many marks lie in the last span of time, in O(1).
//
// A ring of time buckets counts the marks by their time. When time moves on, buckets leave the span
// together with their marks. A mark counts while bucket(mark) > bucket(now) - buckets, so the count
// is exact to one bucket: 1 ms, or a thousandth of a span below a second. It has two uses: active
// flows (a mark is a flow's last packet), and open requests (those that leave are unanswered; an
// extra bucket keeps those that are exactly as old as the span). Pure, one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/base/clock.h"

namespace topspin {

/// Division of non-negative times by a fixed divisor, without a divide instruction.
class FixedDivisor {
 public:
  explicit FixedDivisor(int64_t divisor)
      : divisor_(static_cast<uint64_t>(divisor)), reciprocal_(UINT64_MAX / divisor_) {}

  int64_t divide(int64_t value) const {
    __extension__ using Wide = unsigned __int128;
    const auto n = static_cast<uint64_t>(value);
    auto q = static_cast<uint64_t>((static_cast<Wide>(n) * reciprocal_) >> 64);
    uint64_t rest = n - q * divisor_;
    // The reciprocal is rounded down, so q is too small by at most 2.
    while (rest >= divisor_) {
      rest -= divisor_;
      ++q;
    }
    return static_cast<int64_t>(q);
  }
  int64_t divisor() const { return static_cast<int64_t>(divisor_); }

 private:
  uint64_t divisor_;
  uint64_t reciprocal_;
};

class SlidingCount {
 public:
  /// Spans of up to an hour have buckets of at most 1 ms. Longer spans have as many, but wider
  /// ones. With `extra_buckets` 1, a mark leaves within one bucket after the span, never before.
  explicit SlidingCount(int64_t span_ns, int64_t extra_buckets = 0)
      : divisor_(bucket_ns(span_ns)),
        buckets_((span_ns + divisor_.divisor() - 1) / divisor_.divisor() + extra_buckets),
        ring_(static_cast<size_t>(buckets_), 0),
        newest_end_ns_(divisor_.divisor()) {}

  /// Moves time on and returns how many marks left the span. Time never moves back.
  uint64_t advance(int64_t now_ns) {
    if (now_ns < newest_end_ns_) [[likely]]
      return 0;
    const int64_t bucket = divisor_.divide(now_ns);
    uint64_t left = 0;
    const int64_t steps = std::min(bucket - newest_, buckets_);
    for (int64_t i = 0; i < steps && left < count_; ++i) {
      newest_cell_ = newest_cell_ + 1 == buckets_ ? 0 : newest_cell_ + 1;
      ++newest_;
      uint32_t& cell = ring_[static_cast<size_t>(newest_cell_)];
      left += cell;
      cell = 0;
    }
    // If no marks are left, any cell can be the newest.
    newest_ = bucket;
    if (count_ == left) newest_cell_ = 0;
    count_ -= left;
    newest_end_ns_ = (bucket + 1) * divisor_.divisor();
    return left;
  }

  /// Whether a mark at this time counts now. REQUIRES: mark_ns is not later than the time advanced
  /// to; the same holds for add() and remove().
  bool covers(int64_t mark_ns) const { return age(mark_ns) < buckets_; }

  /// Does nothing if the mark is out of the span.
  void add(int64_t mark_ns) {
    const int64_t buckets_old = age(mark_ns);
    if (buckets_old >= buckets_) return;
    ++ring_[cell(buckets_old)];
    ++count_;
  }
  /// Takes back a mark that was added at this time, if it still counts.
  void remove(int64_t mark_ns) {
    const int64_t buckets_old = age(mark_ns);
    if (buckets_old >= buckets_) return;
    --ring_[cell(buckets_old)];
    --count_;
  }

  /// The same as remove(from_ns) and add(to_ns). REQUIRES: from_ns <= to_ns.
  void move(int64_t from_ns, int64_t to_ns) {
    const int64_t from_old = age(from_ns);
    const int64_t to_old = age(to_ns);
    if (from_old == to_old) return;
    if (from_old < buckets_) {
      --ring_[cell(from_old)];
      --count_;
    }
    if (to_old < buckets_) {
      ++ring_[cell(to_old)];
      ++count_;
    }
  }

  uint64_t count() const { return count_; }

 private:
  static int64_t bucket_ns(int64_t span_ns) {
    constexpr int64_t kBucketsMax = 3'600'000;
    const int64_t fine = std::clamp<int64_t>(span_ns / 1000, 1, kNanosPerMilli);
    return std::max(fine, span_ns / kBucketsMax);
  }
  /// How many buckets before the newest.
  int64_t age(int64_t mark_ns) const {
    if (mark_ns >= newest_end_ns_ - divisor_.divisor()) return 0;
    return newest_ - divisor_.divide(mark_ns);
  }
  size_t cell(int64_t buckets_old) const {
    const int64_t at = newest_cell_ - buckets_old;
    return static_cast<size_t>(at < 0 ? at + buckets_ : at);
  }

  FixedDivisor divisor_;
  int64_t buckets_;
  std::vector<uint32_t> ring_;
  int64_t newest_ = 0;       // bucket of the time advanced to
  int64_t newest_cell_ = 0;  // its place in the ring
  int64_t newest_end_ns_;
  uint64_t count_ = 0;
};

}  // namespace topspin
