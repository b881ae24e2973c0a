// The process that writes a run, so that a later one can tell whether it is still alive. A pid
// alone is reused; with its start time it is unique within a boot and a pid namespace. Reads /proc;
// thread-agnostic.
#pragma once

#include <cstdint>
#include <string>

namespace topspin {

struct WriterIdentity {
  std::string boot_id;        // empty: not readable
  int64_t pid_namespace = 0;  // inode of /proc/self/ns/pid; 0: not readable
  int64_t pid = 0;
  int64_t start_ticks = 0;  // clock ticks since boot; 0: not readable

  bool operator==(const WriterIdentity&) const = default;
};

WriterIdentity this_writer();

enum class WriterFate {
  kAlive,
  kGone,    // ended, or a zombie, or of an earlier boot
  kHidden,  // in another pid namespace (a container): cannot be seen from here
};
WriterFate fate_of(const WriterIdentity& writer);

}  // namespace topspin
