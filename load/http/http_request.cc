#include "load/http/http_request.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace topspin {
namespace {

Error wrong_request(std::string message) {
  return make_error(ErrorCode::kUsage, std::move(message));
}

char lower_letter(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

/// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  const auto fits = [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), fits);
}

bool is_control(char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7F; }

bool is_word_letter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

const HttpHeader* find_header(const HttpHeaders& headers, std::string_view name) {
  const auto found = std::find_if(headers.begin(), headers.end(),
                                  [&](const HttpHeader& h) { return is_header(h.name, name); });
  return found == headers.end() ? nullptr : &*found;
}

void append_encoded(std::string& text, std::string_view value) {
  for (const char c : value) {
    if (is_word_letter(c) || c == '-' || c == '.' || c == '~')
      text += c;
    else
      text += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
}

}  // namespace

bool is_header(std::string_view name, std::string_view other) {
  return std::equal(name.begin(), name.end(), other.begin(), other.end(),
                    [](char a, char b) { return lower_letter(a) == lower_letter(b); });
}

Result<HttpHeader> parse_header(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos)
    return wrong_request(fmt::format("\"{}\" is no header; write it as \"Name: value\"", text));
  HttpHeader header{std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
  std::string& value = header.value;
  value.erase(0, std::min(value.find_first_not_of(" \t"), value.size()));
  value.erase(value.find_last_not_of(" \t") + 1);
  return header;
}

Status check_request(const HttpRequest& request) {
  if (!is_token(request.method) || request.method == "CONNECT")
    return wrong_request(
        fmt::format("\"{}\" is no method of HTTP that can be sent to a server", request.method));
  const auto visible = [](char c) { return c > ' ' && c < 0x7F; };
  if (!request.path.starts_with('/') ||
      !std::all_of(request.path.begin(), request.path.end(), visible)) {
    return wrong_request("the path must begin with / and have no spaces or control characters");
  }
  constexpr std::array<std::string_view, 5> kOurs = {"Content-Length", "Connection",
                                                     "Transfer-Encoding", "Upgrade", "Expect"};
  for (const HttpHeader& header : request.headers) {
    if (!is_token(header.name))
      return wrong_request(fmt::format("\"{}\" cannot be the name of a header", header.name));
    if (std::any_of(header.value.begin(), header.value.end(), is_control))
      return wrong_request(fmt::format("the header {} has a control character", header.name));
    for (const std::string_view ours : kOurs) {
      if (is_header(header.name, ours))
        return wrong_request(
            fmt::format("the header {} is set by topspin itself; leave it out", ours));
    }
  }
  return {};
}

PreparedHttpRequest prepare_request(HttpRequest request, const std::string& host) {
  PreparedHttpRequest prepared;
  const HttpHeader* own_host = find_header(request.headers, "Host");
  prepared.authority = own_host != nullptr ? own_host->value : host;
  std::erase_if(request.headers, [](const HttpHeader& h) { return is_header(h.name, "Host"); });
  if (find_header(request.headers, "User-Agent") == nullptr)
    request.headers.push_back({"User-Agent", "topspin"});
  const bool usual =
      request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (usual || !request.body.empty())
    request.headers.push_back({"Content-Length", std::to_string(request.body.size())});
  std::string head = request.method;
  head += ' ';
  head += request.path;
  head += " HTTP/1.1\r\nHost: ";
  head += prepared.authority;
  head += "\r\n";
  for (const HttpHeader& header : request.headers) {
    head += header.name;
    head += ": ";
    head += header.value;
    head += "\r\n";
  }
  prepared.http1 = head + "\r\n" + request.body;
  prepared.http1_last = head + "Connection: close\r\n\r\n" + request.body;
  prepared.request = std::move(request);
  return prepared;
}

Result<HttpRecipe::Pieces> HttpRecipe::split(std::string_view text,
                                             const std::vector<std::string>& columns) {
  Pieces pieces;
  std::string literal;
  while (!text.empty()) {
    const size_t open = columns.empty() ? std::string_view::npos : text.find('{');
    literal += text.substr(0, open);
    if (open == std::string_view::npos) break;
    text.remove_prefix(open);
    const size_t close = text.find('}');
    const std::string_view name =
        close == std::string_view::npos ? std::string_view() : text.substr(1, close - 1);
    const auto column = std::find(columns.begin(), columns.end(), name);
    if (close != std::string_view::npos && column != columns.end()) {
      pieces.push_back({std::move(literal), static_cast<int>(column - columns.begin())});
      literal.clear();
      text.remove_prefix(close + 1);
      continue;
    }
    // {"a": 1} and {} are no names.
    if (!name.empty() && std::all_of(name.begin(), name.end(), is_word_letter)) {
      return wrong_request(fmt::format("{{{}}} is none of the data's columns, which are {}", name,
                                       fmt::join(columns, ", ")));
    }
    literal += '{';
    text.remove_prefix(1);
  }
  if (!literal.empty() || pieces.empty()) pieces.push_back({std::move(literal), -1});
  return pieces;
}

Result<HttpRecipe> HttpRecipe::make(const HttpRequest& request,
                                    const std::vector<std::string>& columns) {
  HttpRecipe recipe;
  recipe.request_ = request;
  const auto is_literal = [](const Pieces& pieces) {
    return pieces.size() == 1 && pieces.front().column < 0;
  };
  TOPSPIN_ASSIGN(recipe.path_, split(request.path, columns));
  TOPSPIN_ASSIGN(recipe.body_, split(request.body, columns));
  recipe.is_fixed_ = is_literal(recipe.path_) && is_literal(recipe.body_);
  for (const HttpHeader& header : request.headers) {
    TOPSPIN_ASSIGN(recipe.headers_.emplace_back(), split(header.value, columns));
    recipe.is_fixed_ = recipe.is_fixed_ && is_literal(recipe.headers_.back());
  }
  return recipe;
}

std::string HttpRecipe::join(const Pieces& pieces, std::span<const std::string> row, bool encode) {
  std::string text;
  for (const Piece& piece : pieces) {
    text += piece.text;
    if (piece.column < 0) continue;
    const std::string& value = row[static_cast<size_t>(piece.column)];
    if (encode)
      append_encoded(text, value);
    else
      text += value;
  }
  return text;
}

HttpRequest HttpRecipe::fill(std::span<const std::string> row) const {
  if (is_fixed_) return request_;
  HttpRequest filled;
  filled.method = request_.method;
  filled.path = join(path_, row, true);
  filled.body = join(body_, row, false);
  for (size_t i = 0; i < headers_.size(); ++i)
    filled.headers.push_back({request_.headers[i].name, join(headers_[i], row, false)});
  return filled;
}

bool HttpRecipe::is_in_headers(size_t column) const {
  return std::any_of(headers_.begin(), headers_.end(), [&](const Pieces& pieces) {
    return std::any_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
      return piece.column == static_cast<int>(column);
    });
  });
}

}  // namespace topspin
