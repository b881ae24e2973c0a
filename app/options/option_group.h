// OptionGroup: options of a command under one heading of its help, each with a placeholder that
// says what it takes: `-i INTERFACE`, `--period DURATION`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/base/result.h"

namespace topspin {

/// The headings, in the order in which help shows them.
inline constexpr const char* kCaptureGroup = "Capture";
inline constexpr const char* kSubjectGroup = "Subject";
inline constexpr const char* kTimeGroup = "Time";
inline constexpr const char* kProbesGroup = "Probes";
inline constexpr const char* kStorageGroup = "Storage";
inline constexpr const char* kDisplayGroup = "Display";

Error wrong_usage(std::string message);

/// "xml is not one of text, json; did you mean ...?". Every list of words goes through here.
std::string not_one_of(std::string_view text, const std::vector<std::string>& words);

class OptionGroup {
 public:
  /// REQUIRES: `command` outlives the group.
  OptionGroup(CLI::App& command, const char* name) : command_(command), name_(name) {}

  template <typename Value>
  CLI::Option* option(const char* names, Value& value, const char* placeholder,
                      std::string help) const {
    return command_.add_option(names, value, std::move(help))
        ->option_text(placeholder)
        ->group(name_);
  }

  /// May be given several times.
  CLI::Option* list(const char* names, std::vector<std::string>& values, const char* placeholder,
                    std::string help) const {
    return option(names, values, placeholder, std::move(help))->allow_extra_args(false);
  }

  CLI::Option* flag(const char* names, bool& value, std::string help) const {
    return command_.add_flag(names, value, std::move(help))->group(name_);
  }

  /// Takes one of `words` and refuses everything else.
  CLI::Option* choice(const char* names, std::string& value, const char* placeholder,
                      std::vector<std::string> words, std::string help) const;

 private:
  CLI::App& command_;
  const char* name_;
};

/// --db of a command that reads or writes a database; how it is found if it is not given:
/// database_path() in observe_options.h.
void add_database_option(CLI::App& command, std::string& database);

}  // namespace topspin
