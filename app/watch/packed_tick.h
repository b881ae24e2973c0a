// PackedTick: a Sample in little memory, for the ring of a flight recorder.
//
// A distribution of a Sample takes 10 KiB, a tick has dozens, and most of their buckets are empty.
// So they are kept encoded, as the store keeps them. Everything else is as it was: unpack() gives
// the same Sample back. Plain values; immutable, so threads may share them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/tick/sample.h"

namespace topspin {

class PackedTick {
 public:
  /// Of more flow rows than `most_flow_rows`, those beyond are left out, and counted among the
  /// tick's losses.
  explicit PackedTick(const Sample& sample, size_t most_flow_rows = SIZE_MAX);

  Sample unpack() const;

  /// Without distributions, also those of threads, system calls and called addresses.
  const Sample& plain() const { return plain_; }
  /// The memory that it takes, with what it points to.
  uint64_t bytes() const { return bytes_; }

 private:
  Sample plain_;
  std::string distributions_;  // one after the other, each with its length
  uint64_t bytes_ = 0;
};

}  // namespace topspin
