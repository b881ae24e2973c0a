// Outlet: writes all text that appears during a recording: lines on standard error, and lines of
// `live` on standard output.
//
// Whatever the reader does must not end or delay a recording. The outlet waits briefly for a slow
// reader, then drops and counts lines until the reader continues. If the reader is gone or the disk
// is full, the outlet writes nothing more. Nothing here throws.
//
// Results (a report, a list) do not go through here. They go to stdout, wait for their reader, and
// are an output error if they cannot be written. Used on the main thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

class Outlet {
 public:
  static constexpr int kBriefMs = 50;

  /// `fd` is STDOUT_FILENO or STDERR_FILENO.
  explicit Outlet(int fd) : fd_(fd) {}

  /// Reopens the stream to get file status flags of its own. The first write does this if it has
  /// not been done. Call it early: later, topspin may no longer be root while the terminal belongs
  /// to another user.
  void open();

  /// Writes whole lines. Waits at most `wait_ms` for the reader, and not at all while lines are
  /// being dropped. Returns false if the lines were dropped or the outlet is silenced.
  bool write(std::string_view lines, int wait_ms = kBriefMs);

  /// Whether writing has become pointless: the reader is gone or the disk is full.
  bool silenced() const { return silenced_; }
  uint64_t lines_dropped() const { return lines_dropped_; }

 private:
  bool write_some(std::string_view& rest);
  bool put(std::string_view text, int wait_ms);

  int fd_;
  bool opened_ = false;
  UniqueFd own_;  // the same file with our own flags, if possible
  bool is_socket_ = false;
  bool may_block_ = false;  // it could not be reopened, so a timer ends each write
  bool silenced_ = false;
  bool dropping_ = false;  // the last line found no room
  bool mid_line_ = false;  // the last line was cut
  uint64_t lines_dropped_ = 0;
  uint64_t dropped_since_ = 0;  // dropped lines that were not reported yet
};

/// The outlets of standard error and standard output.
Outlet& error_outlet();
Outlet& output_outlet();

/// Call once, at the start. Makes sure that descriptors 0 to 2 exist, so that none of our files
/// gets one of these numbers. Gives standard output its own flags if somebody made it non-blocking.
/// Opens both outlets. Turns SIGPIPE and SIGXFSZ into errors of the write.
void prepare_standard_streams();

/// Prints "topspin: MESSAGE" to standard error, made fit for a terminal.
void say(std::string_view message);

/// Prints the error with say() and returns its exit code.
int fail(const Error& error);

}  // namespace topspin
