// CookieJar: the cookies of one client at one server (RFC 6265, without domains: there is one
// server). Pure; the time is a parameter.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "load/http/http_response.h"

namespace topspin {

inline constexpr size_t kMaxCookies = 50;        // of one client
inline constexpr size_t kMaxCookieBytes = 4096;  // name, value and path together

class CookieJar {
 public:
  /// Takes the Set-Cookie headers of an answer to a request for `path`. Returns how many cookies
  /// found no room, or were too long.
  uint64_t take(const HttpAnswer& answer, std::string_view path, int64_t wall_ns);
  /// The value of a Cookie header for a request; empty: none. Cookies marked Secure only if it is.
  std::string header(std::string_view path, bool is_secure, int64_t wall_ns) const;

 private:
  struct Cookie {
    std::string name;
    std::string value;
    std::string path;
    int64_t expires_ns = INT64_MAX;
    bool is_secure = false;
  };
  bool take_one(std::string_view text, std::string_view path, int64_t wall_ns);

  std::vector<Cookie> cookies_;
};

}  // namespace topspin
