// The commands of the program. Each adds itself to the command line and, when the user chooses it,
// sets the action to run. Other rooms include this header only.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming): not our name
class App;
}

namespace topspin {

/// Runs the chosen command; the value is the process's exit code.
using Action = std::function<int()>;

/// The words after "--" on the command line: the subject's command.
using TrailingCommand = std::vector<std::string>;

void add_record_command(CLI::App& root, const TrailingCommand& trailing, Action& action);
void add_watch_command(CLI::App& root, const TrailingCommand& trailing, Action& action);
void add_live_command(CLI::App& root, const TrailingCommand& trailing, Action& action);
void add_replay_command(CLI::App& root, Action& action);
void add_read_command(CLI::App& root, Action& action);
void add_ends_command(CLI::App& root, Action& action);
void add_list_command(CLI::App& root, Action& action);
void add_report_command(CLI::App& root, Action& action);
void add_explain_command(CLI::App& root, Action& action);
void add_export_command(CLI::App& root, Action& action);
void add_sql_command(CLI::App& root, Action& action);
void add_compare_command(CLI::App& root, Action& action);
void add_gate_command(CLI::App& root, Action& action);
void add_accept_command(CLI::App& root, Action& action);
void add_doctor_command(CLI::App& root, Action& action);
void add_config_command(CLI::App& root, Action& action);
void add_complete_command(CLI::App& root, Action& action);
void add_fault_subject_command(CLI::App& root, Action& action);
void add_load_command(CLI::App& root, Action& action);
void add_worker_command(CLI::App& root, Action& action);
void add_run_command(CLI::App& root, Action& action);
void add_ci_command(CLI::App& root, Action& action);
void add_merge_command(CLI::App& root, Action& action);
void add_rm_command(CLI::App& root, Action& action);
void add_compact_command(CLI::App& root, Action& action);
void add_label_command(CLI::App& root, Action& action);
void add_push_command(CLI::App& root, Action& action);
void add_pull_command(CLI::App& root, Action& action);
void add_store_command(CLI::App& root, Action& action);

/// `topspin -D`: prints the interfaces that can be captured on. Returns the exit code.
int print_interfaces();

/// The versions of topspin and of each library in use, one per line.
std::string version_text();

}  // namespace topspin
