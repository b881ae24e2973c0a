#include "core/run/run.h"

#include <array>
#include <limits>

#include <fmt/format.h>
#include <sys/random.h>

#include "core/base/check.h"
#include "core/base/clock.h"

namespace topspin {

std::string_view run_status_name(RunStatus status) {
  switch (status) {
    case RunStatus::kRunning: return "running";
    case RunStatus::kComplete: return "complete";
    case RunStatus::kInterrupted: return "interrupted";
    case RunStatus::kFailed: return "failed";
    case RunStatus::kIncident: return "incident";
  }
  return "failed";
}

std::optional<RunStatus> parse_run_status(std::string_view name) {
  for (const RunStatus status : {RunStatus::kRunning, RunStatus::kComplete, RunStatus::kInterrupted,
                                 RunStatus::kFailed, RunStatus::kIncident}) {
    if (run_status_name(status) == name) return status;
  }
  return std::nullopt;
}

std::string_view stage_kind_name(StageKind kind) {
  switch (kind) {
    case StageKind::kStart: return "start";
    case StageKind::kWarmUp: return "warm_up";
    case StageKind::kBefore: return "before";
    case StageKind::kLoad: return "load";
    case StageKind::kAfter: return "after";
  }
  return "load";
}

std::optional<StageKind> parse_stage_kind(std::string_view name) {
  for (const StageKind kind : {StageKind::kStart, StageKind::kWarmUp, StageKind::kBefore,
                               StageKind::kLoad, StageKind::kAfter}) {
    if (stage_kind_name(kind) == name) return kind;
  }
  return std::nullopt;
}

int64_t measured_from_ns(std::span<const RunStage> stages) {
  for (const RunStage& stage : stages) {
    if (stage.kind == StageKind::kLoad) return stage.start_ns;
  }
  return 0;
}

int64_t load_end_ns(std::span<const RunStage> stages) {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  std::optional<int64_t> end_ns = kNever;
  for (const RunStage& stage : stages) {
    if (stage.kind == StageKind::kLoad) end_ns = stage.end_ns;
  }
  return end_ns.value_or(kNever);
}

// RFC 9562, section 5.7: 48 bits of Unix milliseconds, version, 12 random bits, variant, 62 more.
std::string make_run_id(int64_t wall_ns) {
  std::array<uint8_t, 16> bytes{};
  CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  const auto millis = static_cast<uint64_t>(wall_ns / kNanosPerMilli);
  for (int i = 0; i < 6; ++i)
    bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(millis >> (40 - 8 * i));
  bytes[6] = static_cast<uint8_t>(0x70 | (bytes[6] & 0x0F));
  bytes[8] = static_cast<uint8_t>(0x80 | (bytes[8] & 0x3F));
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

}  // namespace topspin
