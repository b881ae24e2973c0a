#include "report/document/document.h"

#include <cmath>

#include <fmt/format.h>

namespace topspin::document {

Span words(std::string_view text, size_t most_bytes) {
  Span span;
  span.text = text.substr(0, most_bytes + 1);  // one byte more shows that it was cut
  span.most_bytes = most_bytes;
  return span;
}

Span ours(std::string_view text) {
  Span span = words(text, text.size());
  span.kind = Span::Kind::kOurs;
  return span;
}

Span code(std::string_view text, size_t most_bytes) {
  Span span = words(text, most_bytes);
  span.kind = Span::Kind::kCode;
  return span;
}

Span absent() {
  Span span;
  span.kind = Span::Kind::kAbsent;
  return span;
}

Span number(Unit unit, double value) {
  Span span;
  span.kind = Span::Kind::kNumber;
  span.unit = unit;
  span.value = value;
  return span;
}

Span time_of_day(int64_t wall_ns) {
  Span span = number(Unit::kNanoseconds, static_cast<double>(wall_ns));
  span.kind = Span::Kind::kTime;
  return span;
}

Span metric_value(const std::string& unit, const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return absent();
  if (unit == "ns") return number(Unit::kNanoseconds, *value);
  if (unit == "bytes") return number(Unit::kBytes, *value);
  if (unit == "share") return share(*value);
  if (unit.empty() || unit == "1") return number(Unit::kCount, *value);
  const std::string text = plain_number(Unit::kCount, *value);
  return words(unit == "1/s" ? text + "/s" : fmt::format("{} {}", text, unit));
}

Line listed(const std::vector<Line>& parts, std::string_view between) {
  Line line;
  for (const Line& part : parts) {
    if (!line.empty()) line.push_back(ours(between));
    append(line, part);
  }
  return line;
}

}  // namespace topspin::document
