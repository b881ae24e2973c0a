#include "load/workloads/load_option.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/text.h"

namespace topspin {
namespace {

Error wrong(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

}  // namespace

Result<int64_t> read_duration(const std::string& text, bool zero_is_fine) {
  const auto ns = parse_duration(text);
  if (!ns || *ns < 0 || (*ns == 0 && !zero_is_fine)) {
    return wrong(fmt::format("\"{}\" is not a duration{}; write it as \"1s\", \"250ms\" or \"2m\"",
                             text, zero_is_fine ? "" : " above zero"));
  }
  return *ns;
}

Result<size_t> read_word(const std::string& text, const std::vector<std::string_view>& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == text) return i;
  }
  const auto near = nearest_word(text, words);
  return wrong(fmt::format("\"{}\" is none of {}{}", text, fmt::join(words, ", "),
                           near ? fmt::format("; did you mean \"{}\"?", *near) : ""));
}

Result<uint64_t> read_number(const std::string& text, uint64_t least, uint64_t most) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || error != std::errc() || stop != end || number < least || number > most)
    return wrong(fmt::format("must be a whole number from {} to {}", least, most));
  return number;
}

LoadOption option_of_kind(LoadOption::Kind kind, std::string name, std::string help,
                          std::string default_text) {
  LoadOption option;
  option.kind = kind;
  option.name = std::move(name);
  option.help = std::move(help);
  option.default_text = std::move(default_text);
  return option;
}

std::vector<std::string> list_items(const std::string& text) {
  std::vector<std::string> items;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) items.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return items;
}

std::string LoadOption::placeholder() const {
  if (!value_name.empty()) return value_name;
  switch (kind) {
    case Kind::kFlag: return {};
    case Kind::kNumber: return "COUNT";
    case Kind::kDuration: return "DURATION";
    case Kind::kRate: return "RATE";
    case Kind::kChoice: return fmt::format("{}", fmt::join(words, "|"));
    case Kind::kText:
    case Kind::kList: break;
  }
  std::string text = name;
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string path_of_file(const LoadDraft& draft, const std::string& name) {
  if (draft.directory.empty() || name.empty() || name.starts_with('/')) return name;
  return draft.directory + "/" + name;
}

LoadOption of_file(LoadOption option) {
  option.set = [inner = std::move(option.set)](LoadDraft& draft, const std::string& text) {
    return inner(draft, path_of_file(draft, text));
  };
  return option;
}

LoadOption of_schedule(LoadOption option) {
  option.is_of_schedule = true;
  return option;
}

}  // namespace topspin
