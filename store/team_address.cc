#include "store/team_address.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

constexpr std::string_view kSchemes[] = {"postgresql://", "postgres://"};
constexpr size_t kLongestProject = 100;

bool is_project(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
  return !name.empty() && name.size() <= kLongestProject &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

constexpr std::string_view kDelimiters = "/?#";

bool is_port(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

struct WrittenPassword {
  size_t begin = 0, end = 0;  // with its ':', without the '@'
  bool is_encoded = true;     // else it has one of /?#@ as it is, and libpq reads something else
};

/// The password of user:password@host, also where it is not written as an address has to.
std::optional<WrittenPassword> find_password(std::string_view address) {
  const size_t scheme = address.find("://");
  if (scheme == std::string_view::npos) return std::nullopt;
  const size_t user = scheme + 3;
  const size_t colon = address.find(':', user), at = address.find('@', user);
  if (at == std::string_view::npos || colon > at) return std::nullopt;
  const size_t delimiter = address.find_first_of(kDelimiters, user);
  if (delimiter < colon) return std::nullopt;  // of something else, in a path or a parameter
  if (delimiter < at) {
    // host:5432/database?user=me@corp
    if (is_port(address.substr(colon + 1, delimiter - colon - 1))) return std::nullopt;
    return WrittenPassword{colon, address.rfind('@'), false};
  }
  const size_t last = address.rfind('@', delimiter);
  return WrittenPassword{colon, last, last == at};
}

/// "pass%77ord" is "password", in small letters.
std::string decoded_key(std::string_view key) {
  std::string plain;
  for (size_t i = 0; i < key.size(); ++i) {
    unsigned code = 0;
    if (key[i] == '%' && i + 2 < key.size()) {
      const auto [end, error] = std::from_chars(&key[i + 1], &key[i + 1] + 2, code, 16);
      if (error == std::errc() && end == &key[i + 1] + 2) {
        plain += static_cast<char>(code);
        i += 2;
        continue;
      }
    }
    plain += key[i];
  }
  return lower_case(plain);
}

}  // namespace

bool is_team_address(std::string_view name) {
  return std::any_of(std::begin(kSchemes), std::end(kSchemes),
                     [&](std::string_view scheme) { return name.starts_with(scheme); });
}

Result<TeamAddress> parse_team_address(const std::string& address) {
  if (!is_team_address(address)) {
    return make_error(ErrorCode::kUsage, fmt::format("{} is not the address of a store, such as "
                                                     "postgresql://ci@db.example/topspin#PROJECT",
                                                     address_without_secrets(address)));
  }
  if (const auto password = find_password(address); password && !password->is_encoded) {
    return make_error(
        ErrorCode::kUsage,
        "the password in the store's address has one of the characters / ? # @, which "
        "mean something else there; give it in PGPASSWORD or ~/.pgpass instead, where "
        "other users cannot read it either");
  }
  const size_t hash = address.find('#');
  TeamAddress parsed;
  parsed.url = address.substr(0, hash);
  parsed.project = hash == std::string::npos ? "default" : address.substr(hash + 1);
  if (!is_project(parsed.project)) {
    // It may be the end of a password.
    const std::string what = address_without_secrets(parsed.url) == parsed.url
                                 ? fmt::format("\"{}\"", parsed.project)
                                 : "the text";
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}, behind #, is not the name of a project: it has up to {} "
                                  "letters, digits, '-', '_', '.' and '/'",
                                  what, kLongestProject));
  }
  return parsed;
}

Status refuse_team_address(std::string_view path, std::string_view verb) {
  if (!is_team_address(path)) return {};
  return make_error(ErrorCode::kUsage,
                    fmt::format("{} is a team's store; {} a file, and send it there with `topspin "
                                "push`",
                                address_without_secrets(path), verb));
}

std::string address_without_secrets(std::string_view address) {
  std::string plain(address);
  if (const auto password = find_password(plain))
    plain.erase(password->begin, password->end - password->begin);
  // ?password=... of an address; password=... of PostgreSQL's other way to write one.
  for (size_t equals = plain.find('='); equals != std::string::npos;
       equals = plain.find('=', equals + 1)) {
    constexpr std::string_view kAround = "?&# ";
    const size_t before = plain.find_last_of(kAround, equals);
    const size_t key = before == std::string::npos ? 0 : before + 1;
    if (!decoded_key(std::string_view(plain).substr(key, equals - key)).ends_with("password"))
      continue;
    const size_t end = std::min(plain.find_first_of(kAround, equals), plain.size());
    plain.erase(equals + 1, end - equals - 1);
  }
  return plain;
}

}  // namespace topspin
