// TickRows: stores what belongs to one tick and to nothing else: its numbers, distributions, CPUs
// and perf events. Private to store.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

class TickRows {
 public:
  static Result<TickRows> prepare(Connection& connection);

  /// `losses` replace those of the sample, because a writer adds its own.
  Status insert(int64_t run, const Sample& sample, const LossInterval& losses);

 private:
  TickRows(Statement tick, Statement histogram, Statement cpu, Statement counter)
      : tick_(std::move(tick)),
        histogram_(std::move(histogram)),
        cpu_(std::move(cpu)),
        counter_(std::move(counter)) {}

  Status insert_histogram(int64_t run, uint64_t tick, std::string_view name,
                          std::string_view encoded);
  Status insert_counters(int64_t run, uint64_t tick, const CounterInterval& counters);

  Statement tick_;
  Statement histogram_;
  Statement cpu_;
  Statement counter_;
};

}  // namespace topspin
