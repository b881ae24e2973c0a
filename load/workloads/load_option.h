// LoadOption: describes an option of a workload once. Both `topspin load KIND --NAME TEXT` and the
// keys of a plan's [load] (with _ for -) are made from it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "load/load.h"

namespace topspin {

/// LoadOptions while they are being read.
struct LoadDraft {
  LoadOptions options;
  std::map<std::string, std::string> texts;  // of the options that were set, by name
  std::string directory;                     // of a plan, where its files are; empty: the current
  // The schedule, from which finish_stages() makes options.stages.
  std::optional<std::string> stages;
  std::optional<uint32_t> clients;
  std::optional<double> arrive_per_s, leave_per_s;
  std::optional<int64_t> hold_ns;
};

struct LoadOption {
  enum class Kind : uint8_t { kFlag, kNumber, kText, kDuration, kRate, kChoice, kList };

  std::string name;  // as on the command line, without the hyphens: "expect-bytes"
  std::string help;
  Kind kind = Kind::kText;
  std::string default_text;               // empty: none, or given in `help`
  std::vector<std::string_view> words;    // for a choice
  uint64_t least = 0, most = UINT64_MAX;  // for a number
  /// Sets the option. The error says what is wrong with the text, without the option's name.
  /// Options are set in the order of the list.
  std::function<Status(LoadDraft&, const std::string& text)> set;
  bool is_positional = false;   // on the command line it is a word without its name, and required
  bool is_of_schedule = false;  // it decides when messages are sent, not what they are
  std::string value_name;       // shown for its value; empty: as its kind and name say
  char letter = 0;              // a short form, as 'H' for -H
  bool is_of_host = false;      // it names a file of this host, which workers do not read

  /// "DURATION", "keep-alive|close", "PATH"; empty for a flag.
  std::string placeholder() const;
};

/// One without set().
LoadOption option_of_kind(LoadOption::Kind kind, std::string name, std::string help,
                          std::string default_text = {});

/// A list (kList) may be given several times, and is a list in a plan. Its text has one item per
/// line.
std::vector<std::string> list_items(const std::string& text);

/// Where the file is that an option names.
std::string path_of_file(const LoadDraft& draft, const std::string& name);

/// The option, set to path_of_file() of its text.
LoadOption of_file(LoadOption option);

/// The option with is_of_schedule set.
LoadOption of_schedule(LoadOption option);

/// Member pointers say where the value is stored: in LoadOptions or in the draft itself.
template <typename T>
T& member_of(LoadDraft& draft, T LoadOptions::*member) {
  return draft.options.*member;
}
template <typename T>
T& member_of(LoadDraft& draft, T LoadDraft::*member) {
  return draft.*member;
}

template <typename T>
T& member_of(LoadDraft& draft, T HttpLoadOptions::*member) {
  return draft.options.http.*member;
}

/// Parse "250ms" into nanoseconds, a text into the index of one of the words, and a number. The
/// error says what is wrong with the text.
Result<int64_t> read_duration(const std::string& text, bool zero_is_fine = false);
Result<size_t> read_word(const std::string& text, const std::vector<std::string_view>& words);
Result<uint64_t> read_number(const std::string& text, uint64_t least, uint64_t most);

template <typename T>
T& member_of(LoadDraft& draft, T LoadFindOptions::*member) {
  return draft.options.find.*member;
}

/// A flag's text is "true" or "false".
template <typename Member>
LoadOption flag_option(std::string name, std::string help, Member member) {
  LoadOption option = option_of_kind(LoadOption::Kind::kFlag, std::move(name), std::move(help));
  option.set = [=](LoadDraft& draft, const std::string& text) -> Status {
    member_of(draft, member) = text == "true";
    return {};
  };
  return option;
}

template <typename Member>
LoadOption text_option(std::string name, std::string help, Member member,
                       std::string default_text = {}) {
  LoadOption option = option_of_kind(LoadOption::Kind::kText, std::move(name), std::move(help),
                                     std::move(default_text));
  option.set = [=](LoadDraft& draft, const std::string& text) -> Status {
    member_of(draft, member) = text;
    return {};
  };
  return option;
}

template <typename Member>
LoadOption list_option(std::string name, std::string help, Member member) {
  LoadOption option = option_of_kind(LoadOption::Kind::kList, std::move(name), std::move(help));
  option.set = [=](LoadDraft& draft, const std::string& text) -> Status {
    member_of(draft, member) = list_items(text);
    return {};
  };
  return option;
}

template <typename Member>
LoadOption number_option(std::string name, std::string help, uint64_t least, uint64_t most,
                         Member member, std::string default_text = {}) {
  LoadOption option = option_of_kind(LoadOption::Kind::kNumber, std::move(name), std::move(help),
                                     std::move(default_text));
  option.least = least;
  option.most = most;
  option.set = [=](LoadDraft& draft, const std::string& text) -> Status {
    TOPSPIN_ASSIGN(const uint64_t number, read_number(text, least, most));
    auto& value = member_of(draft, member);
    if constexpr (requires { value.reset(); })
      value.emplace(static_cast<std::decay_t<decltype(*value)>>(number));
    else
      value = static_cast<std::decay_t<decltype(value)>>(number);
    return {};
  };
  return option;
}

template <typename Member>
LoadOption duration_option(std::string name, std::string help, Member member,
                           std::string default_text = {}, bool zero_is_fine = false) {
  LoadOption option = option_of_kind(LoadOption::Kind::kDuration, std::move(name), std::move(help),
                                     std::move(default_text));
  option.set = [=](LoadDraft& draft, const std::string& text) -> Status {
    TOPSPIN_ASSIGN(member_of(draft, member), read_duration(text, zero_is_fine));
    return {};
  };
  return option;
}

template <typename Member>
LoadOption rate_option(std::string name, std::string help, Member member) {
  LoadOption option = option_of_kind(LoadOption::Kind::kRate, std::move(name), std::move(help));
  option.set = [=](LoadDraft& draft, const std::string& text) -> Status {
    TOPSPIN_ASSIGN(member_of(draft, member), parse_rate(text));
    return {};
  };
  return option;
}

/// One of a few words, each with its value. The first one is the default.
template <typename T, typename Owner>
LoadOption choice_option(std::string name, std::string help, T Owner::*member,
                         std::vector<std::pair<std::string_view, T>> choices) {
  LoadOption option = option_of_kind(LoadOption::Kind::kChoice, std::move(name), std::move(help),
                                     std::string(choices.front().first));
  for (const auto& [word, meaning] : choices) option.words.push_back(word);
  option.set = [=, words = option.words](LoadDraft& draft, const std::string& text) -> Status {
    TOPSPIN_ASSIGN(const size_t chosen, read_word(text, words));
    member_of(draft, member) = choices[chosen].second;
    return {};
  };
  return option;
}

}  // namespace topspin
