// CaptureThread: runs a live FlowTracker on its own thread and hands over its intervals.
//
// The hand-over is one swap under one mutex per interval; nothing is shared per packet.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "capture/flow_tracker.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

class CaptureThread {
 public:
  /// Starts the thread. The first interval begins at `start_ns` (monotonic).
  static Result<std::unique_ptr<CaptureThread>> start(std::unique_ptr<FlowTracker> tracker,
                                                      int64_t start_ns);
  ~CaptureThread();

  /// Readable whenever take() has something new.
  int event_fd() const { return event_.get(); }

  struct Delivery {
    std::vector<ClosedInterval> intervals;
    bool has_all_packets = false;  // LiveOptions::max_packets have come
    std::optional<Error> error;    // the capture ended by itself
  };
  Delivery take();

  /// The same as in FlowTracker.
  void watch_packets(const std::optional<FlowKey>& flow) { tracker_->watch_packets(flow); }
  PacketCopies take_packets() { return tracker_->take_packets(); }
  void switch_interface(const std::string& name) { tracker_->switch_interface(name); }

  /// Ends the capture and joins the thread. The last interval ends at `end_ns` and has everything
  /// that was captured before. Call take() once more afterwards.
  void stop(int64_t end_ns);

  /// Only after stop().
  const FlowTracker& tracker() const { return *tracker_; }

 private:
  CaptureThread(std::unique_ptr<FlowTracker> tracker, UniqueFd event)
      : tracker_(std::move(tracker)), event_(std::move(event)) {}
  void run();
  void notify() const;

  std::unique_ptr<FlowTracker> tracker_;
  UniqueFd event_;
  std::mutex mutex_;
  Delivery delivery_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace topspin
