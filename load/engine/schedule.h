// The schedule of a load: when each client is present, and at which moments it is due. Pure.
//
// Stages are text:
//
//   stages := item { "," item }
//   item   := [NAME "="] ramp | [NAME "="] hold | [NAME "="] stairs | repeat
//   ramp   := FROM ":" TO "over" DURATION          0:15000 over 60s
//   hold   := "hold" DURATION                      hold 30s
//   stairs := "stairs" FROM ":" TO "by" STEP "every" DURATION
//                                                  stairs 0:5000 by 1000 every 10s
//   repeat := COUNT "x(" stages ")"                3x(0:100 over 5s, hold 5s, 100:0 over 5s)
//
// All times are computed from the stages and not from each other, so nothing drifts. Slot i (0, 1,
// 2, ...) is taken while the level is above i. Each time that it is taken, there is a new client
// with its own socket. The client that came last leaves first. Slot and period give a fixed phase:
// the client is due at phase + k * period for every k during its stay. All times are nanoseconds
// since the load began.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

inline constexpr uint32_t kMaxClients = 4'000'000;  // the ledger and the stays are kept in memory
inline constexpr uint64_t kMaxStays = 20'000'000;   // clients over all repeats
inline constexpr size_t kMaxStages = 1'000;         // each has three histograms of 10 KB
inline constexpr int64_t kMaxLoadNs = 30 * 86'400'000'000'000;  // 30 days

/// The number of clients goes from `from` to `to`, evenly over `duration_ns` (0: at once).
struct LoadStage {
  std::string name;  // given, or ramp_up, hold, ramp_down, stairs; made unique: NAME_2
  uint32_t from = 0;
  uint32_t to = 0;
  int64_t duration_ns = 0;

  bool operator==(const LoadStage&) const = default;
};

/// kUsage quotes the wrong item. Each stage must begin at the level at which the one before ended.
/// The first may begin at any number of clients, which are then present at once.
Result<std::vector<LoadStage>> parse_stages(std::string_view text);

/// The text of stages, which parse_stages() reads back as they are.
std::string stages_text(const std::vector<LoadStage>& stages);

/// "10/s", "600/m", "5000/h"; a bare number is per second. Events per second, > 0.
Result<double> parse_rate(std::string_view text);

/// The short form: ramp up at `arrive_per_s`, hold, ramp down at `leave_per_s`. A rate of 0 means
/// all at once.
Result<std::vector<LoadStage>> stages_from_rates(uint32_t clients, double arrive_per_s,
                                                 int64_t hold_ns, double leave_per_s);

/// One client: it takes the slot at join_ns and leaves at leave_ns.
struct ClientStay {
  uint32_t slot = 0;
  int64_t join_ns = 0;
  int64_t leave_ns = 0;

  bool operator==(const ClientStay&) const = default;
};

struct Schedule {
  std::vector<LoadStage> stages;
  std::vector<int64_t> stage_begin_ns;  // one per stage
  int64_t end_ns = 0;                   // the last stage's end; the remaining clients leave then
  uint32_t clients_max = 0;
  std::vector<ClientStay> stays;  // in the order of join_ns

  int64_t stage_end_ns(size_t stage) const {
    return stage_begin_ns[stage] + stages[stage].duration_ns;
  }
};

/// kUsage if the stages exceed a limit above or do not join.
Result<Schedule> make_schedule(std::vector<LoadStage> stages);

/// The moments within a period at which clients are due.
struct Rhythm {
  int64_t period_ns = 0;  // 0: clients are never due
  // Phases are multiples of this (0: of 1 ns), so several clients are due at the same time and one
  // wakeup serves them all.
  int64_t grid_ns = 0;
};

/// The phase of a slot within the period, 0 <= phase < period. Phases are spread by the golden
/// ratio, so that any number of consecutive slots is spread evenly.
int64_t client_phase_ns(uint32_t slot, const Rhythm& rhythm);

/// The first moment phase + k * period at or after `from_ns`.
int64_t first_due_ns(int64_t phase_ns, int64_t period_ns, int64_t from_ns);

/// How many moments phase + k * period lie in [from_ns, to_ns).
uint64_t count_due(int64_t phase_ns, int64_t period_ns, int64_t from_ns, int64_t to_ns);

/// The number of due moments in the whole schedule until `until_ns`. The accounts must agree with
/// it.
uint64_t count_planned(const Schedule& schedule, const Rhythm& rhythm, int64_t until_ns);

}  // namespace topspin
