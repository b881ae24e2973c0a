// How the files of databases are opened and removed. A process that may not open files by name,
// such as one in a sandbox, can have another one do it and pass the descriptors.
#pragma once

#include <sys/types.h>

namespace topspin {

struct FileAccess {
  int (*open)(const char* path, int flags, mode_t mode);  // as open(2)
  int (*remove)(const char* path);                        // as unlink(2)
};

/// From now on, for all databases of this process, and for SQLite too. REQUIRES: none is open.
void set_file_access(const FileAccess& access);

/// open(2) by that way. `path` is absolute and without links, or it is opened as usual.
int open_database_file(const char* path, int flags, mode_t mode = 0);
/// unlink(2) by that way, of a file that belongs to a database.
int remove_database_file(const char* path);

}  // namespace topspin
