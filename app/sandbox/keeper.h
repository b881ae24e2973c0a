// FileKeeper: a process outside of the sandbox, for the few files that have to be opened, replaced
// or removed by name later. It knows their names from the start, so a request is a few numbers. It
// reads no foreign byte, has no privileges, and by Landlock only the directories of these files.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "app/host/output_place.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// A database, with the files that SQLite keeps beside it.
struct KeptDatabase {
  std::string path;  // absolute; its directory is without links
  bool may_change = false;
};

/// What is done with the output when the command ends: it is put into its place, or removed.
struct KeptOutput {
  std::string directory;  // of both names; empty: there is no output
  std::function<Status()> finish;
  std::function<void()> discard;
};

struct KeptFiles {
  std::vector<KeptDatabase> databases;
  KeptOutput output;
  bool screen = false;  // which may be saved to new files in the working directory
};

class FileKeeper {
 public:
  /// Starts the process. It ends with this one, and discards an output that is not finished.
  /// REQUIRES: one thread; no_new_privs is set.
  static Result<FileKeeper> start(KeptFiles files);

  // Each of them may be called from any thread.

  /// As open(2). Other paths than those of the databases are opened by this process itself.
  int open(const char* path, int flags, mode_t mode) const;
  /// As unlink(2), of what SQLite keeps beside a database and of files of packets, nothing else.
  int remove(const char* path) const;
  Status finish_output() const;
  void discard_output() const;
  Result<NewFile> create_screen_file() const;

 private:
  FileKeeper(UniqueFd process, std::vector<KeptDatabase> databases)
      : process_(std::move(process)), databases_(std::move(databases)) {}

  UniqueFd process_;
  std::vector<KeptDatabase> databases_;
};

}  // namespace topspin
