// Makes an Error from errno.
#pragma once

#include <cerrno>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "core/base/result.h"

namespace topspin {

/// "what: Permission denied", kInternal, with the errno. Call it right after the failed call.
inline Error os_error(std::string_view what) {
  const int number = errno;
  return make_error(ErrorCode::kInternal, fmt::format("{}: {}", what, std::strerror(number)),
                    number);
}

}  // namespace topspin
