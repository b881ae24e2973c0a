// Writes to a terminal or pipe without waiting for a reader that may have stopped reading.
//
// We share the flags of an inherited descriptor with the process that started us and with the
// command, so we set O_NONBLOCK only on an open file description of our own. If we cannot get one
// (because the terminal belongs to another user and is not our controlling terminal), a timer ends
// the write.
#pragma once

#include <cstddef>

#include <sys/types.h>

#include "core/base/unique_fd.h"

namespace topspin {

/// Opens the terminal or pipe behind `fd` again, non-blocking. Not valid if that is impossible.
UniqueFd reopen_unblocked(int fd);

/// Like write(2), for a descriptor whose writes may block, but takes at most a few milliseconds.
/// Returns -1 with EAGAIN if nothing was written by then. The timer and its signal (SIGALRM) belong
/// to the calling thread while this runs. REQUIRES: nothing else in this process uses SIGALRM.
ssize_t write_briefly(int fd, const void* data, size_t size);

}  // namespace topspin
