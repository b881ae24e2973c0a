#include "app/commands/gate/judgement_file.h"

#include <fmt/format.h>

#include "core/base/read_file.h"
#include "report/json/reports.h"

namespace topspin {

Result<Judgement> read_judgement_file(const std::string& path) {
  constexpr size_t kMostBytes = size_t{64} << 20;
  const auto bytes = read_file(path, kMostBytes);
  if (!bytes.ok()) {
    return make_error(ErrorCode::kInput,
                      fmt::format("cannot read {}: {}; give a file of `topspin gate --format json`",
                                  path, bytes.error().message));
  }
  return parse_judgement(*bytes, path);
}

}  // namespace topspin
