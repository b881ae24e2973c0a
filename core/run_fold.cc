#include "core/run_fold.h"

#include <algorithm>
#include <optional>

#include "core/numbers.h"

namespace topspin {
namespace {

template <typename T>
void raise(T& greatest, const T& value) {
  greatest = std::max(greatest, value);
}
template <typename T>
void raise(std::optional<T>& greatest, const std::optional<T>& value) {
  if (value) greatest = std::max(greatest.value_or(*value), *value);
}

void raise_tick(Sample& greatest, const Sample& tick) {
  for_each_number([&](const Number&, auto at) {
    if constexpr (kIsPlainNumber<typename decltype(at)::Value>) {
      if (const auto* value = at.find(tick)) raise(at.make(greatest), *value);
    }
  });
}

bool has_ended(const Sample& tick) { return tick.resources && tick.resources->processes == 0; }

}  // namespace

void RunFold::add(const Sample& tick) {
  ++ticks;
  half_open_before = merged.flows.tcp_half_open;
  const uint64_t missed_ticks = merged.flows.missed_ticks;
  const uint64_t silent_flows = merged.flows.silent_flows;
  const uint64_t most_silent = greatest.flows.silent_flows;
  std::optional<ResourceReading> before;
  if (has_ended(tick) && merged.resources && merged.resources->processes) before = merged.resources;
  merge_tick(merged, tick);
  if (before) merged.resources = before;
  raise_tick(greatest, tick);
  if (tick.elapsed_ns <= load_end_ns) return;
  merged.flows.missed_ticks = missed_ticks;
  merged.flows.silent_flows = silent_flows;
  greatest.flows.silent_flows = most_silent;
}

}  // namespace topspin
