#include "probes/scheduler/timers.h"

#include <cerrno>
#include <ctime>

#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/bpf/bpf_object.h"
#include "timers.skel.h"

namespace topspin {
namespace {

constexpr int kTries = 3;
constexpr int64_t kAheadNs = kNanosPerMilli;

timespec to_timespec(int64_t ns) {
  return {static_cast<time_t>(ns / kNanosPerSecond), static_cast<long>(ns % kNanosPerSecond)};
}

}  // namespace

struct Timers::Object {
  timers* skeleton = nullptr;
  ~Object() { timers::destroy(skeleton); }
};

Timers::Timers(std::unique_ptr<Object> object) : object_(std::move(object)) {}
Timers::~Timers() = default;

Result<std::unique_ptr<Timers>> Timers::attach(int cpus_fd) {
  const BpfLog log;
  auto object = std::make_unique<Object>();
  object->skeleton = timers::open(nullptr);
  if (!object->skeleton) return log.error("cannot read the timers' BPF object", errno);
  if (const int error = bpf_map__reuse_fd(object->skeleton->maps.cpus, cpus_fd))
    return log.error("cannot share the map of CPUs with the timers' programs", -error);
  if (const int error = timers::load(object->skeleton))
    return log.error("cannot load the timers' programs", -error);
  if (const int error = timers::attach(object->skeleton))
    return log.error("cannot attach the timers' programs", -error);
  std::unique_ptr<Timers> attached(new Timers(std::move(object)));
  TOPSPIN_TRY(attached->learn_functions());
  for (bpf_program* program : {attached->object_->skeleton->progs.hrtimer_expire_entry,
                               attached->object_->skeleton->progs.hrtimer_expire_exit})
    attached->program_fds_.push_back(bpf_program__fd(program));
  return Result<std::unique_ptr<Timers>>(std::move(attached));
}

Status Timers::learn_functions() {
  auto* shared = object_->skeleton->bss;
  const auto shown = [](const __u64& function) {
    return __atomic_load_n(&function, __ATOMIC_ACQUIRE) != 0;
  };
  const UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  for (int tries = 0; tries < kTries && timer; ++tries) {
    const int64_t sleep_ns = monotonic_now_ns() + kAheadNs;
    __atomic_store_n(&shared->sleep_expiry_ns, static_cast<__u64>(sleep_ns), __ATOMIC_RELEASE);
    const timespec until = to_timespec(sleep_ns);
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);

    const int64_t timerfd_ns = monotonic_now_ns() + kAheadNs;
    __atomic_store_n(&shared->timerfd_expiry_ns, static_cast<__u64>(timerfd_ns), __ATOMIC_RELEASE);
    const itimerspec once{{0, 0}, to_timespec(timerfd_ns)};
    uint64_t expirations = 0;
    if (::timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &once, nullptr) == 0)
      (void)!::read(timer.get(), &expirations, sizeof(expirations));
    if (shown(shared->sleep_function) && shown(shared->timerfd_function)) return {};
  }
  return make_error(
      ErrorCode::kUnsupported,
      "topspin's programs did not see topspin's own timers fire (is this a time namespace?)");
}

}  // namespace topspin
