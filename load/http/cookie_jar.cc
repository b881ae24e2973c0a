#include "load/http/cookie_jar.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include "core/base/clock.h"

namespace topspin {
namespace {

std::string_view without_blanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

/// The path without its query, up to the last slash (RFC 6265, 5.1.4).
std::string_view default_path(std::string_view path) {
  path = path.substr(0, path.find('?'));
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos || slash == 0 ? "/" : path.substr(0, slash);
}

/// RFC 6265, 5.1.4.
bool is_below(std::string_view path, std::string_view folder) {
  path = path.substr(0, path.find('?'));
  if (!path.starts_with(folder)) return false;
  return path.size() == folder.size() || folder.ends_with('/') || path[folder.size()] == '/';
}

/// "Wed, 21 Oct 2026 07:28:00 GMT", also with hyphens in the date. INT64_MAX if it is no date.
int64_t date_ns(std::string_view text) {
  const std::string copy(text);
  for (const char* format : {"%a, %d %b %Y %H:%M:%S", "%a, %d-%b-%Y %H:%M:%S"}) {
    std::tm time{};
    if (strptime(copy.c_str(), format, &time) == nullptr) continue;
    constexpr time_t kMost = INT64_MAX / kNanosPerSecond;
    return std::clamp<time_t>(timegm(&time), 0, kMost) * kNanosPerSecond;
  }
  return INT64_MAX;
}

}  // namespace

bool CookieJar::take_one(std::string_view text, std::string_view path, int64_t wall_ns) {
  const size_t end = std::min(text.find(';'), text.size());
  const std::string_view pair = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  const size_t equals = pair.find('=');
  if (equals == std::string_view::npos) return true;  // RFC 6265, 5.2: ignored
  Cookie cookie;
  cookie.name = without_blanks(pair.substr(0, equals));
  cookie.value = without_blanks(pair.substr(equals + 1));
  cookie.path = default_path(path);
  if (cookie.name.empty()) return true;
  bool has_age = false;
  while (!text.empty()) {
    const size_t stop = std::min(text.find(';'), text.size());
    const std::string_view attribute = text.substr(0, stop);
    text.remove_prefix(std::min(stop + 1, text.size()));
    const size_t sign = std::min(attribute.find('='), attribute.size());
    const std::string_view key = without_blanks(attribute.substr(0, sign));
    const std::string_view value =
        without_blanks(attribute.substr(std::min(sign + 1, attribute.size())));
    if (is_header(key, "Path") && value.starts_with('/')) cookie.path = value;
    if (is_header(key, "Secure")) cookie.is_secure = true;
    if (is_header(key, "Expires") && !has_age) cookie.expires_ns = date_ns(value);
    if (is_header(key, "Max-Age")) {
      int64_t seconds = 0;
      const auto [at, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
      if (error != std::errc() || at != value.data() + value.size()) continue;
      constexpr int64_t kMost = 400 * int64_t{86400};  // as browsers
      has_age = true;
      cookie.expires_ns = seconds <= 0 ? 0 : wall_ns + std::min(seconds, kMost) * kNanosPerSecond;
    }
  }
  std::erase_if(cookies_, [&](const Cookie& known) {
    return (known.name == cookie.name && known.path == cookie.path) || known.expires_ns <= wall_ns;
  });
  if (cookie.expires_ns <= wall_ns) return true;
  if (cookies_.size() == kMaxCookies ||
      cookie.name.size() + cookie.value.size() + cookie.path.size() > kMaxCookieBytes)
    return false;
  cookies_.push_back(std::move(cookie));
  return true;
}

uint64_t CookieJar::take(const HttpAnswer& answer, std::string_view path, int64_t wall_ns) {
  uint64_t dropped = 0;
  for (const HttpHeader& header : answer.headers) {
    if (is_header(header.name, "Set-Cookie") && !take_one(header.value, path, wall_ns)) ++dropped;
  }
  return dropped;
}

std::string CookieJar::header(std::string_view path, bool is_secure, int64_t wall_ns) const {
  std::string text;
  for (const Cookie& cookie : cookies_) {
    if (cookie.expires_ns <= wall_ns || (cookie.is_secure && !is_secure) ||
        !is_below(path, cookie.path))
      continue;
    if (!text.empty()) text += "; ";
    text += cookie.name + "=" + cookie.value;
  }
  return text;
}

}  // namespace topspin
