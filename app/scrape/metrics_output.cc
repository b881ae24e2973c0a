#include "app/scrape/metrics_output.h"

#include <utility>

#include <fmt/format.h>

namespace topspin {

Result<std::unique_ptr<MetricsOutput>> MetricsOutput::start(
    const MetricsPlaces& places, const std::optional<UserIdentity>& user) {
  std::unique_ptr<MetricsOutput> output;
  if (places.textfile.empty() && places.listen.empty() && places.otlp.empty()) return output;
  output = std::make_unique<MetricsOutput>();
  if (!places.otlp.empty()) {
    TOPSPIN_ASSIGN(output->otlp_, OtlpPush::open(places.otlp, user));
  }
  return output;
}

Status MetricsOutput::open(const MetricsPlaces& places) {
  if (!places.textfile.empty()) {
    TOPSPIN_ASSIGN(textfile_, Textfile::open(places.textfile));
  }
  if (!places.listen.empty()) {
    TOPSPIN_ASSIGN(listener_, Listener::open(places.listen));
  }
  return {};
}

Result<std::vector<std::string>> MetricsOutput::begin(const RunInfo& run) {
  page_.begin(run);
  std::vector<std::string> sentences;
  if (textfile_) TOPSPIN_TRY(textfile_->serve(page_));
  if (listener_) {
    TOPSPIN_TRY(listener_->serve(page_));
    sentences.push_back(fmt::format("the numbers are at http://{}/metrics", listener_->address()));
    if (!listener_->is_loopback())
      sentences.push_back("everybody who reaches that address can read them");
  }
  if (otlp_) {
    for (std::string& sentence : otlp_->serve(page_)) sentences.push_back(std::move(sentence));
  }
  return sentences;
}

LiveFacts MetricsOutput::with_totals(LiveFacts facts) const {
  if (!otlp_) return facts;
  const OtlpTotals totals = otlp_->totals();
  facts.otlp_points_dropped = totals.points_dropped;
  facts.otlp_logs_dropped = totals.logs_dropped;
  facts.otlp_retries = totals.retries;
  return facts;
}

void MetricsOutput::update(int64_t now_ns, const RunFold& fold, const LiveFacts& facts) {
  page_.update(now_ns, fold, with_totals(facts));
}

void MetricsOutput::log(std::vector<LiveEvent> events) {
  if (otlp_) otlp_->log(std::move(events));
}

std::vector<std::string> MetricsOutput::take_problems() {
  std::vector<std::string> problems;
  if (otlp_) problems = otlp_->take_messages();
  if (auto problem = textfile_ ? textfile_->take_problem() : std::nullopt)
    problems.push_back(std::move(*problem));
  return problems;
}

void MetricsOutput::finish(int64_t now_ns, const RunFold& fold, const LiveFacts& facts) {
  if (!otlp_) return;
  page_.update(now_ns, fold, with_totals(facts), true);
  otlp_->finish();
}

std::string MetricsOutput::tell_dropped() const {
  if (!otlp_) return {};
  const OtlpTotals totals = otlp_->totals();
  if (totals.points_dropped == 0 && totals.logs_dropped == 0) return {};
  return fmt::format("of what --otlp sends, {} data points and {} log records were dropped",
                     totals.points_dropped, totals.logs_dropped);
}

}  // namespace topspin
