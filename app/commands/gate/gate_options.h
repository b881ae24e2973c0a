// The options that compare, gate and accept share, and how their result is written.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/commands/export_target.h"
#include "ci/gate_config.h"
#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace CLI {
class App;
}

namespace topspin {

struct GateOptions {
  std::vector<std::string> sides;  // compare, A/B: selectors of A and of B; history: of all runs
  bool sides_are_default = false;  // then only runs of the last `topspin run`
  std::string db;
  std::vector<std::string> samples;  // compare: two CSV files
  std::string series;                // history: one CSV file
  bool paired = false;
  bool history = false;
  std::string column;
  std::string time_column;
  std::string unit;
  std::string better;
  std::string margin;
  std::vector<std::string> acknowledged;  // indexes of a series, ids of runs
  std::optional<int64_t> given_seed;
  bool strict = false;
  std::optional<int64_t> aa_trials;
  std::string config_file;
  std::string format = "text";
  std::string output;

  bool distributions = false;
  GateConfig config;                     // of config_file; loaded first
  std::shared_ptr<ExportTarget> target;  // of output; opened before
  uint64_t seed = kDefaultSeed;
};

/// --db, --config, --seed, and the options about the numbers of CSV files.
void add_gate_options(CLI::App& command, GateOptions& options);
/// --strict, --format and -o.
void add_verdict_options(CLI::App& command, GateOptions& options, std::vector<std::string> formats,
                         std::string format_help);

/// Opens the output, enters the sandbox, and then reads gate.toml: the file that was named, which
/// must exist, or the one in the working directory, if there is one. The command line takes
/// precedence over it. `changes_database`: the command stores something in it.
Status load_config(GateOptions& options, bool changes_database);

/// The metric for a column: gate.toml's settings for its name, changed by those of the command
/// line.
Result<Metric> metric_of(const GateOptions& options, std::string name);

/// Writes `text` to standard output or to -o's file.
Status deliver(const std::string& text, const GateOptions& options);

/// Writes the judgement in the chosen format, for any verdict. Returns the exit code. A
/// report that could not be written is an error.
int show(const Result<Judgement>& judgement, const GateOptions& options);

}  // namespace topspin
