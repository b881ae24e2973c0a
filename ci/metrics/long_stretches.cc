#include "ci/metrics/long_stretches.h"

#include <algorithm>

namespace topspin {

std::string_view LongStretches::frames_of(uint32_t stack) const {
  if (stack == 0) return kUnstoredStack;
  const auto found = frames.find(stack);
  return found == frames.end() ? std::string_view{} : found->second;
}

std::vector<const BusyStretch*> chosen_stretches(const LongStretches& all, size_t most) {
  KeptStretches choice(most);
  std::vector<const BusyStretch*> chosen;
  for (const BusyStretch& stretch : all.longest) {
    const auto place = choice.keep(stretch.tid, stretch.length_ns);
    if (!place) continue;
    chosen.resize(std::max(chosen.size(), size_t{*place} + 1));
    chosen[*place] = &stretch;
  }
  std::ranges::stable_sort(chosen, std::ranges::greater(), &BusyStretch::length_ns);
  return chosen;
}

Result<LongStretches> read_long_stretches(RunStore& store, const std::string& run_id) {
  LongStretches all;
  TOPSPIN_TRY(store.for_each_busy_stretch(run_id, [&](const BusyStretch& stretch) {
    all.longest.push_back(stretch);
    for (const StretchStack& stack : stretch.stacks) all.frames[stack.stack];
  }));
  if (all.longest.empty()) return all;
  std::ranges::stable_sort(all.longest, std::ranges::greater(), &BusyStretch::length_ns);
  TOPSPIN_TRY(store.for_each_stack(run_id, [&](const StackRow& stack) {
    const auto wanted = all.frames.find(stack.number);
    if (wanted != all.frames.end()) wanted->second = stack.frames;
  }));
  return all;
}

StretchSum sum_of(const LongStretches& all, std::span<const BusyStretch* const> stretches) {
  StretchSum sum;
  std::map<uint32_t, uint64_t> samples_of;
  for (const BusyStretch* stretch : stretches) {
    sum.shortest_ns =
        sum.stretches == 0 ? stretch->length_ns : std::min(sum.shortest_ns, stretch->length_ns);
    ++sum.stretches;
    sum.samples += stretch->samples;
    sum.samples_cut = sum.samples_cut || stretch->samples_cut;
    for (const StretchStack& stack : stretch->stacks) samples_of[stack.stack] += stack.samples;
  }
  std::vector<WeighedStack> stacks;
  stacks.reserve(samples_of.size());
  for (const auto& [stack, samples] : samples_of) stacks.push_back({all.frames_of(stack), samples});
  sum.most = hot_function(stacks, sum.samples);
  return sum;
}

}  // namespace topspin
