#include "app/scrape/metrics_page.h"

#include <utility>

#include "core/base/clock.h"

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
  updated_wall_ns_ = wall_now_ns();
  ++updates_;
  facts_ = facts;
  fold_ = std::move(copy);
}

MetricsSnapshot MetricsPage::snapshot() const {
  const std::lock_guard lock(mutex_);
  return {run_, fold_, facts_, updated_wall_ns_, updates_};
}

std::string MetricsPage::render(LiveFormat format) const {
  const MetricsSnapshot page = snapshot();
  return live_metrics(page.run, *page.fold, page.facts, format);
}

}  // namespace topspin
