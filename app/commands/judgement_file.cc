#include "app/commands/judgement_file.h"

#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "report/gate_json.h"

namespace topspin {

Result<Judgement> read_judgement_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) {
    return make_error(
        ErrorCode::kInput,
        fmt::format("cannot read {}: give a file of `topspin gate --format json`", path));
  }
  return parse_judgement(bytes.str(), path);
}

}  // namespace topspin
