// HttpChecks: what an answer must be like. An answer that fails a check is an error of the server,
// and each failed check is counted by its name. Pure.
//
//   check  := [NAME ": "] what
//   what   := "header" HEADER [("=" | "contains") TEXT]      header Content-Type contains json
//           | "body" "contains" TEXT                         body contains Welcome
//           | "json" POINTER ["=" VALUE]                     json /user/id = 7     (RFC 6901)
//
// TEXT and VALUE go to the end of the line. A VALUE is JSON; a text that is none is a string. A
// check without a name is called as it is written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "load/http/http_response.h"

namespace topspin {

inline constexpr size_t kMaxHttpChecks = 64;

/// "200,301-304,5xx": statuses, ranges and classes.
class HttpStatuses {
 public:
  /// 200 to 399.
  HttpStatuses() = default;
  static Result<HttpStatuses> parse(std::string_view text);
  bool contains(int status) const;

 private:
  struct Range {
    int from;
    int to;  // included
  };
  std::vector<Range> ranges_ = {{200, 399}};
};

class HttpChecks {
 public:
  /// 'status' is the name of the check on the status. Empty `statuses`: 200 to 399, which is no
  /// check by itself: such an error is only counted by its status.
  static Result<HttpChecks> make(std::string_view statuses, const std::vector<std::string>& checks);

  /// What has to be kept of answers.
  HttpKeep keep() const { return keep_; }
  /// The names, by position in failed().
  const std::vector<std::string>& names() const { return names_; }
  bool expects(int status) const { return statuses_.contains(status); }

  /// The positions of the checks that the answer fails, in `failed`, which is cleared.
  void judge(const HttpAnswer& answer, std::vector<uint32_t>& failed) const;

 private:
  enum class Kind : uint8_t { kHeader, kBody, kJson };
  struct Check {
    Kind kind = Kind::kHeader;
    uint32_t name = 0;
    std::string where;  // name of the header; JSON pointer
    enum class Compare : uint8_t { kExists, kEquals, kContains } compare = Compare::kExists;
    std::string text;  // of a JSON value: as it is printed
  };
  static Result<Check> parse(std::string_view text);

  HttpStatuses statuses_;
  bool has_status_check_ = false;
  HttpKeep keep_;
  std::vector<std::string> names_;
  std::vector<Check> checks_;
};

}  // namespace topspin
