// OptionGroup: options of a command under one heading of its help, each with a placeholder for its
// value: `-i INTERFACE`, `--period DURATION`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/base/result.h"

namespace topspin {

/// The headings, in the order in which help shows them.
inline constexpr const char* kIncidentsGroup = "Incidents";
inline constexpr const char* kCaptureGroup = "Capture";
inline constexpr const char* kScheduleGroup = "Schedule";
inline constexpr const char* kMessagesGroup = "Messages";
inline constexpr const char* kSubjectGroup = "Subject";
inline constexpr const char* kTimeGroup = "Time";
inline constexpr const char* kWorkersGroup = "Workers";
inline constexpr const char* kProbesGroup = "Probes";
inline constexpr const char* kStorageGroup = "Storage";
inline constexpr const char* kMetricsGroup = "Metrics";
inline constexpr const char* kDisplayGroup = "Display";

Error wrong_usage(std::string message);

/// "xml is not one of text, json; did you mean ...?". Used for every list of words.
std::string not_one_of(std::string_view text, const std::vector<std::string>& words);

/// "abc is not a whole number from 1 to 9"; empty if `text` is one. With UINT64_MAX no limit is
/// named.
std::string not_a_number_between(std::string_view text, uint64_t least, uint64_t most);

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

  /// Takes a whole number from `least` to `most`, and refuses everything else.
  template <typename Value>
  CLI::Option* number(const char* names, Value& value, const char* placeholder, uint64_t least,
                      uint64_t most, std::string help) const {
    return option(names, value, placeholder, std::move(help))->check([=](const std::string& text) {
      return not_a_number_between(text, least, most);
    });
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

/// Adds --db, for a command that reads or writes a database. database_path() (observe_options.h)
/// finds the database if the option is not given.
void add_database_option(CLI::App& command, std::string& database);

}  // namespace topspin
