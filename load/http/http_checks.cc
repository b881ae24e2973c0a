#include "load/http/http_checks.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace topspin {
namespace {

using CheckedJson = nlohmann::json;

// nlohmann's json writes a value by recursion, and a server may nest it without end.
constexpr int kMostJsonLevels = 500;

/// Whether arrays and objects are nested deeper than that. `text` need not be JSON.
bool is_nested_too_deeply(std::string_view text) {
  int levels = 0;
  bool is_in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_in_text) {
      if (c == '\\') ++i;
      if (c == '"') is_in_text = false;
    } else if (c == '"') {
      is_in_text = true;
    } else if (c == '[' || c == '{') {
      if (++levels > kMostJsonLevels) return true;
    } else if (c == ']' || c == '}') {
      --levels;
    }
  }
  return false;
}

Error wrong_check(std::string_view text, std::string_view why) {
  return make_error(
      ErrorCode::kUsage,
      fmt::format("the check \"{}\": {}; write \"header NAME [= TEXT]\", \"header NAME contains "
                  "TEXT\", \"body contains TEXT\" or \"json /POINTER [= VALUE]\"",
                  text, why));
}

/// Takes the first word from `text`, and the spaces behind it.
std::string_view take_word(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return word;
}

std::optional<int> status_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 100 || number > 999)
    return std::nullopt;
  return number;
}

bool is_in(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

Result<HttpStatuses> HttpStatuses::parse(std::string_view text) {
  HttpStatuses statuses;
  statuses.ranges_.clear();
  const std::string whole(text);
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t dash = item.find('-');
    Range range{};
    if (item.size() == 3 && item.ends_with("xx") && item[0] >= '1' && item[0] <= '9') {
      range = {(item[0] - '0') * 100, (item[0] - '0') * 100 + 99};
    } else {
      const auto from = status_number(item.substr(0, dash));
      const auto to = dash == std::string_view::npos ? from : status_number(item.substr(dash + 1));
      if (!from || !to || *to < *from) {
        return make_error(
            ErrorCode::kUsage,
            fmt::format("\"{}\" in \"{}\" is no status; write 200, 300-399, 2xx, or several of "
                        "these with commas",
                        item, whole));
      }
      range = {*from, *to};
    }
    statuses.ranges_.push_back(range);
    if (comma == std::string_view::npos) return statuses;
    text.remove_prefix(comma + 1);
  }
}

bool HttpStatuses::contains(int status) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const Range& r) { return status >= r.from && status <= r.to; });
}

Result<HttpChecks::Check> HttpChecks::parse(std::string_view text) {
  const std::string_view whole = text;
  Check check;
  const std::string_view kind = take_word(text);
  if (kind == "header") {
    check.kind = Kind::kHeader;
    check.where = take_word(text);
    if (check.where.empty()) return wrong_check(whole, "the header's name is missing");
  } else if (kind == "body") {
    check.kind = Kind::kBody;
  } else if (kind == "json") {
    check.kind = Kind::kJson;
    check.where = take_word(text);
    try {
      (void)CheckedJson::json_pointer(check.where);
    } catch (const CheckedJson::exception&) {
      return wrong_check(whole, fmt::format("\"{}\" is no JSON pointer", check.where));
    }
  } else {
    return wrong_check(whole, fmt::format("\"{}\" is not header, body or json", kind));
  }
  if (text.empty()) {
    if (check.kind == Kind::kBody) return wrong_check(whole, "\"contains TEXT\" is missing");
    return check;
  }
  const std::string_view comparison = take_word(text);
  check.text = text;
  if (comparison == "=" && check.kind != Kind::kBody) {
    check.compare = Check::Compare::kEquals;
  } else if (comparison == "contains" && check.kind != Kind::kJson) {
    check.compare = Check::Compare::kContains;
  } else {
    return wrong_check(whole, fmt::format("\"{}\" does not fit here", comparison));
  }
  if (check.text.empty()) return wrong_check(whole, "there is nothing to compare with");
  if (check.kind == Kind::kJson) {
    const CheckedJson value = CheckedJson::parse(check.text, nullptr, false);
    check.text = (value.is_discarded() ? CheckedJson(check.text) : value)
                     .dump(-1, ' ', false, CheckedJson::error_handler_t::replace);
  }
  return check;
}

Result<HttpChecks> HttpChecks::make(std::string_view statuses,
                                    const std::vector<std::string>& checks) {
  HttpChecks made;
  if (!statuses.empty()) {
    TOPSPIN_ASSIGN(made.statuses_, HttpStatuses::parse(statuses));
    made.has_status_check_ = true;
    made.names_.emplace_back("status");
  }
  if (checks.size() > kMaxHttpChecks)
    return make_error(ErrorCode::kUsage, fmt::format("at most {} checks", kMaxHttpChecks));
  for (const std::string& text : checks) {
    // A name ends at ": " and has no spaces, so that a text with a colon is none.
    const size_t colon = text.find(": ");
    const bool has_name = colon != std::string::npos && colon > 0 && text.find(' ') == colon + 1;
    const std::string name = has_name ? text.substr(0, colon) : text;
    std::string_view rest = text;
    if (has_name) rest.remove_prefix(colon + 2);
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    TOPSPIN_ASSIGN(Check check, parse(rest));
    if (std::find(made.names_.begin(), made.names_.end(), name) != made.names_.end()) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("two checks are called \"{}\"; give each its own name: \"NAME: {}\"", name,
                      rest));
    }
    check.name = static_cast<uint32_t>(made.names_.size());
    made.names_.push_back(name);
    (check.kind == Kind::kHeader ? made.keep_.headers : made.keep_.body) = true;
    made.checks_.push_back(std::move(check));
  }
  return made;
}

void HttpChecks::judge(const HttpAnswer& answer, std::vector<uint32_t>& failed) const {
  failed.clear();
  if (has_status_check_ && !statuses_.contains(answer.status)) failed.push_back(0);
  std::optional<CheckedJson> json;
  for (const Check& check : checks_) {
    const auto fits = [&](const std::string& text) {
      switch (check.compare) {
        case Check::Compare::kExists: return true;
        case Check::Compare::kEquals: return text == check.text;
        case Check::Compare::kContains: return is_in(text, check.text);
      }
      return false;
    };
    bool is_met = false;
    switch (check.kind) {
      case Kind::kHeader:
        is_met = std::any_of(
            answer.headers.begin(), answer.headers.end(),
            [&](const HttpHeader& h) { return is_header(h.name, check.where) && fits(h.value); });
        break;
      case Kind::kBody: is_met = fits(answer.body); break;
      case Kind::kJson: {
        if (!json) {
          json = is_nested_too_deeply(answer.body)
                     ? CheckedJson(CheckedJson::value_t::discarded)
                     : CheckedJson::parse(answer.body, nullptr, false);
        }
        if (json->is_discarded()) break;
        try {
          const CheckedJson& value = json->at(CheckedJson::json_pointer(check.where));
          is_met = fits(value.dump(-1, ' ', false, CheckedJson::error_handler_t::replace));
        } catch (const CheckedJson::exception&) {  // there is none
        }
        break;
      }
    }
    if (!is_met) failed.push_back(check.name);
  }
}

}  // namespace topspin
