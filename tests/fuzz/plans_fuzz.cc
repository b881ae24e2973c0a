// Fuzz target: a text as a plan and as a gate's configuration.
#include <cstdint>
#include <string_view>

#include "app/plan/plan.h"
#include "ci/gate_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto plan = topspin::parse_plan(text, "plan.toml");
  const auto config = topspin::parse_gate_config(text, "gate.toml");
  CHECK(plan.ok() || !plan.error().message.empty());
  CHECK(config.ok() || !config.error().message.empty());
  return 0;
}
