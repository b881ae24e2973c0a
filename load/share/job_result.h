// The result of a load that workers shared: the sum of what they reported, and what nobody sent.
// Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/run/load_result.h"
#include "load/engine/schedule.h"
#include "load/engine/schedule_feed.h"
#include "load/load.h"
#include "load/share/job_epochs.h"

namespace topspin {

/// What the epochs ask of a worker until `until_ns`, stage by stage. With an empty id: what they
/// ask of nobody, since an epoch has no members.
std::vector<uint64_t> planned_for(const std::string& id, const Schedule& schedule,
                                  const Rhythm& rhythm, std::span<const JobEpoch> epochs,
                                  int64_t from_ns, int64_t until_ns);

/// A worker, the sum of its reports, and what became of it.
struct JobWorker {
  WorkerPart about;   // id, texts, end, clock
  LoadReport report;  // merged; is_last: all of them came
  std::string why;    // it failed
  int64_t claimed_until_ns = 0;
};

/// The sum. `schedule` is the whole one. What a worker was to send and did not report, because it
/// died, is never_scheduled; what it sent and was not answered then is lost. So the accounts must
/// balance against what the stages ask for, computed apart; and the load is valid only if every
/// worker's part is.
LoadResult join_job(const LoadOptions& options, const Schedule& schedule,
                    std::span<const JobEpoch> epochs, std::vector<JobWorker> workers);

/// When each client is due.
Rhythm rhythm_of(const LoadOptions& options);

}  // namespace topspin
