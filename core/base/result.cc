#include "core/base/result.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace topspin {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "topspin: internal error: CHECK(%s) failed at %s:%d; please report this\n",
               condition, file, line);
  std::abort();
}

Error os_error(std::string_view what) {
  const int number = errno;
  return make_error(ErrorCode::kInternal, std::string(what) + ": " + std::strerror(number), number);
}

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage: return 2;
    case ErrorCode::kInvalidRun: return 3;
    case ErrorCode::kPermission:
    case ErrorCode::kUnsupported: return 4;
    case ErrorCode::kInput:
    case ErrorCode::kOutput:
    case ErrorCode::kInternal: return 5;
  }
  return 5;
}

}  // namespace topspin
