#include "app/scrape/otlp_target.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/text.h"

namespace topspin {
namespace {

constexpr const char* kHeadersVariable = "OTEL_EXPORTER_OTLP_HEADERS";
constexpr const char* kCertificateVariable = "OTEL_EXPORTER_OTLP_CERTIFICATE";
constexpr const char* kIntervalVariable = "OTEL_METRIC_EXPORT_INTERVAL";
constexpr int64_t kDefaultInterval = 10 * kNanosPerSecond;
/// The totals are copied once a second (MetricsPage::kUpdateNs).
constexpr int64_t kLeastIntervalMs = 1'000, kMostIntervalMs = 3'600'000;
constexpr size_t kMostUrlBytes = 2'000;
constexpr size_t kMostHeaders = 32;
constexpr size_t kMostHeaderBytes = 8'192;
constexpr std::string_view kBlanks = " \t";  // a line break in a header is refused

Error wrong_url(const std::string& url, std::string_view why) {
  // A user and a password before an @ are not for the terminal.
  const size_t at = url.rfind('@');
  const std::string shown = at == std::string::npos ? url : "..." + url.substr(at);
  return make_error(ErrorCode::kUsage,
                    fmt::format("--otlp {}: {}; write it as http://127.0.0.1:4318 or "
                                "https://collector.example:4318",
                                sanitize_for_terminal(shown.substr(0, kMostUrlBytes)), why));
}

bool is_token(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

/// Replaces %XX; nullopt if what follows a % is no byte.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    uint8_t byte = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const char* const end = text.data() + i + 3;
    if (std::from_chars(text.data() + i + 1, end, byte, 16).ptr != end) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

/// "Name: value" of "name=value"; nullopt if it is no header that may be set.
std::optional<std::string> header_of(std::string_view entry) {
  const size_t equals = entry.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  const std::string_view name = trimmed(entry.substr(0, equals), kBlanks);
  const auto value = percent_decoded(trimmed(entry.substr(equals + 1), kBlanks));
  if (!is_token(name) || !value || value->empty()) return std::nullopt;
  // What libcurl sets, and what would change where a message ends.
  for (const char* own : {"content-type", "content-length", "content-encoding", "host",
                          "transfer-encoding", "expect", "connection"})
    if (lower_case(name) == own) return std::nullopt;
  const bool is_plain = std::all_of(value->begin(), value->end(),
                                    [](char c) { return c == '\t' || (c >= ' ' && c != '\x7f'); });
  if (!is_plain || name.size() + value->size() > kMostHeaderBytes) return std::nullopt;
  return fmt::format("{}: {}", name, *value);
}

Result<std::vector<std::string>> headers_of(std::string_view list) {
  std::vector<std::string> headers;
  size_t position = 0;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view entry = trimmed(list.substr(0, comma), kBlanks);
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    ++position;
    if (entry.empty()) continue;
    auto header = header_of(entry);
    if (!header || headers.size() == kMostHeaders) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("{} is a list such as Authorization=Bearer%20abc,X-Scope-OrgID=1, of at most "
                      "{} headers; its entry {} is none that can be set (values are not shown)",
                      kHeadersVariable, kMostHeaders, position));
    }
    headers.push_back(std::move(*header));
  }
  return headers;
}

Result<int64_t> interval_of(const char* text) {
  if (text == nullptr || *text == '\0') return kDefaultInterval;
  const std::string_view digits = text;
  int64_t ms = 0;
  const char* const end = digits.data() + digits.size();
  if (std::from_chars(digits.data(), end, ms).ptr != end || ms < kLeastIntervalMs ||
      ms > kMostIntervalMs) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} {} is no number of milliseconds from {} to {}",
                                  kIntervalVariable, sanitize_for_terminal(digits.substr(0, 40)),
                                  kLeastIntervalMs, kMostIntervalMs));
  }
  return ms * kNanosPerMilli;
}

/// Of a URL that otlp_target() took: "collector.example", "127.0.0.1", "[::1]".
std::string host_of(const std::string& url) {
  const std::string rest = url.substr(url.find("//") + 2);
  const std::string authority = rest.substr(0, rest.find('/'));
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.rfind(':'));
}

}  // namespace

bool OtlpTarget::shows_headers() const {
  if (headers.empty() || !base_url.starts_with("http:")) return false;
  const std::string host = lower_case(host_of(base_url));
  return host != "localhost" && host != "[::1]" && !host.starts_with("127.");
}

Result<OtlpTarget> otlp_target(const std::string& url, const VariableReader& variable) {
  OtlpTarget target;
  const size_t scheme_end = url.find("://");
  const std::string scheme = lower_case(url.substr(0, scheme_end));
  if (scheme_end == std::string::npos || (scheme != "http" && scheme != "https"))
    return wrong_url(url, "it must begin with http:// or https://");
  if (url.size() > kMostUrlBytes) return wrong_url(url, "it is too long");
  if (!std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < '\x7f'; }))
    return wrong_url(url, "it has a space or a character that is not ASCII");
  if (url.find('@') != std::string::npos)
    return wrong_url(url, fmt::format("a password has no place in it; set {}", kHeadersVariable));
  if (url.find_first_of("?#\\") != std::string::npos)
    return wrong_url(url, "it can have a host, a port and a path, and nothing after them");
  target.base_url = scheme + url.substr(scheme_end);
  while (target.base_url.ends_with('/')) target.base_url.pop_back();
  for (const char* path : {"/v1/metrics", "/v1/logs", "/v1/traces"}) {
    if (target.base_url.ends_with(path))
      return wrong_url(url, fmt::format("leave out {}, which is appended", path));
  }
  const std::string host =
      target.base_url.size() > scheme.size() + 3 ? host_of(target.base_url) : "";
  if (host.empty()) return wrong_url(url, "it names no host");
  target.metrics_url = target.base_url + "/v1/metrics";
  target.logs_url = target.base_url + "/v1/logs";
  const auto text_of = [&](const char* name) {
    const char* value = variable(name);
    return std::string(value == nullptr ? "" : value);
  };
  TOPSPIN_ASSIGN(target.headers, headers_of(text_of(kHeadersVariable)));
  target.certificates = text_of(kCertificateVariable);
  TOPSPIN_ASSIGN(target.interval_ns, interval_of(variable(kIntervalVariable)));
  return target;
}

}  // namespace topspin
