// HttpRequest: a request as its user thinks of it, and its bytes in HTTP/1.1. HttpRecipe: a request
// with {column} in it, which a row of data completes. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct HttpHeader {
  std::string name;
  std::string value;

  bool operator==(const HttpHeader&) const = default;
};
using HttpHeaders = std::vector<HttpHeader>;

/// Names are equal in any case.
bool is_header(std::string_view name, std::string_view other);

struct HttpRequest {
  std::string method = "GET";
  std::string path = "/";  // with its query
  HttpHeaders headers;     // without those that topspin sets: see check_request()
  std::string body;

  bool is_head() const { return method == "HEAD"; }
};

/// "Name: value". kUsage says what is wrong.
Result<HttpHeader> parse_header(std::string_view text);

/// kUsage if the request cannot be sent as it is: a method, path or header that would break the
/// message, or a header that topspin sets itself (Content-Length, Connection, Transfer-Encoding).
Status check_request(const HttpRequest& request);

/// A request in both forms. It does not change after it was made.
struct PreparedHttpRequest {
  HttpRequest request;
  std::string authority;   // the Host header, HTTP/2's :authority
  std::string http1;       // all bytes
  std::string http1_last;  // the same with "Connection: close"
};

/// `host` is what the request says unless it has a Host header. Adds User-Agent, and
/// Content-Length where a body is, or is usual.
PreparedHttpRequest prepare_request(HttpRequest request, const std::string& host);

/// A request in which {name} stands for a column of data: in the path, in values of headers, and in
/// the body.
class HttpRecipe {
 public:
  HttpRecipe() = default;
  /// Without columns, braces mean nothing. kUsage: {name} is none of the columns.
  static Result<HttpRecipe> make(const HttpRequest& request,
                                 const std::vector<std::string>& columns);

  /// Whether all requests are the same.
  bool is_fixed() const { return is_fixed_; }
  /// In the path a value is percent-encoded, except for unreserved characters (RFC 3986, 2.3).
  /// REQUIRES: the row has a value for each column.
  HttpRequest fill(std::span<const std::string> row) const;
  /// Whether a column is used in a header, where its values may have no control characters.
  bool is_in_headers(size_t column) const;

 private:
  struct Piece {
    std::string text;
    int column = -1;  // after the text; -1: none
  };
  using Pieces = std::vector<Piece>;
  static Result<Pieces> split(std::string_view text, const std::vector<std::string>& columns);
  static std::string join(const Pieces& pieces, std::span<const std::string> row, bool encode);

  HttpRequest request_;
  Pieces path_;
  std::vector<Pieces> headers_;
  Pieces body_;
  bool is_fixed_ = true;
};

}  // namespace topspin
