// Fuzz target: a judgement's JSON, of a file or of the gate's log. What is read can be written.
#include "core/base/check.h"
#include "report/json/reports.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto judgement = topspin::parse_judgement(fuzz_text(data, size), "x.json");
  if (!judgement.ok()) {
    CHECK(judgement.error().code == topspin::ErrorCode::kInput);
    return 0;
  }
  const std::string written = topspin::judgement_json(*judgement);
  const auto again = topspin::parse_judgement(written, "x.json");
  CHECK(again.ok() && topspin::judgement_json(*again) == written);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  topspin::Comparison metric;
  metric.metric.name = "cpu_ns_per_packet";
  metric.metric.unit = "ns";
  metric.a = 100;
  metric.b = 110;
  metric.change = 0.1;
  metric.reason = "because";
  topspin::Judgement judgement;
  judgement.mode = "ab";
  judgement.seed = 7;
  judgement.reasons = {"a reason"};
  judgement.metrics = {metric, metric};
  return {topspin::judgement_json(judgement)};
}
