#include "probes/scheduler/timers.h"

#include <ctime>

#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr int kTries = 3;
constexpr int64_t kAheadNs = kNanosPerMilli;

timespec to_timespec(int64_t ns) {
  return {static_cast<time_t>(ns / kNanosPerSecond), static_cast<long>(ns % kNanosPerSecond)};
}

}  // namespace

Status learn_timers(topspin_known_timers& known) {
  const auto shown = [](const __u64& function) {
    return __atomic_load_n(&function, __ATOMIC_ACQUIRE) != 0;
  };
  const UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  for (int tries = 0; tries < kTries && timer; ++tries) {
    const int64_t sleep_ns = monotonic_now_ns() + kAheadNs;
    __atomic_store_n(&known.sleep_expiry_ns, static_cast<__u64>(sleep_ns), __ATOMIC_RELEASE);
    const timespec until = to_timespec(sleep_ns);
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);

    const int64_t timerfd_ns = monotonic_now_ns() + kAheadNs;
    __atomic_store_n(&known.timerfd_expiry_ns, static_cast<__u64>(timerfd_ns), __ATOMIC_RELEASE);
    const itimerspec once{{0, 0}, to_timespec(timerfd_ns)};
    uint64_t expirations = 0;
    if (::timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &once, nullptr) == 0)
      (void)!::read(timer.get(), &expirations, sizeof(expirations));
    if (shown(known.sleep_function) && shown(known.timerfd_function)) return {};
  }
  return make_error(
      ErrorCode::kUnsupported,
      "topspin's programs did not see topspin's own timers fire (is this a time namespace?)");
}

}  // namespace topspin
