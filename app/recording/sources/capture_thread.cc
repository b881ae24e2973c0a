#include "app/recording/sources/capture_thread.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/clock.h"

namespace topspin {

Result<std::unique_ptr<CaptureThread>> CaptureThread::start(std::unique_ptr<FlowTracker> tracker,
                                                            int64_t start_ns) {
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) {
    return make_error(ErrorCode::kInternal, fmt::format("eventfd: {}", std::strerror(errno)),
                      errno);
  }
  tracker->start_at(start_ns);
  std::unique_ptr<CaptureThread> self(new CaptureThread(std::move(tracker), std::move(event)));
  self->thread_ = std::thread([raw = self.get()] { raw->run(); });
  pthread_setname_np(self->thread_.native_handle(), "topspin-capture");
  return self;
}

CaptureThread::~CaptureThread() {
  if (thread_.joinable()) stop(monotonic_now_ns());
}

void CaptureThread::notify() const {
  const uint64_t one = 1;
  (void)!write(event_.get(), &one, sizeof one);  // if it is full, it is readable anyway
}

void CaptureThread::run() {
  const IntervalSink sink = [this](ClosedInterval&& interval) {
    {
      const std::lock_guard lock(mutex_);
      delivery_.intervals.push_back(std::move(interval));
    }
    notify();
  };
  bool told = false;  // it was reported that all packets have come
  while (true) {
    const auto outcome = tracker_->step(sink);
    if (outcome.ok() && *outcome == StepOutcome::kMore) {
      if (tracker_->has_all_packets() && !std::exchange(told, true)) {
        {
          const std::lock_guard lock(mutex_);
          delivery_.has_all_packets = true;
        }
        notify();
      }
      continue;
    }
    if (!outcome.ok()) {
      tracker_->finish(monotonic_now_ns(), sink);
      const std::lock_guard lock(mutex_);
      delivery_.error = outcome.error();
    }
    break;
  }
  notify();
}

CaptureThread::Delivery CaptureThread::take() {
  uint64_t count = 0;
  (void)!read(event_.get(), &count, sizeof count);
  const std::lock_guard lock(mutex_);
  return std::exchange(delivery_, {});
}

void CaptureThread::stop(int64_t end_ns) {
  tracker_->request_stop(end_ns);
  thread_.join();
}

}  // namespace topspin
