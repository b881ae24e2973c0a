// Fuzz target: a text as a plan and as a gate's configuration.
#include "app/plan/plan.h"
#include "ci/gate_config.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz_text(data, size);
  const auto plan = topspin::parse_plan(text, "plan.toml");
  const auto config = topspin::parse_gate_config(text, "gate.toml");
  CHECK(plan.ok() || !plan.error().message.empty());
  CHECK(config.ok() || !config.error().message.empty());
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {topspin::example_plan(),
          "[run]\nload = { workload = \"http\", target = \"127.0.0.1:80\", clients = 9, period = "
          "\"1s\", hold = \"2s\" }\n[[subject]]\nname = \"a\"\ncommand = [\"true\"]\n",
          "seed = 7\nstrict = true\nslo = [\"p99(reply_latency) < 5ms\"]\n"
          "[metric.cpu_ns_per_packet]\nbetter = \"lower\"\nmargin = \"5%\"\ngating = true\n"};
}
