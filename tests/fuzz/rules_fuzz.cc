// Fuzz target: an SLO rule.
#include "ci/slo/slo_rule.h"
#include "core/base/check.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto rule = topspin::parse_slo(fuzz_text(data, size));
  if (!rule.ok()) {
    CHECK(!rule.error().message.empty());
    return 0;
  }
  const auto again = topspin::parse_slo(rule->text);
  CHECK(again.ok() && again->name == rule->name && again->bound.size() == rule->bound.size());
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"p99(reply_latency) < 5ms",
          "losses == 0",
          "active_flows == clients during hold",
          "fds after ramp_down <= before + 2",
          "lost <= 0.001 * sent",
          "slope(rss_bytes) < 10 * 1KiB during hold",
          "max(run_queue_wait) != 1.5e3us - 2 * clients"};
}
