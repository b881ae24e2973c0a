// `topspin rm` and `topspin label`: tidying a database.
#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "ci/run_selection.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "store/runs/gate_log.h"
#include "store/runs/run_edit.h"

namespace topspin {
namespace {

struct RemoveOptions {
  std::vector<std::string> runs;
  std::string before;
  std::string db;
  bool yes = false;
  bool force = false;
};

struct LabelOptions {
  std::vector<std::string> words;  // RUN, then the changes
  std::string db;
};

/// "#3", "#3 and #4", "#3, #4 and 7 more".
std::string names_of(const std::vector<StoredRun>& runs) {
  constexpr size_t kMostNamed = 5;
  if (runs.size() > kMostNamed) {
    return fmt::format("#{}, #{} and {} more", runs[0].number, runs[1].number, runs.size() - 2);
  }
  std::string names;
  for (size_t i = 0; i < runs.size(); ++i) {
    const char* join = i == 0 ? "" : i + 1 == runs.size() ? " and " : ", ";
    names += fmt::format("{}#{}", join, runs[i].number);
  }
  return names;
}

std::vector<std::string> ids_of(const std::vector<StoredRun>& runs) {
  std::vector<std::string> ids;
  for (const StoredRun& run : runs) ids.push_back(run.info.id);
  return ids;
}

/// Refuses to remove baselines of the gate's history by accident.
Status refuse_baselines(const RemoveOptions& o, const std::vector<StoredRun>& runs) {
  if (o.force) return {};
  TOPSPIN_ASSIGN(const auto accepted, read_acceptances(database_path(o.db)));
  for (const StoredRun& run : runs) {
    const bool is_baseline = std::any_of(accepted.begin(), accepted.end(), [&](const auto& a) {
      return a.kind == Acceptance::Kind::kBaseline && a.run_id == run.info.id;
    });
    if (is_baseline) {
      return wrong_usage(
          fmt::format("run #{} was accepted as a baseline of gate --history; nothing was removed. "
                      "Give --force to remove it anyway",
                      run.number));
    }
  }
  return {};
}

/// The runs that were named, or all; with --before, those of them that are old enough.
Result<std::vector<StoredRun>> runs_to_remove(const RemoveOptions& o, const std::string& path) {
  if (o.runs.empty() && o.before.empty()) return wrong_usage("name a RUN, or give --before");
  std::vector<StoredRun> runs;
  {
    TOPSPIN_ASSIGN(const auto store, RunStore::open(path));
    if (o.runs.empty()) {
      std::vector<Error> unreadable;
      TOPSPIN_ASSIGN(runs, store->list_runs(&unreadable));
    } else {
      TOPSPIN_ASSIGN(runs, select_runs(*store, o.runs));
    }
  }
  if (o.before.empty()) {
    TOPSPIN_TRY(refuse_baselines(o, runs));
    return runs;
  }
  TOPSPIN_ASSIGN(const int64_t ago_ns, positive_duration(o.before, "--before"));
  TOPSPIN_ASSIGN(const auto old, runs_before(path, wall_now_ns() - ago_ns, o.force));
  std::erase_if(runs, [&](const StoredRun& run) {
    return std::find(old.begin(), old.end(), run.info.id) == old.end();
  });
  return runs;
}

/// Asks at a terminal; elsewhere --yes is required.
Result<bool> is_confirmed(const RemoveOptions& o, const std::vector<StoredRun>& runs) {
  if (o.yes) return true;
  const std::string what =
      fmt::format("{} run{} ({})", runs.size(), runs.size() == 1 ? "" : "s", names_of(runs));
  if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0)
    return wrong_usage(
        fmt::format("this is not a terminal, so rm cannot ask; add --yes to remove {}", what));
  error_outlet().write(
      fmt::format("Remove {} from {}? [y/N] ", what, sanitize_for_terminal(database_path(o.db))));
  const int answer = std::getchar();
  return answer == 'y' || answer == 'Y';
}

int remove(const RemoveOptions& o) {
  const std::string path = database_path(o.db);
  if (auto entered = enter_sandbox({.changed_databases = {path}}); !entered.ok())
    return fail(entered.error());
  const auto chosen = runs_to_remove(o, path);
  if (!chosen.ok()) return fail(chosen.error());
  if (chosen->empty()) {
    say("no run is old enough; nothing was removed");
    return 0;
  }
  const auto confirmed = is_confirmed(o, *chosen);
  if (!confirmed.ok()) return fail(confirmed.error());
  if (!*confirmed) {
    say("nothing was removed");
    return 0;
  }
  const auto removed = remove_runs(path, ids_of(*chosen));
  if (!removed.ok()) return fail(removed.error());
  std::string text = fmt::format("removed {}; {} freed", names_of(*chosen),
                                 format_bytes(static_cast<int64_t>(removed->bytes_freed)));
  if (removed->bytes_unused > 0) {
    text += fmt::format(", {} kept in the file for the next runs",
                        format_bytes(static_cast<int64_t>(removed->bytes_unused)));
  }
  if (removed->packet_files_left > 0) {
    text += fmt::format("; {} of their files of packets (DATABASE-RUN.pcapng) could not be removed",
                        removed->packet_files_left);
  }
  say(text);
  return 0;
}

/// KEY=VALUE sets a label, KEY= removes it.
Result<LabelChanges> parse_changes(std::span<const std::string> words) {
  if (words.empty()) return wrong_usage("give a label: KEY=VALUE sets one, KEY= removes it");
  LabelChanges changes;
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return wrong_usage(fmt::format("\"{}\" must be KEY=VALUE, or KEY= to remove a label", word));
    }
    std::optional<std::string>& value = changes[word.substr(0, equals)];
    value.reset();
    if (equals + 1 < word.size()) value = word.substr(equals + 1);
  }
  return changes;
}

int label(const LabelOptions& o) {
  const std::string path = database_path(o.db);
  if (auto entered = enter_sandbox({.changed_databases = {path}}); !entered.ok())
    return fail(entered.error());
  const std::span<const std::string> words(o.words);
  const auto labelled = [&]() -> Result<std::vector<StoredRun>> {
    TOPSPIN_ASSIGN(const LabelChanges changes, parse_changes(words.subspan(1)));
    std::vector<StoredRun> runs;
    {
      TOPSPIN_ASSIGN(const auto store, RunStore::open(path));
      TOPSPIN_ASSIGN(runs, select_runs(*store, words.first(1)));
    }
    TOPSPIN_TRY(change_labels(path, ids_of(runs), changes));
    return runs;
  }();
  if (!labelled.ok()) return fail(labelled.error());
  say(fmt::format("labelled {}", names_of(*labelled)));
  return 0;
}

}  // namespace

void add_rm_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("rm", "Remove runs from a database");
  auto o = std::make_shared<RemoveOptions>();
  command->add_option("RUN", o->runs, kRunHelp)->option_text("RUN...");
  const OptionGroup options(*command, "Options");
  options.option("--before", o->before, "DURATION",
                 "Only runs that started longer ago than this, such as 14d; without RUN, of all "
                 "runs. Accepted baselines and a run that is being recorded stay");
  options.flag("-y,--yes", o->yes, "Do not ask; required if there is no terminal");
  options.flag("--force", o->force,
               "Also remove runs that are accepted baselines of gate --history");
  add_database_option(*command, o->db);
  command->footer(
      "Examples:\n"
      "  topspin rm last\n"
      "  topspin rm 3 4 5 --yes\n"
      "  topspin rm session=tryout --db ci.db --yes\n"
      "  topspin rm --before 14d --yes\n"
      "\n"
      "All of the runs are removed, or none. The others keep their numbers. The space is given "
      "back to the file system, and the files of packets of incidents go too; verdicts that the "
      "gate gave stay.");
  command->callback([o, &action] { action = [o] { return remove(*o); }; });
}

void add_label_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("label", "Set or remove labels of stored runs");
  auto o = std::make_shared<LabelOptions>();
  command
      ->add_option("RUN", o->words,
                   "The run, or the runs of a commit, branch or label; then KEY=VALUE to set a "
                   "label, KEY= to remove one")
      ->option_text("RUN KEY=[VALUE]...")
      ->required();
  add_database_option(*command, o->db);
  command->footer(
      "Examples:\n"
      "  topspin label last host=quiet note='before the kernel update'\n"
      "  topspin label 12 note=\n"
      "  topspin label branch=main kept=yes");
  command->callback([o, &action] { action = [o] { return label(*o); }; });
}

}  // namespace topspin
