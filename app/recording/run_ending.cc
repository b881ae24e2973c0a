#include "app/recording/run_ending.h"

#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/host/outlet.h"
#include "app/tick/judge_losses.h"

namespace topspin {

RunEnd make_run_end(const TickBuilder& ticks, EndFacts facts) {
  RunEnd end;
  end.duration_ns = facts.duration_ns;
  end.exit_status = facts.exit_status;
  const RunFold& fold = ticks.fold();
  LossInterval losses = fold.merged.losses;
  losses.merge(facts.late_losses);
  end.invalid_reasons = judge_losses(losses, fold.merged.flows, fold.ticks);
  end.doubts = doubts_of(fold.merged.flows);
  if (auto doubt = doubt_of_guessed_ends(ticks.ends_guessed()))
    end.doubts.push_back(*std::move(doubt));
  for (std::string& doubt : facts.probes_doubts) end.doubts.push_back(std::move(doubt));
  if (auto doubt = ticks.split_doubt()) end.doubts.push_back(*std::move(doubt));
  if (facts.failure) {
    end.status = RunStatus::kFailed;
    end.invalid_reasons.push_back(facts.failure->message);
  }
  return end;
}

namespace {

void tell_failures(uint64_t failed, bool tells) {
  if (!tells || failed == 0) return;
  say(fmt::format("{} connections and requests failed: refused, never completed or unanswered",
                  failed));
}

}  // namespace

void tell_run_end(const RecordOptions& options, const EndedRun& run, bool with_screen) {
  const RunSettings& settings = run.info.settings;
  const FlowInterval& flows = run.ticks.fold().merged.flows;
  if (flows.packets == 0 && !options.quiet) {
    say(settings.filter.empty()
            ? fmt::format("0 packets came on {}", settings.interface)
            : fmt::format("0 packets matched '{}' on {}", settings.filter, settings.interface));
  }
  const bool tells = !options.quiet || with_screen;
  if (!options.store) {
    tell_failures(run.totals.failed_work(), tells);
    return;
  }
  const bool clean = run.end.invalid_reasons.empty() && run.end.doubts.empty();
  if (!clean || !options.quiet) {
    const RunStanding standing = standing_of(run.info, run.end, run.totals);
    std::string line = "the run is " + standing_text(standing, run.end.status);
    if (!standing.reasons.empty()) line += fmt::format(": {}", fmt::join(standing.reasons, "; "));
    say(line);
  }
  tell_failures(run.totals.failed_work(), tells);
  if (tells) {
    say(fmt::format("{} ticks, {} flows, {} packets kept in {} as run {}", run.ticks.fold().ticks,
                    flows.new_flows, flows.packets, run.database, run.info.id));
  }
}

}  // namespace topspin
