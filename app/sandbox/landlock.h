// Limits which files a process may reach, by Landlock. The only file that includes
// linux/landlock.h is landlock.cc.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

enum class Reach {
  kRead,    // read a file, or all files of a directory and below
  kWrite,   // write an existing file
  kChange,  // read, write, create and remove files in a directory, and write those below it
};

/// A path that does not exist, or that this user may not see, gives nothing.
struct ReachableFile {
  std::string path;
  Reach reach = Reach::kRead;
};

/// The version of Landlock's interface ("ABI") in this kernel; 0 if it is missing or turned off.
int landlock_version();

enum class Network { kNone, kConnects };

/// For good, this thread and its children can open only `files`. They execute nothing. As far as
/// the kernel knows these limits, they do not listen by TCP, nor connect unless `network` says so,
/// and signal no process outside. Does nothing if there is no Landlock. REQUIRES: no_new_privs is
/// set.
Status limit_files(const std::vector<ReachableFile>& files, Network network = Network::kNone);

}  // namespace topspin
