// GuestWatch: stops a guest that runs for too long without waiting, and one that runs while the
// process has too much memory.
//
// Instructions are counted by WasmEdge, but one instruction may fill 16 MiB, and calls in one
// another take memory that WasmEdge does not limit. So a thread looks every 10 ms. begin() and
// end() are of one thread, and cost a lock that nobody else wants.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <functional>
#include <mutex>
#include <thread>

#include "core/base/unique_fd.h"

namespace topspin {

class GuestWatch {
 public:
  enum class Why : uint8_t { kNothing, kTime, kMemory };
  static constexpr int64_t kEveryNs = 10'000'000;

  /// `stop` makes the guest that runs end soon. It is called on the watch's thread, between begin()
  /// and end(). Memory counts from here on.
  GuestWatch(int64_t most_cpu_ns, uint64_t most_bytes, std::function<void()> stop);
  ~GuestWatch();
  GuestWatch(const GuestWatch&) = delete;
  GuestWatch& operator=(const GuestWatch&) = delete;

  /// A guest runs now; `is_new`: it waited until now, so its time begins. kMemory if it must not
  /// run, because memory is short: its end may give enough back for the next one, which is looked
  /// at then.
  Why begin(bool is_new);
  /// Why it was stopped.
  Why end();
  uint64_t most_used_bytes() const;

 private:
  void look();
  void watch();
  uint64_t resident_bytes() const;
  bool is_short();

  const int64_t most_cpu_ns_;
  const uint64_t most_bytes_;
  const std::function<void()> stop_;
  UniqueFd statm_;
  uint64_t base_bytes_ = 0;
  clockid_t clock_ = 0;  // of the guests' thread
  mutable std::mutex mutex_;
  std::condition_variable wakes_;
  bool has_ended_ = false;
  bool is_running_ = false;
  uint64_t slice_ = 0;       // counts the beginnings that are new
  uint64_t seen_slice_ = 0;  // the last one that look() saw
  int64_t seen_cpu_ns_ = 0;  // the thread's CPU time then
  Why why_ = Why::kNothing;
  int64_t looked_ns_ = 0;
  bool is_short_ = false;  // of memory, when it was last looked at
  uint64_t most_used_bytes_ = 0;
  std::thread thread_;  // from the first begin() on
};

}  // namespace topspin
