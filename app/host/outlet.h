// Outlet: the one door for text that is written while something else goes on: lines on standard
// error, and lines of `live` on standard output.
//
// Nothing that happens at the other end may end or hold up a recording. A reader that is slow is
// waited for briefly, then lines are dropped and counted until it reads again. A reader that is
// gone or a disk that is full silences the outlet. Nothing here throws.
//
// Not for results: what a command was asked for (a report, a list) goes to stdout, waits for its
// reader, and is an output error if it cannot be written. Lives on the main thread.
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

  /// Opens the stream anew, with flags of its own. The first write does so if nobody did before;
  /// later is worse, since topspin may not be root by then and the terminal another user's.
  void open();

  /// Writes whole lines, waiting at most `wait_ms` for the reader; not at all while lines are being
  /// dropped. False: dropped, or silenced.
  bool write(std::string_view lines, int wait_ms = kBriefMs);

  /// Nobody can read any more.
  bool silenced() const { return silenced_; }
  uint64_t lines_dropped() const { return lines_dropped_; }

 private:
  bool write_some(std::string_view& rest);
  bool put(std::string_view text, int wait_ms);

  int fd_;
  bool opened_ = false;
  UniqueFd own_;  // the same file with flags of our own, where that is possible
  bool is_socket_ = false;
  bool may_block_ = false;  // it could not be opened anew: each write ends by a timer
  bool silenced_ = false;
  bool dropping_ = false;  // the last line found no room
  bool mid_line_ = false;  // and was cut
  uint64_t lines_dropped_ = 0;
  uint64_t dropped_since_ = 0;  // and not yet told
};

/// Of standard error and standard output.
Outlet& error_outlet();
Outlet& output_outlet();

/// Makes descriptors 0 to 2 exist, so that no file of ours gets one of these numbers and a write to
/// one fails alone; gives standard output flags of our own if somebody made it non-blocking; opens
/// both outlets; and turns the signals of a reader that went away and of a file size limit into
/// errors. Once, at the start.
void prepare_standard_streams();

/// Prints "topspin: MESSAGE" to standard error, made fit for a terminal.
void say(std::string_view message);

/// say()s an error and answers its exit code.
int fail(const Error& error);

}  // namespace topspin
