#include "report/document/readable.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin::document {
namespace {

constexpr std::string_view kNarrowSpace = "\u202f";

/// "2.16ms" and "108 MiB" with a narrow space before the unit; "us" becomes "µs".
std::string with_narrow_space(const std::string& number) {
  const size_t unit = number.find_first_not_of("-0123456789.");
  if (unit == std::string::npos) return number;
  std::string name = number.substr(number.find_first_not_of(' ', unit));
  if (name == "us") name = "µs";
  if (name == "m") name = "min";
  return number.substr(0, unit) + std::string(kNarrowSpace) + name;
}

/// With three digits.
std::string percent(double share, std::string_view space) {
  const double percent = 100 * share;
  const int decimals = std::fabs(percent) >= 99.95 ? 0 : std::fabs(percent) >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f}{}%", percent, decimals, space);
}

int64_t whole(double value) {
  return static_cast<int64_t>(std::clamp(std::round(value), -9e18, 9e18));
}

std::string amount(double value) {
  if (value < 0) return fmt::format("{:.4g}", value);
  if (value < 100 && value != std::floor(value)) return fmt::format("{:.3g}", value);
  return page_count(static_cast<uint64_t>(whole(value)));
}

}  // namespace

std::string plain_text(std::string_view text, size_t most_bytes) {
  // The part that is cut off is not read, so a label of a megabyte costs nothing.
  const bool cut = text.size() > most_bytes;
  if (cut) {
    text = text.substr(0, most_bytes);
    // Do not cut within a code point.
    for (int i = 0; i < 3 && !text.empty() && (static_cast<unsigned char>(text.back()) & 0x80);
         ++i) {
      const bool lead = (static_cast<unsigned char>(text.back()) & 0x40) != 0;
      text.remove_suffix(1);
      if (lead) break;
    }
  }
  return sanitize_for_terminal(text) + (cut ? "…" : "");
}

std::string capitalized(std::string_view label) {
  std::string text(label);
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string page_count(uint64_t count) { return format_exact(count); }

std::string page_duration(int64_t ns) { return with_narrow_space(format_duration(ns)); }
std::string page_bytes(int64_t bytes) { return with_narrow_space(format_bytes(bytes)); }

std::string page_percent(double share) { return percent(share, kNarrowSpace); }

std::string page_number(Unit unit, double value) {
  switch (unit) {
    case Unit::kNanoseconds: return page_duration(whole(value));
    case Unit::kBytes: return page_bytes(whole(value));
    case Unit::kCpus:
    case Unit::kShare: return page_percent(value);
    case Unit::kCount:
    case Unit::kPerSecond: break;
  }
  return amount(value);
}

std::string plain_number(Unit unit, double value) {
  switch (unit) {
    case Unit::kNanoseconds: return format_duration(whole(value));
    case Unit::kBytes: return format_bytes(whole(value));
    case Unit::kCpus:
    case Unit::kShare: return percent(value, "");
    case Unit::kCount:
    case Unit::kPerSecond: break;
  }
  return amount(value);
}

std::string page_time(int64_t wall_ns) {
  std::string utc = format_utc(wall_ns);  // 2026-11-20T21:14:54.123Z
  if (utc.size() < 16) return utc;
  return fmt::format("{} {} UTC", utc.substr(0, 10), utc.substr(11, 5));
}

}  // namespace topspin::document
