#include "probes/stacks/stretch_samples.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace topspin {

void StretchSamples::add(const StackSample& sample) {
  if (most_ == 0) return;
  if (threads_.size() == most_) {
    const auto oldest = of_thread_.find(threads_.front());
    forgotten_until_ns_ = std::max(forgotten_until_ns_, oldest->second.front().time_ns);
    oldest->second.pop_front();
    if (oldest->second.empty()) of_thread_.erase(oldest);
    threads_.pop_front();
  }
  std::deque<Moment>& moments = of_thread_[sample.tid];
  auto place = moments.end();  // nearly always
  while (place != moments.begin() && std::prev(place)->time_ns > sample.time_ns) --place;
  moments.insert(place, {sample.time_ns, sample.stack});
  threads_.push_back(sample.tid);
}

void StretchSamples::match(BusyStretch& stretch) const {
  stretch.samples_cut = stretch.began_ns <= forgotten_until_ns_;
  const auto thread = of_thread_.find(stretch.tid);
  if (thread == of_thread_.end()) return;
  auto moment =
      std::lower_bound(thread->second.begin(), thread->second.end(), stretch.began_ns,
                       [](const Moment& of, int64_t time_ns) { return of.time_ns < time_ns; });
  std::map<uint32_t, uint64_t> samples_of;
  for (; moment != thread->second.end() && moment->time_ns < stretch.end_ns(); ++moment) {
    ++stretch.samples;
    ++samples_of[moment->stack];
  }
  for (const auto& [stack, samples] : samples_of) stretch.stacks.push_back({stack, samples});
  std::stable_sort(
      stretch.stacks.begin(), stretch.stacks.end(),
      [](const StretchStack& a, const StretchStack& b) { return a.samples > b.samples; });
  if (stretch.stacks.size() > kStacksAStretch) stretch.stacks.resize(kStacksAStretch);
}

std::vector<BusyStretch> StretchSamples::take(int64_t until_ns) {
  std::vector<BusyStretch> ended, later;
  for (BusyStretch& stretch : waiting_) {
    const bool has_samples = stretch.end_ns() <= until_ns;
    if (has_samples) match(stretch);
    (has_samples ? ended : later).push_back(std::move(stretch));
  }
  waiting_ = std::move(later);
  return ended;
}

}  // namespace topspin
