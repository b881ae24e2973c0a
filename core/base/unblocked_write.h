// Writing to a terminal or pipe that somebody may have stopped reading, without waiting for them.
//
// The flags of a descriptor that we were given are shared with whoever started us and with the
// command, so O_NONBLOCK is set only on a description of our own. Where none can be had (the
// terminal belongs to another user, and is not the one that controls us), a timer ends the write.
#pragma once

#include <cstddef>

#include <sys/types.h>

#include "core/base/unique_fd.h"

namespace topspin {

/// A new non-blocking description of the terminal or pipe that `fd` is. Not valid where it cannot
/// be opened again.
UniqueFd reopen_unblocked(int fd);

/// As write(2), to a descriptor whose writes may block: at most a few milliseconds. -1 with EAGAIN
/// if nothing was taken by then. The timer is the calling thread's own, and so is the signal
/// (SIGALRM) while this runs. REQUIRES: nothing else in this process uses SIGALRM.
ssize_t write_briefly(int fd, const void* data, size_t size);

}  // namespace topspin
