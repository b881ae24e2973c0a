// Values of options from outside of the command line: configuration files and the environment.
//
// A file is TOML: `db` at its top, and a table for each command, whose keys are the long options of
// that command without the hyphens ("[record]", "[load.http]"). A variable is TOPSPIN_DB, or
// TOPSPIN_, the command and the option: TOPSPIN_RECORD_INTERVAL. What counts more comes later:
// /etc/topspin/config.toml, $XDG_CONFIG_HOME/topspin/config.toml (~/.config), the environment, and
// then the command line. TOPSPIN_CONFIG names a file that is read in place of both; empty: none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace CLI {  // NOLINT(readability-identifier-naming): not our name
class App;
}

namespace topspin {

struct ConfiguredValue {
  std::string command;              // "record", "load http"; "": all that use a database
  std::string option;               // "interval"
  std::vector<std::string> values;  // of a flag "true" or "false"; an empty text: the default
  std::string source;               // "/etc/topspin/config.toml:3", "TOPSPIN_RECORD_INTERVAL"
};

struct ConfigFile {
  std::string path;
  bool exists = false;
};

struct Config {
  std::vector<ConfigFile> files;        // in the order in which they were read
  std::vector<ConfiguredValue> values;  // at most one of each option: the one that counts most
};

/// The values of a file's text. kUsage, with the file, the line, and what was probably meant, if it
/// has an unknown key or a value that no option can have. `root` has all commands.
Result<std::vector<ConfiguredValue>> parse_config(std::string_view text, const std::string& path,
                                                  const CLI::App& root);

/// What is configured on this machine. kUsage like parse_config(); kInput if a file that is there
/// cannot be read.
Result<Config> read_config(const CLI::App& root);

/// The words that give the options of `command` their configured values, except those that were
/// given on its command line. REQUIRES: `command` has parsed it.
std::vector<std::string> configured_words(const Config& config, const CLI::App& command);

/// The source of the configured value that a message about `command` speaks of; empty if none.
/// `words` are those of configured_words().
std::string source_of_error(const Config& config, const std::vector<std::string>& words,
                            const CLI::App& command, std::string_view message);

}  // namespace topspin
