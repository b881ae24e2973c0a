#include "app/scrape/metrics_output.h"

#include <fmt/format.h>

namespace topspin {

Result<std::unique_ptr<MetricsOutput>> MetricsOutput::open(const std::string& textfile,
                                                           const std::string& listen) {
  std::unique_ptr<MetricsOutput> output;
  if (textfile.empty() && listen.empty()) return output;
  output = std::make_unique<MetricsOutput>();
  if (!textfile.empty()) {
    TOPSPIN_ASSIGN(output->textfile_, Textfile::open(textfile));
  }
  if (!listen.empty()) {
    TOPSPIN_ASSIGN(output->listener_, Listener::open(listen));
  }
  return output;
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
  return sentences;
}

void MetricsOutput::update(int64_t now_ns, const RunFold& fold, const LiveFacts& facts) {
  page_.update(now_ns, fold, facts);
}

std::optional<std::string> MetricsOutput::take_problem() {
  return textfile_ ? textfile_->take_problem() : std::nullopt;
}

}  // namespace topspin
