// The only file that includes sys/capability.h.
#include "app/host/privileges.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace topspin {
namespace {

struct FreeCapabilities {
  void operator()(cap_t caps) const { cap_free(caps); }
};
using Capabilities = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCapabilities>;

template <typename Number>
std::optional<Number> parse_number(const char* text) {
  if (text == nullptr) return std::nullopt;
  Number value{};
  const std::string_view view(text);
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc() || end != view.data() + view.size()) return std::nullopt;
  return value;
}

UserIdentity from_passwd(const passwd& entry) {
  return {entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir};
}

Error not_given_up(std::string_view what) {
  const int number = errno;
  return make_error(ErrorCode::kInternal,
                    fmt::format("cannot give up privileges: {}: {}", what, std::strerror(number)),
                    number);
}

}  // namespace

int open_as_invoking_user(const char* path, int flags, mode_t mode) {
  const std::optional<UserIdentity> user = invoking_user();
  if (!user) return open(path, flags, mode);
  std::vector<gid_t> groups(static_cast<size_t>(std::max(getgroups(0, nullptr), 0)));
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  const bool as_user = count >= 0 && setgroups(1, &user->gid) == 0;
  // Changes only the identity for file access; this also drops root's capabilities over files.
  setfsgid(user->gid);
  setfsuid(user->uid);
  const int fd = as_user ? open(path, flags, mode) : -1;
  const int number = errno;
  setfsuid(0);
  setfsgid(getegid());
  if (count >= 0) (void)!setgroups(static_cast<size_t>(count), groups.data());
  errno = number;
  return fd;
}

std::optional<UserIdentity> invoking_user() {
  if (geteuid() != 0) return std::nullopt;
  const auto uid = parse_number<uid_t>(std::getenv("SUDO_UID"));
  const auto gid = parse_number<gid_t>(std::getenv("SUDO_GID"));
  if (!uid || !gid || *uid == 0) return std::nullopt;
  if (const passwd* entry = getpwuid(*uid); entry != nullptr) {
    UserIdentity user = from_passwd(*entry);
    user.gid = *gid;
    return user;
  }
  return UserIdentity{*uid, *gid, fmt::format("{}", *uid), "/"};
}

Result<UserIdentity> find_user(const std::string& name) {
  if (const passwd* entry = getpwnam(name.c_str()); entry != nullptr) return from_passwd(*entry);
  if (const auto uid = parse_number<uid_t>(name.c_str())) {
    if (const passwd* entry = getpwuid(*uid); entry != nullptr) return from_passwd(*entry);
  }
  return make_error(ErrorCode::kUsage,
                    fmt::format("no such user: {}; name one that exists on this host", name));
}

Status drop_privileges(const std::optional<UserIdentity>& user, const std::vector<int>& keep) {
  const Capabilities had(cap_get_proc());
  if (!had) return not_given_up("reading capabilities");
  Capabilities wanted(cap_init());
  if (!wanted) return not_given_up("preparing capabilities");
  for (const int number : keep) {
    const auto capability = static_cast<cap_value_t>(number);
    cap_flag_value_t permitted = CAP_CLEAR;
    if (cap_get_flag(had.get(), capability, CAP_PERMITTED, &permitted) != 0 || permitted != CAP_SET)
      continue;
    cap_set_flag(wanted.get(), CAP_PERMITTED, 1, &capability, CAP_SET);
    cap_set_flag(wanted.get(), CAP_EFFECTIVE, 1, &capability, CAP_SET);
  }
  if (user && geteuid() == 0) {
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return not_given_up("prctl(PR_SET_KEEPCAPS)");
    if (initgroups(user->name.c_str(), user->gid) != 0 && setgroups(0, nullptr) != 0)
      return not_given_up("setgroups");
    if (setresgid(user->gid, user->gid, user->gid) != 0) return not_given_up("setresgid");
    if (setresuid(user->uid, user->uid, user->uid) != 0) return not_given_up("setresuid");
    // A change of user makes a process undumpable, and its /proc/self unreadable to itself.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  }
  if (cap_set_proc(wanted.get()) != 0) return not_given_up("setting capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return not_given_up("prctl(PR_SET_NO_NEW_PRIVS)");
  return {};
}

Status give_up_all_privileges(bool creates_files) {
  const std::optional<UserIdentity> user = invoking_user();
  std::vector<int> keep;
  if (!user && geteuid() == 0) keep.push_back(CAP_DAC_OVERRIDE);
  if (!keep.empty() && creates_files) keep.push_back(CAP_CHOWN);
  // What is gone from the bounding set cannot come back. It does not limit what is kept. Only who
  // may remove from it needs to.
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability)
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  return drop_privileges(user, keep);
}

Status become_user(const UserIdentity& user) {
  if (geteuid() != 0 || user.uid == 0) return {};
  if (initgroups(user.name.c_str(), user.gid) != 0 && setgroups(0, nullptr) != 0)
    return not_given_up("setgroups");
  if (setresgid(user.gid, user.gid, user.gid) != 0) return not_given_up("setresgid");
  if (setresuid(user.uid, user.uid, user.uid) != 0) return not_given_up("setresuid");
  return {};
}

}  // namespace topspin
