#include "app/sandbox/landlock.h"

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

// Headers of older distributions lack what newer kernels know.
constexpr uint64_t kAllOfVersion1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
constexpr uint64_t kRefer = uint64_t{1} << 13;                   // version 2
constexpr uint64_t kTruncate = uint64_t{1} << 14;                // version 3
constexpr uint64_t kBindTcp = uint64_t{1} << 0;                  // version 4
constexpr uint64_t kConnectTcp = uint64_t{1} << 1;               // version 4
constexpr uint64_t kScopeAbstractUnixSocket = uint64_t{1} << 0;  // version 6
constexpr uint64_t kScopeSignal = uint64_t{1} << 1;              // version 6

struct RulesetAttributes {  // struct landlock_ruleset_attr of version 6
  uint64_t handled_access_fs = 0;
  uint64_t handled_access_net = 0;
  uint64_t scoped = 0;
};
static_assert(sizeof(RulesetAttributes) == 24);

Error not_limited(std::string_view what) {
  const int number = errno;
  return make_error(
      ErrorCode::kInternal,
      fmt::format("cannot limit the reachable files: {}: {}", what, std::strerror(number)), number);
}

/// The size is that of the version: older kernels refuse a larger one only if the rest is not 0.
RulesetAttributes attributes_of(int version) {
  RulesetAttributes attributes;
  attributes.handled_access_fs = kAllOfVersion1;
  if (version >= 2) attributes.handled_access_fs |= kRefer;
  if (version >= 3) attributes.handled_access_fs |= kTruncate;
  if (version >= 4) attributes.handled_access_net = kBindTcp | kConnectTcp;
  if (version >= 6) attributes.scoped = kScopeAbstractUnixSocket | kScopeSignal;
  return attributes;
}

uint64_t rights_for(Reach reach, bool is_directory) {
  constexpr uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
  constexpr uint64_t kWriteFile = LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;
  switch (reach) {
    case Reach::kRead: return kReadFile | (is_directory ? LANDLOCK_ACCESS_FS_READ_DIR : 0);
    case Reach::kWrite: return kWriteFile;
    case Reach::kChange:
      if (!is_directory) return kReadFile | kWriteFile;
      return kReadFile | kWriteFile | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
             LANDLOCK_ACCESS_FS_REMOVE_FILE;
  }
  return 0;
}

Status add_rule(int ruleset, const ReachableFile& file, uint64_t handled) {
  const UniqueFd place(::open(file.path.c_str(), O_PATH | O_CLOEXEC));
  struct stat info {};
  if (!place || ::fstat(place.get(), &info) != 0) return {};
  landlock_path_beneath_attr rule{};
  rule.parent_fd = place.get();
  rule.allowed_access = rights_for(file.reach, S_ISDIR(info.st_mode)) & handled;
  if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
    return {};
  if (errno == EBADFD) return {};  // a pipe or the like, which Landlock leaves alone
  return not_limited(file.path);
}

}  // namespace

int landlock_version() {
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version > 0 ? static_cast<int>(version) : 0;
}

Status limit_files(const std::vector<ReachableFile>& files, Network network) {
  const int version = landlock_version();
  if (version == 0) return {};
  RulesetAttributes attributes = attributes_of(version);
  if (network == Network::kConnects) {
    attributes.handled_access_net &= ~kConnectTcp;
    attributes.scoped &= ~kScopeAbstractUnixSocket;  // of a name service
  }
  const UniqueFd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
  if (!ruleset) return not_limited("landlock_create_ruleset");
  for (const ReachableFile& file : files)
    TOPSPIN_TRY(add_rule(ruleset.get(), file, attributes.handled_access_fs));
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return not_limited("landlock_restrict_self");
  return {};
}

}  // namespace topspin
