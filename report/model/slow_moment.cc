#include "report/model/slow_moment.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {

Result<SlowMoment> read_slow_moment(RunStore& store, const StoredRun& run, const TimeSpan& at,
                                    const TimeSpan& took) {
  SlowMoment moment;
  moment.run = run;
  moment.took = took;
  const std::string& id = run.info.id;
  int64_t end_ns = 0;
  TOPSPIN_TRY(store.for_each_tick(id, [&](const Sample& sample) {
    const int64_t begin_ns = sample.elapsed_ns - sample.interval_ns;
    end_ns = sample.elapsed_ns;
    // A tick has its end, so that a moment is in one tick alone; the first has its beginning too.
    const bool is_before = sample.elapsed_ns < at.from_ns;
    const bool is_after = begin_ns >= at.to_ns && !(begin_ns <= 0 && at.to_ns == 0);
    if (is_before || is_after) return;
    if (moment.first_tick == 0) {
      moment.first_tick = sample.tick;
      moment.elapsed.from_ns = std::max<int64_t>(begin_ns, 0);
    }
    moment.last_tick = sample.tick;
    moment.elapsed.to_ns = sample.elapsed_ns;
    if (sample.sockets && sample.sockets->reply) moment.replies += sample.sockets->reply->count();
  }));
  if (moment.first_tick == 0)
    return make_error(ErrorCode::kUsage,
                      fmt::format("run {} has no tick at {}: its last one ended at {}", id,
                                  format_duration(at.from_ns), format_duration(end_ns)));
  TOPSPIN_TRY(store.for_each_slow_reply(id, [&](const SlowReply& reply) {
    const auto total_ns = static_cast<int64_t>(reply.total_ns);
    if (reply.tick >= moment.first_tick && reply.tick <= moment.last_tick &&
        total_ns >= took.from_ns && total_ns <= took.to_ns)
      moment.slowest.push_back(reply);
  }));
  std::ranges::stable_sort(moment.slowest, std::ranges::greater(), &SlowReply::total_ns);
  return moment;
}

}  // namespace topspin
