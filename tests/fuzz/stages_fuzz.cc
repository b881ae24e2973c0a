// Fuzz target: the stages of a load. The text is also read as a rate and as a duration. Stages that
// are not too long become a schedule.
#include <cmath>

#include "core/base/check.h"
#include "core/base/text.h"
#include "load/engine/schedule.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  const std::string_view text = fuzz_text(data, size);
  if (const auto rate = parse_rate(text); rate.ok()) CHECK(std::isfinite(*rate) && *rate > 0);
  if (const auto duration = parse_duration(text)) CHECK(*duration >= 0);
  auto stages = parse_stages(text);
  if (!stages.ok()) {
    CHECK(!stages.error().message.empty());
    return 0;
  }
  uint64_t comings = 0;
  for (const LoadStage& stage : *stages) comings += std::max(stage.from, stage.to);
  if (comings > 2'000) return 0;  // would only take long
  const auto schedule = make_schedule(std::move(*stages));
  if (!schedule.ok()) return 0;
  int64_t before_ns = 0;
  for (const ClientStay& stay : schedule->stays) {
    CHECK(before_ns <= stay.join_ns && stay.join_ns < stay.leave_ns);
    CHECK(stay.leave_ns <= schedule->end_ns);
    before_ns = stay.join_ns;
  }
  (void)count_planned(*schedule, {1'000'000'000, 0}, schedule->end_ns);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"0:150 over 60s",
          "up=0:100 over 5s, hold 30s, 100:0 over 1m",
          "stairs 0:500 by 100 every 10s",
          "3x(0:100 over 5s, hold 5s, 100:0 over 5s)",
          "2x(2x(a=0:9 over 1ms, 9:0 over 0s))",
          "10/s",
          "1500ms"};
}
