// `topspin compact`: the ticks of old runs become ticks of a minute.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "store/retention/compaction.h"

namespace topspin {
namespace {

struct CompactOptions {
  std::string older_than = "1d";
  std::string db;
};

int compact(const CompactOptions& o) {
  const std::string path = database_path(o.db);
  const auto age_ns = positive_duration(o.older_than, "--older-than");
  if (!age_ns.ok()) return fail(age_ns.error());
  if (auto entered = enter_sandbox({.changed_databases = {path}}); !entered.ok())
    return fail(entered.error());
  const auto report = compact_runs(path, wall_now_ns() - *age_ns);
  if (!report.ok()) return fail(report.error());
  if (report->folded_runs == 0) {
    say("no tick is old enough, or can be folded; nothing was changed");
  } else {
    say(fmt::format("{} tick{} of {} run{} became {}; {} freed", report->ticks_before,
                    report->ticks_before == 1 ? "" : "s", report->folded_runs,
                    report->folded_runs == 1 ? "" : "s", report->ticks_after,
                    format_bytes(static_cast<int64_t>(report->bytes_freed))));
  }
  constexpr size_t kMostNamed = 20;
  for (size_t i = 0; i < report->kept.size() && i < kMostNamed; ++i)
    say(fmt::format("run #{} keeps its ticks: {}", report->kept[i].run, report->kept[i].why));
  if (report->kept.size() > kMostNamed) {
    say(fmt::format("{} more runs keep their ticks for such reasons",
                    report->kept.size() - kMostNamed));
  }
  return 0;
}

}  // namespace

void add_compact_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("compact", "Fold the ticks of old runs to minutes, to save space");
  auto o = std::make_shared<CompactOptions>();
  OptionGroup(*command, "Options")
      .option("--older-than", o->older_than, "DURATION",
              "Fold the ticks that ended longer ago than this (default 1d)");
  add_database_option(*command, o->db);
  command->footer(
      "Examples:\n"
      "  topspin compact\n"
      "  topspin compact --older-than 7d --db /var/lib/topspin/web.db\n"
      "\n"
      "Counts and distributions of a minute are exactly the sums of its ticks. Accepted baselines, "
      "runs of plans, and incidents keep their ticks.");
  command->callback([o, &action] { action = [o] { return compact(*o); }; });
}

}  // namespace topspin
