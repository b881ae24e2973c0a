#include "report/document/readable.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/text.h"

namespace topspin {
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

}  // namespace

std::string plain_text(std::string_view text, size_t most_bytes) {
  // What is cut off is not looked at: a megabyte of a label costs nothing.
  const bool cut = text.size() > most_bytes;
  if (cut) {
    text = text.substr(0, most_bytes);
    // Not in the middle of a code point.
    for (int i = 0; i < 3 && !text.empty() && (static_cast<unsigned char>(text.back()) & 0x80);
         ++i) {
      const bool lead = (static_cast<unsigned char>(text.back()) & 0x40) != 0;
      text.remove_suffix(1);
      if (lead) break;
    }
  }
  return sanitize_for_terminal(text) + (cut ? "…" : "");
}

std::string html_text(std::string_view text, size_t most_bytes) {
  std::string escaped;
  for (const char c : plain_text(text, most_bytes)) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string json_for_script(std::string_view json) {
  std::string escaped;
  escaped.reserve(json.size());
  for (const char c : json) {
    switch (c) {
      case '&': escaped += "\\u0026"; break;
      case '<': escaped += "\\u003c"; break;
      case '>': escaped += "\\u003e"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  if (value == std::floor(value) && std::fabs(value) < 9e15)
    return fmt::format("{}", static_cast<int64_t>(value));
  return fmt::format("{:.6g}", value);
}

std::string page_count(uint64_t count) {
  std::string digits = fmt::format("{}", count);
  for (size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string page_duration(int64_t ns) { return with_narrow_space(format_duration(ns)); }
std::string page_bytes(int64_t bytes) { return with_narrow_space(format_bytes(bytes)); }

std::string page_percent(double share) {
  const double percent = 100 * share;
  const int decimals = std::fabs(percent) >= 99.95 ? 0 : std::fabs(percent) >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f}{}%", percent, decimals, kNarrowSpace);
}

std::string page_number(Unit unit, double value) {
  const auto whole = [](double v) {
    return static_cast<int64_t>(std::clamp(std::round(v), -9e18, 9e18));
  };
  switch (unit) {
    case Unit::kNanoseconds: return page_duration(whole(value));
    case Unit::kBytes: return page_bytes(whole(value));
    case Unit::kCpus: return page_percent(value);
    case Unit::kCount:
    case Unit::kPerSecond: break;
  }
  if (value < 0) return fmt::format("{:.4g}", value);
  if (value < 100 && value != std::floor(value)) return fmt::format("{:.3g}", value);
  return page_count(static_cast<uint64_t>(whole(value)));
}

std::string page_time(int64_t wall_ns) {
  const std::string utc = format_utc(wall_ns);  // 2026-11-20T21:14:54.123Z
  if (utc.size() < 16) return utc;
  return fmt::format("{} {} UTC", utc.substr(0, 10), utc.substr(11, 5));
}

}  // namespace topspin
