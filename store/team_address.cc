#include "store/team_address.h"

#include <algorithm>

#include <fmt/format.h>

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
  const size_t hash = address.find('#');
  TeamAddress parsed;
  parsed.url = address.substr(0, hash);
  parsed.project = hash == std::string::npos ? "default" : address.substr(hash + 1);
  if (!is_project(parsed.project)) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("\"{}\", behind #, is not the name of a project: it has up to {} "
                                  "letters, digits, '-', '_', '.' and '/'",
                                  parsed.project, kLongestProject));
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
  // user:password@host
  const size_t scheme = plain.find("://");
  if (scheme != std::string::npos) {
    const size_t begin = scheme + 3;
    const size_t end = std::min(plain.find_first_of("/?#", begin), plain.size());
    const size_t at = plain.rfind('@', end);
    if (at != std::string::npos && at >= begin && at < end) {
      const size_t colon = plain.find(':', begin);
      if (colon < at) plain.erase(colon, at - colon);
    }
  }
  // ?password=...
  for (const std::string_view word : {"password=", "sslpassword="}) {
    for (size_t found = plain.find(word); found != std::string::npos;
         found = plain.find(word, found + word.size())) {
      const size_t begin = found + word.size();
      const size_t end = std::min(plain.find_first_of("&# ", begin), plain.size());
      plain.erase(begin, end - begin);
    }
  }
  return plain;
}

}  // namespace topspin
