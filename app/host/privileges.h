// Privileges: finds out who started topspin, and drops the privileges that are not needed once
// everything is open.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "core/base/result.h"

namespace topspin {

/// A user to run a program as.
struct UserIdentity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
  std::string home;
};

/// The user who called sudo (SUDO_UID, SUDO_GID), if this process is root through sudo.
std::optional<UserIdentity> invoking_user();

/// Opens a file that the command line names. Under sudo it does so as the invoking user, because
/// root could open files that this user may not. A file that is created (with `mode`) belongs to
/// that user. Returns -1 with errno on failure. REQUIRES: one thread.
int open_as_invoking_user(const char* path, int flags, mode_t mode = 0);

/// Finds a user by name or number. kUsage if there is none.
Result<UserIdentity> find_user(const std::string& name);

/// Makes the calling process permanently run as `user` (if given, and we are root) with its
/// supplementary groups. Keeps only those of its capabilities that are in `keep` (CAP_* numbers),
/// and sets no_new_privs. REQUIRES: no other thread runs yet (capabilities belong to threads).
Status drop_privileges(const std::optional<UserIdentity>& user, const std::vector<int>& keep);

/// For a process that works on the user's files alone: becomes the user who called sudo, keeps no
/// capability, and sets no_new_privs. Root without sudo keeps CAP_DAC_OVERRIDE, because in a
/// container the files that it works on often belong to another user. If it `creates_files`, it
/// also keeps CAP_CHOWN, to give them to that user. Can be called again with less. REQUIRES: as
/// above.
Status give_up_all_privileges(bool creates_files);

/// For a child between fork and exec: becomes `user` with no capabilities of its own.
/// Async-signal-safe apart from initgroups, so REQUIRES: the parent had one thread when it forked.
Status become_user(const UserIdentity& user);

}  // namespace topspin
