// CursesTerminal: the terminal as a place for grids and a source of keys. The only user of curses.
//
// Draws only cells that changed. Whatever ends the process short of SIGKILL, the terminal is left
// as it was: by close(), by the handlers of crash signals, or by restore_terminal_now(). There is
// one terminal a process: at most one CursesTerminal lives at a time. Lives on one thread, the
// session's, which it never holds up, and which must also take care of SIGWINCH, SIGTSTP and
// SIGCONT (resized(), suspend(), resume()).
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
  Charset charset = Charset::kAuto;  // kAuto: as the locale says
  bool no_colour = false;            // NO_COLOR does the same
};

class CursesTerminal {
 public:
  /// kUnsupported: standard input or output is no terminal, or TERM is dumb or unknown; the caller
  /// then prints plain lines.
  static Result<std::unique_ptr<CursesTerminal>> open(const TerminalOptions& options);
  virtual ~CursesTerminal() = default;

  virtual Size size() const = 0;
  virtual bool ascii() const = 0;
  virtual int colours() const = 0;  // 256, 8 or 0
  /// Readable when a key waits.
  virtual int input_fd() const = 0;

  /// The next key, nullopt: none waits. After the terminal has gone: nullopt and gone().
  virtual std::optional<Key> read_key() = 0;
  virtual bool gone() const = 0;

  /// Shows a grid of size(); larger ones are clipped. Never waits for the terminal: while that has
  /// not taken what was drawn before (Ctrl-S, a connection that stands), nothing is drawn and the
  /// answer is false.
  virtual bool show(const Grid& grid, ThemeName theme) = 0;
  /// Hands over what the terminal had no room for. True: it has everything.
  virtual bool flush() = 0;
  /// Forgets what is shown, so that the next show() draws every cell.
  virtual void forget() = 0;

  /// The terminal has a new size (SIGWINCH).
  virtual void resized() = 0;
  /// Gives the terminal back, until resume().
  virtual void suspend() = 0;
  virtual void resume() = 0;
};

/// Restores the terminal's settings and screen from any state, if one is open; safe in a signal
/// handler. For ends of the process that run no destructors.
void restore_terminal_now();

}  // namespace topspin
