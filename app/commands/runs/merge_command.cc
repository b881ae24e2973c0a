// `topspin merge`: joins databases.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/sandbox/sandbox.h"
#include "core/base/text.h"
#include "store/runs/merge.h"

namespace topspin {
namespace {

struct MergeOptions {
  std::string out;
  std::vector<std::string> in;
};

int merge(const MergeOptions& o) {
  if (auto entered = enter_sandbox({.databases = o.in, .changed_databases = {o.out}});
      !entered.ok())
    return fail(entered.error());
  bool left_out = false;
  for (const std::string& from : o.in) {
    const auto counts = merge_database(o.out, from);
    if (!counts.ok()) return fail(counts.error());
    fmt::print("{}: {} run{} copied, {} already there{}\n", sanitize_for_terminal(from),
               counts->runs, counts->runs == 1 ? "" : "s", counts->present,
               counts->recording == 0
                   ? ""
                   : fmt::format(", {} left out that are still being recorded", counts->recording));
    for (const std::string& sentence : counts->damaged) {
      left_out = true;
      say(fmt::format("{}: {}", from, sentence));
    }
  }
  return left_out ? exit_code(ErrorCode::kInput) : 0;
}

}  // namespace

void add_merge_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("merge", "Copy the runs of several databases into one");
  auto o = std::make_shared<MergeOptions>();
  command->add_option("OUT", o->out, "The database to copy into; created if it does not exist")
      ->option_text("OUT.db")
      ->required();
  command->add_option("IN", o->in, "The databases to copy from; they are only read")
      ->option_text("IN.db...")
      ->required();
  command->footer(
      "Examples:\n  topspin merge all.db host1.db host2.db\n  topspin merge ci.db "
      "artifacts/*.db\n\nA run that OUT.db already has is not copied again. A damaged run is named "
      "and left out.\n\nExit codes: 0 success; 2 wrong usage; 4 permission; 5 input or output, or "
      "a run was left out.");
  command->callback([o, &action] { action = [o] { return merge(*o); }; });
}

}  // namespace topspin
