// What compare, gate and accept can be told, and how what they find is written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ci/gate_config.h"
#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace CLI {
class App;
}

namespace topspin {

struct GateOptions {
  std::vector<std::string> sides;  // compare, A/B: which runs are A, which are B; history: all
  bool sides_are_default = false;  // then of the last topspin run alone
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

  GateConfig config;  // of config_file; loaded first
  uint64_t seed = kDefaultSeed;
};

/// --db, --config, --seed, and how the numbers of CSV files are taken.
void add_gate_options(CLI::App& command, GateOptions& options);
/// --strict, --format and -o.
void add_verdict_options(CLI::App& command, GateOptions& options, std::vector<std::string> formats,
                         std::string format_help);

/// Reads gate.toml: the file that was named, which must be there, or the one in the working
/// directory, which need not. What the command line says goes before it.
Status load_config(GateOptions& options);

/// Of a column: what gate.toml says of its name, and then what the command line says.
Result<Metric> metric_of(const GateOptions& options, std::string name);

/// Writes `text` to standard output or to -o's file.
Status deliver(const std::string& text, const GateOptions& options);

/// Writes the judgement in the format that was asked for, whatever the verdict. Returns the exit
/// code; a report that could not be written is an error of its own.
int show(const Result<Judgement>& judgement, const GateOptions& options);

}  // namespace topspin
