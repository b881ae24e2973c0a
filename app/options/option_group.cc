#include "app/options/option_group.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/text.h"

namespace topspin {

Error wrong_usage(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

std::string not_one_of(std::string_view text, const std::vector<std::string>& words) {
  const std::vector<std::string_view> views(words.begin(), words.end());
  return fmt::format("{} is not one of {}{}", text, fmt::join(words, ", "),
                     did_you_mean(text, views));
}

std::string not_a_number_between(std::string_view text, uint64_t least, uint64_t most) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec == std::errc() && read.ptr == end && number >= least && number <= most) return {};
  return fmt::format("{} is not a whole number {}", text,
                     most == UINT64_MAX ? fmt::format("of at least {}", least)
                                        : fmt::format("from {} to {}", least, most));
}

CLI::Option* OptionGroup::choice(const char* names, std::string& value, const char* placeholder,
                                 std::vector<std::string> words, std::string help) const {
  return option(names, value, placeholder, std::move(help))
      ->check([words = std::move(words)](const std::string& text) {
        const bool known = std::find(words.begin(), words.end(), text) != words.end();
        return known ? std::string() : not_one_of(text, words);
      });
}

void add_database_option(CLI::App& command, std::string& database) {
  OptionGroup(command, kStorageGroup)
      .option("--db", database, "FILE", "The database (default $TOPSPIN_DB, else topspin.db)");
}

}  // namespace topspin
