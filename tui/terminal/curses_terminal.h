// CursesTerminal: shows grids on the terminal and reads keys. The only user of curses.
//
// It draws only the cells that changed. Whatever ends the process, except SIGKILL, the terminal is
// restored: by close(), by the handlers of crash signals, or by restore_terminal_now(). At most one
// CursesTerminal exists per process. It lives on the session's thread and never blocks it. That
// thread must handle SIGWINCH, SIGTSTP and SIGCONT (resized(), suspend(), resume()).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/base/result.h"
#include "tui/terminal/grid.h"
#include "tui/terminal/key.h"
#include "tui/terminal/theme.h"

namespace topspin {

struct TerminalOptions {
  enum class Charset : uint8_t { kAuto, kUtf8, kAscii };
  Charset charset = Charset::kAuto;  // kAuto: by the locale
  bool no_colour = false;            // NO_COLOR does the same
};

class CursesTerminal {
 public:
  /// kUnsupported if standard input or output is not a terminal, or TERM is dumb or unknown. The
  /// caller then prints plain lines.
  static Result<std::unique_ptr<CursesTerminal>> open(const TerminalOptions& options);
  virtual ~CursesTerminal() = default;

  virtual Size size() const = 0;
  virtual bool ascii() const = 0;
  virtual int colours() const = 0;  // 256, 8 or 0
  /// Readable when a key waits.
  virtual int input_fd() const = 0;

  /// The next key; nullopt if none waits. After the terminal has disappeared: nullopt and gone().
  virtual std::optional<Key> read_key() = 0;
  virtual bool gone() const = 0;

  /// Shows a grid of size(); larger ones are clipped. Never waits for the terminal. While the
  /// terminal has not accepted the previous output (Ctrl-S, a stalled connection), it draws nothing
  /// and returns false.
  virtual bool show(const Grid& grid, ThemeName theme) = 0;
  /// Writes the output that the terminal could not take before. Returns true once all is written.
  virtual bool flush() = 0;
  /// Forgets what is shown, so that the next show() draws every cell.
  virtual void forget() = 0;

  /// The terminal has a new size (SIGWINCH).
  virtual void resized() = 0;
  /// Restores the terminal, until resume().
  virtual void suspend() = 0;
  virtual void resume() = 0;
};

/// Restores the terminal's settings and screen from any state, if one is open. Safe in a signal
/// handler. For when the process ends without running destructors.
void restore_terminal_now();

}  // namespace topspin
