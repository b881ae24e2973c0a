#include "load/wasm/guest_watch.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include "core/base/clock.h"

namespace topspin {

GuestWatch::GuestWatch(int64_t most_cpu_ns, uint64_t most_bytes, std::function<void()> stop)
    : most_cpu_ns_(most_cpu_ns),
      most_bytes_(most_bytes),
      stop_(std::move(stop)),
      statm_(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)) {
  base_bytes_ = resident_bytes();
}

GuestWatch::~GuestWatch() {
  {
    const std::lock_guard lock(mutex_);
    has_ended_ = true;
  }
  wakes_.notify_all();
  if (thread_.joinable()) thread_.join();
}

/// 0 if it cannot be read.
uint64_t GuestWatch::resident_bytes() const {
  std::array<char, 128> text{};
  const ssize_t got = ::pread(statm_.get(), text.data(), text.size() - 1, 0);
  if (got <= 0) return 0;
  char* second = nullptr;
  (void)std::strtoull(text.data(), &second, 10);
  return std::strtoull(second, nullptr, 10) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Looks at the memory. REQUIRES: the lock is held.
bool GuestWatch::is_short() {
  looked_ns_ = monotonic_now_ns();
  const uint64_t resident = resident_bytes();
  const uint64_t used = resident > base_bytes_ ? resident - base_bytes_ : 0;
  most_used_bytes_ = std::max(most_used_bytes_, used);
  is_short_ = used > most_bytes_;
  return is_short_;
}

GuestWatch::Why GuestWatch::begin(bool is_new) {
  const std::lock_guard lock(mutex_);
  // The watch itself may have to wait for a CPU.
  if (!is_short_ && monotonic_now_ns() - looked_ns_ > 2 * kEveryNs) (void)is_short();
  if (is_short_) {
    // What guests have freed in small pieces counts until it is given back.
    (void)::malloc_trim(0);
    if (is_short()) return Why::kMemory;
  }
  if (!thread_.joinable()) {
    (void)::pthread_getcpuclockid(::pthread_self(), &clock_);
    thread_ = std::thread([this] { watch(); });
  }
  is_running_ = true;
  if (is_new) ++slice_;
  why_ = Why::kNothing;
  return Why::kNothing;
}

GuestWatch::Why GuestWatch::end() {
  const std::lock_guard lock(mutex_);
  is_running_ = false;
  return why_;
}

uint64_t GuestWatch::most_used_bytes() const {
  const std::lock_guard lock(mutex_);
  return most_used_bytes_;
}

void GuestWatch::watch() {
  (void)::pthread_setname_np(::pthread_self(), "topspin-guests");
  std::unique_lock lock(mutex_);
  while (!has_ended_) {
    look();
    wakes_.wait_for(lock, std::chrono::nanoseconds(kEveryNs), [this] { return has_ended_; });
  }
}

/// REQUIRES: the lock is held.
void GuestWatch::look() {
  const bool is_short_now = is_short();
  if (!is_running_ || why_ != Why::kNothing) return;
  timespec cpu{};
  (void)::clock_gettime(clock_, &cpu);
  const int64_t cpu_ns = cpu.tv_sec * kNanosPerSecond + cpu.tv_nsec;
  if (std::exchange(seen_slice_, slice_) != slice_) seen_cpu_ns_ = cpu_ns;
  if (is_short_now)
    why_ = Why::kMemory;
  else if (cpu_ns - seen_cpu_ns_ >= most_cpu_ns_)
    why_ = Why::kTime;
  if (why_ != Why::kNothing) stop_();
}

}  // namespace topspin
