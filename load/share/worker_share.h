// WorkerShare: the clients of a schedule that one worker has, from epoch to epoch. It says what the
// worker's engine has to change. Pure.
#pragma once

#include <string>
#include <vector>

#include "load/engine/schedule.h"
#include "load/engine/schedule_feed.h"
#include "load/share/job_epochs.h"

namespace topspin {

class WorkerShare {
 public:
  /// `schedule` is the whole load's, and outlives the share.
  WorkerShare(const Schedule& schedule, std::string id);

  /// REQUIRES: epochs come in their order. A client that stays with the worker is not touched, so
  /// it keeps its socket.
  ScheduleChange apply(const JobEpoch& epoch);

  /// All stays of the worker so far, as the engine has them.
  const std::vector<ClientStay>& stays() const { return stays_; }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  const Schedule& schedule_;
  std::string id_;
  std::vector<ClientStay> stays_;
  std::vector<uint32_t> held_as_;  // by stay of the schedule: index into stays_, or kNone
};

}  // namespace topspin
