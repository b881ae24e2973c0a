#include "core/base/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

struct Range {
  char32_t first, last;
};

// Code points that print nothing, reorder what is around them, or are not characters at all.
constexpr std::array kInvisible = {
    Range{0x0000, 0x001F},    Range{0x007F, 0x009F},  // C0, DEL, C1
    Range{0x00AD, 0x00AD},    Range{0x034F, 0x034F},  // soft hyphen, grapheme joiner
    Range{0x061C, 0x061C},    Range{0x115F, 0x1160},  // Arabic letter mark, Hangul fillers
    Range{0x17B4, 0x17B5},    Range{0x180B, 0x180F},  // Khmer inherent vowels, Mongolian selectors
    Range{0x200B, 0x200F},    Range{0x2028, 0x202E},  // zero width, marks, separators, embeddings
    Range{0x2060, 0x206F},    Range{0x3164, 0x3164},  // word joiner, isolates; Hangul filler
    Range{0xD800, 0xDFFF},    Range{0xE000, 0xF8FF},  // surrogates, private use
    Range{0xFDD0, 0xFDEF},    Range{0xFE00, 0xFE0F},  // non-characters, variation selectors
    Range{0xFEFF, 0xFEFF},    Range{0xFFA0, 0xFFA0},  // BOM, half-width filler
    Range{0xFFF0, 0xFFFB},    Range{0xFFFE, 0xFFFF},  // specials
    Range{0x1BCA0, 0x1BCA3},  Range{0x1D173, 0x1D17A},  // shorthand and musical format controls
    Range{0xE0000, 0x10FFFF},                           // tags, selectors, private planes
};

bool invisible(char32_t c) {
  for (const Range& r : kInvisible) {
    if (c >= r.first && c <= r.last) return true;
  }
  return false;
}

std::string three_digits(double value, std::string_view unit) {
  const double magnitude = std::fabs(value);
  const int decimals = magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, unit);
}

}  // namespace

std::optional<char32_t> next_code_point(std::string_view text, size_t& position) {
  const auto lead = static_cast<uint8_t>(text[position]);
  size_t length = 0;
  char32_t value = 0;
  if (lead < 0x80) {
    ++position;
    return lead;
  }
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
    value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    value = lead & 0x0F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    value = lead & 0x07;
  }
  bool valid = length != 0 && position + length <= text.size();
  for (size_t i = 1; valid && i < length; ++i) {
    const auto byte = static_cast<uint8_t>(text[position + i]);
    valid = (byte & 0xC0) == 0x80;
    value = (value << 6) | (byte & 0x3F);
  }
  // Overlong forms, surrogates and values beyond Unicode are not UTF-8.
  if (valid && length == 3) valid = value >= 0x800 && !(value >= 0xD800 && value <= 0xDFFF);
  if (valid && length == 4) valid = value >= 0x10000 && value <= 0x10FFFF;
  position += valid ? length : 1;
  if (!valid) return std::nullopt;
  return value;
}

std::string sanitize_for_terminal(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const auto c = next_code_point(text, position);
    if (!c || *c < 0x20 || *c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[start]));
    } else if (invisible(*c)) {
      out += fmt::format("\\u{{{:04x}}}", static_cast<uint32_t>(*c));
    } else {
      out.append(text.substr(start, position - start));
    }
  }
  return out;
}

std::string no_command(std::string line) {
  const size_t first = line.find_first_not_of(' ');
  if (first == std::string::npos) return line;
  const std::string_view rest = std::string_view(line).substr(first);
  if (rest.starts_with("::") || rest.starts_with("##"))
    line.replace(first, 1, rest.front() == ':' ? "\\x3a" : "\\x23");
  return line;
}

namespace {

std::optional<double> nanos_of_unit(std::string_view unit) {
  if (unit.empty() || unit == "s" || unit == "sec") return 1e9;
  if (unit == "ms") return 1e6;
  if (unit == "us") return 1e3;
  if (unit == "ns") return 1;
  if (unit == "m" || unit == "min") return 60e9;
  if (unit == "h") return 3600e9;
  if (unit == "d") return 86400e9;
  return std::nullopt;
}

}  // namespace

std::string_view trimmed(std::string_view text, std::string_view blanks) {
  const size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

std::optional<int64_t> parse_duration(std::string_view text) {
  const auto skip_spaces = [&] {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  };
  double ns = 0;
  bool several = false;
  skip_spaces();
  do {
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    skip_spaces();
    size_t letters = 0;
    while (letters < text.size() && text[letters] >= 'a' && text[letters] <= 'z') ++letters;
    const auto scale = nanos_of_unit(text.substr(0, letters));
    if (!scale || (several && letters == 0)) return std::nullopt;  // "1m30" could be either
    text.remove_prefix(letters);
    skip_spaces();
    if (letters == 0 && !text.empty()) return std::nullopt;
    several = true;
    ns += std::round(number * *scale);
  } while (!text.empty());
  if (ns > 9e18) return std::nullopt;
  return static_cast<int64_t>(ns);
}

std::optional<uint64_t> parse_bytes(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  while (text.starts_with(' ')) text.remove_prefix(1);
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"", 1},      {"B", 1},        {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
      {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  for (const auto& [unit, scale] : kUnits) {
    if (unit != text) continue;
    const double bytes = std::round(number * scale);
    if (bytes > 9e18) return std::nullopt;
    return static_cast<uint64_t>(bytes);
  }
  return std::nullopt;
}

std::string format_duration(int64_t ns) {
  if (ns == 0) return "0";
  const double magnitude = std::fabs(static_cast<double>(ns));
  const auto value = static_cast<double>(ns);
  if (magnitude < 1e3) return fmt::format("{}ns", ns);
  if (magnitude < 999.5e3) return three_digits(value / 1e3, "us");
  if (magnitude < 999.5e6) return three_digits(value / 1e6, "ms");
  if (magnitude < 120e9) return three_digits(value / 1e9, "s");
  if (magnitude < 7200e9) return three_digits(value / 60e9, "m");
  return three_digits(value / 3600e9, "h");
}

std::string format_exact(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string format_bytes(int64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits = {" KiB", " MiB", " GiB",
                                                      " TiB", " PiB", " EiB"};
  auto value = static_cast<double>(bytes);
  if (std::fabs(value) < 1024) return fmt::format("{} B", bytes);
  size_t unit = 0;
  for (value /= 1024; std::fabs(value) >= 999.5 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return three_digits(value, kUnits[unit]);
}

std::string format_utc(int64_t wall_ns) {
  int64_t seconds = wall_ns / kNanosPerSecond;
  int64_t rest = wall_ns % kNanosPerSecond;
  if (rest < 0) {
    rest += kNanosPerSecond;
    --seconds;
  }
  const auto t = static_cast<time_t>(seconds);
  std::tm parts{};
  if (gmtime_r(&t, &parts) == nullptr) return "?";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     rest / kNanosPerMilli);
}

std::optional<std::string_view> nearest_word(std::string_view word,
                                             std::span<const std::string_view> words) {
  // Damerau's distance with adjacent swaps, over three rows of its table.
  const auto distance = [&](std::string_view other) {
    std::vector<size_t> before, above(other.size() + 1), row(other.size() + 1);
    for (size_t j = 0; j <= other.size(); ++j) above[j] = j;
    for (size_t i = 1; i <= word.size(); ++i) {
      row[0] = i;
      for (size_t j = 1; j <= other.size(); ++j) {
        const size_t replace = above[j - 1] + (word[i - 1] == other[j - 1] ? 0 : 1);
        row[j] = std::min({replace, above[j] + 1, row[j - 1] + 1});
        if (i > 1 && j > 1 && word[i - 1] == other[j - 2] && word[i - 2] == other[j - 1])
          row[j] = std::min(row[j], before[j - 2] + 1);
      }
      before = above;
      above = row;
    }
    return above.back();
  };
  std::optional<std::string_view> nearest;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : words) {
    // The distance of two words is at least the difference of their lengths. A hostile plan may
    // hold a word of a megabyte, and this is all that is computed for it.
    if (std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size()) >= least)
      continue;
    const size_t d = distance(candidate);
    if (d >= least) continue;
    least = d;
    nearest = candidate;
  }
  return nearest;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> words) {
  const auto near = nearest_word(word, words);
  return near ? fmt::format("; did you mean {}?", *near) : std::string();
}

}  // namespace topspin
