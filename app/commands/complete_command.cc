// `topspin complete KIND`: words for the shells' completions that depend on this host or database.
#include <array>
#include <set>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/sandbox/sandbox.h"
#include "capture/flow_tracker.h"
#include "core/tick/numbers.h"
#include "core/tick/sample.h"
#include "probes/probes.h"
#include "store/run_store.h"

namespace topspin {
namespace {

constexpr size_t kNewestRuns = 50;

/// Labels, branches and interfaces are foreign text, and what a shell completes may be executed:
/// only words in which no shell sees anything but letters are offered.
void print_word(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=_-./:@+,%";
  if (word.empty() || word.starts_with('-') || word.find_first_not_of(kPlain) != word.npos) return;
  fmt::print("{}\n", word);
}

/// The newest runs by their numbers, and all labels and branches. Nothing if there is no database.
void print_runs() {
  print_word("last");
  const std::string path = database_path("");
  if (!enter_sandbox({.databases = {path}}).ok()) return;
  const auto store = RunStore::open(path);
  if (!store.ok()) return;
  std::vector<Error> damaged;
  const auto runs = (*store)->list_runs(&damaged);
  if (!runs.ok()) return;
  std::set<std::string> selectors;
  for (size_t i = runs->size(); i > 0 && runs->size() - i < kNewestRuns; --i) {
    const StoredRun& run = (*runs)[i - 1];
    print_word(std::to_string(run.number));
    if (!run.info.source.branch.empty()) selectors.insert("branch=" + run.info.source.branch);
    for (const auto& [key, value] : run.info.labels) selectors.insert(key + "=" + value);
  }
  for (const std::string& selector : selectors) print_word(selector);
}

void print_interface_names() {
  const auto interfaces = list_interfaces();
  if (!interfaces.ok()) return;
  for (const InterfaceInfo& interface : *interfaces) print_word(interface.name);
}

void print_numbers() {
  for (const RegisteredNumber& number : numbers()) print_word(number.name);
}

void print_probes() {
  for (const std::string& probe : probe_names()) {
    print_word(probe + "=on");
    for (int rung = 0; rung <= static_cast<int>(Rung::kNone); ++rung)
      print_word(fmt::format("{}={}", probe, rung_name(static_cast<Rung>(rung))));
  }
}

}  // namespace

void add_complete_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("complete", "");
  command->group("");  // hidden from help, because only the shells use it
  auto kind = std::make_shared<std::string>();
  command->add_option("KIND", *kind)->required();
  command->callback([kind, &action] {
    action = [kind] {
      struct Kind {
        std::string_view name;
        void (*print)();
      };
      constexpr std::array<Kind, 4> kKinds = {{{"runs", print_runs},
                                               {"interfaces", print_interface_names},
                                               {"numbers", print_numbers},
                                               {"probes", print_probes}}};
      for (const Kind& each : kKinds) {
        if (each.name == *kind) each.print();
      }
      return 0;
    };
  });
}

}  // namespace topspin
