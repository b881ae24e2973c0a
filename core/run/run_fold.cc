#include "core/run/run_fold.h"

#include <algorithm>
#include <optional>

#include "core/tick/numbers.h"

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

void RunFolds::add(const Sample& tick) {
  whole_.add(tick);
  if (measured_from_ns() > 0 && tick.elapsed_ns > measured_from_ns()) measured_.add(tick);
  last_ns_ = tick.elapsed_ns;
}

void RunFolds::put_stage(uint64_t position, const RunStage& stage) {
  const int64_t from_ns = measured_from_ns(), end_ns = whole_.load_end_ns;
  while (stages_.size() <= position) stages_.emplace_back().kind = StageKind::kStart;
  stages_[position] = stage;
  whole_.load_end_ns = measured_.load_end_ns = load_end_ns(stages_);
  if (measured_from_ns() != from_ns && last_ns_ > measured_from_ns()) exact_ = false;
  if (whole_.load_end_ns != end_ns && last_ns_ > std::min(end_ns, whole_.load_end_ns))
    exact_ = false;
}

}  // namespace topspin
