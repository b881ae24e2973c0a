#include "app/scrape/metrics_page.h"

#include <utility>

namespace topspin {

void MetricsPage::begin(const RunInfo& run) {
  const std::lock_guard lock(mutex_);
  run_ = run;
}

void MetricsPage::update(int64_t now_ns, const RunFold& fold, const LiveFacts& facts, bool must) {
  {
    const std::lock_guard lock(mutex_);
    if (!must && updated_ns_ != 0 && now_ns - updated_ns_ < kUpdateNs) return;
  }
  auto copy = std::make_shared<const RunFold>(fold);
  const std::lock_guard lock(mutex_);
  updated_ns_ = now_ns;
  facts_ = facts;
  fold_ = std::move(copy);
}

std::string MetricsPage::render(LiveFormat format) const {
  std::shared_ptr<const RunFold> fold;
  RunInfo run;
  LiveFacts facts;
  {
    const std::lock_guard lock(mutex_);
    fold = fold_;
    run = run_;
    facts = facts_;
  }
  return live_metrics(run, *fold, facts, format);
}

}  // namespace topspin
