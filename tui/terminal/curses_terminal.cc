#include "tui/terminal/curses_terminal.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <map>

#include <curses.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/unblocked_write.h"
#include "core/base/unique_fd.h"

// term.h defines many short names as macros.
#undef lines
#undef columns
#undef buttons
#undef tab

namespace topspin {
namespace {

// What a signal handler needs to restore the terminal. Written before the handlers are installed.
// Crashes, and signals that nobody handles and whose effect is the end of the program.
constexpr std::array kCrashSignals = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,    SIGABRT, SIGTRAP,
                                      SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU};
struct CrashState {
  volatile sig_atomic_t armed = 0;
  int fd = -1;
  int output_fd = STDOUT_FILENO;
  termios settings{};
  std::array<char, 256> reset{};
  size_t reset_length = 0;
  std::array<struct sigaction, kCrashSignals.size()> previous{};
};
CrashState crash_state;

int collect_reset(int c) {
  if (crash_state.reset_length >= crash_state.reset.size()) return EOF;
  crash_state.reset[crash_state.reset_length++] = static_cast<char>(c);
  return c;
}

void add_reset(const char* capability) {
  char* text = tigetstr(const_cast<char*>(capability));
  // tigetstr() returns (char*)-1 if it is not a string capability.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  if (text != nullptr && text != reinterpret_cast<char*>(-1)) tputs(text, 1, collect_reset);
}

/// Restores the terminal, then lets the signal have its previous effect.
void on_crash(int number) {
  restore_terminal_now();
  for (size_t i = 0; i < kCrashSignals.size(); ++i) {
    if (kCrashSignals[i] == number) sigaction(number, &crash_state.previous[i], nullptr);
  }
  raise(number);
}

void arm_crash_handlers() {
  crash_state.armed = 1;
  struct sigaction action {};
  action.sa_handler = on_crash;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_NODEFER;
  for (size_t i = 0; i < kCrashSignals.size(); ++i) {
    sigaction(kCrashSignals[i], &action, &crash_state.previous[i]);
  }
}

void disarm_crash_handlers() {
  if (crash_state.armed == 0) return;
  for (size_t i = 0; i < kCrashSignals.size(); ++i) {
    sigaction(kCrashSignals[i], &crash_state.previous[i], nullptr);
  }
  crash_state.armed = 0;
}

bool locale_speaks_utf8() {
  const char* codeset = nl_langinfo(CODESET);
  return codeset != nullptr && std::strcmp(codeset, "UTF-8") == 0;
}

Error refuse(std::string message) {
  return make_error(ErrorCode::kUnsupported, std::move(message));
}

/// Passes the output of curses to a terminal that may not be reading.
///
/// curses always writes with write(2), which may block. So while a screen is shown, descriptor 1 is
/// a file in memory, and its contents are copied to the terminal as far as that has room.
class ScreenOutput {
 public:
  /// REQUIRES: standard output is a terminal. If this is not possible, curses continues to write to
  /// the terminal directly.
  void open() {
    memory_.reset(memfd_create("topspin-screen", MFD_CLOEXEC));
    terminal_.reset(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    // Our own file description, so its flags are not shared with the shell that gave us the
    // terminal.
    own_ = reopen_unblocked(STDOUT_FILENO);
    usable_ = memory_.valid() && terminal_.valid();
    if (usable_) crash_state.output_fd = own_ ? own_.get() : terminal_.get();
  }
  ~ScreenOutput() { crash_state.output_fd = STDOUT_FILENO; }

  void divert() {
    if (!usable_) return;
    std::fflush(stdout);
    diverted_ = dup2(memory_.get(), STDOUT_FILENO) >= 0;
  }
  /// Makes descriptor 1 the terminal again. False if the terminal has not taken everything.
  bool give_back() {
    const bool all = flush(kLastWaitMs);
    if (diverted_) dup2(terminal_.get(), STDOUT_FILENO);
    diverted_ = false;
    return all;
  }

  /// Passes on what curses has written. True if the terminal has everything.
  bool flush(int wait_ms = 0) {
    collect();
    while (!pending_.empty() && !failed_) {
      if (write_some()) continue;
      pollfd room{fd(), POLLOUT, 0};
      if (wait_ms <= 0 || poll(&room, 1, wait_ms) <= 0) return false;
      wait_ms -= 10;  // ends in any case, even if the terminal is slow
    }
    return !failed_;
  }
  bool failed() const { return failed_; }

 private:
  static constexpr int kLastWaitMs = 300;
  int fd() const { return own_ ? own_.get() : terminal_.get(); }

  void collect() {
    if (!diverted_) return;
    const off_t size = lseek(memory_.get(), 0, SEEK_CUR);
    if (size <= 0) return;
    const size_t before = pending_.size();
    pending_.resize(before + static_cast<size_t>(size));
    const ssize_t got =
        pread(memory_.get(), pending_.data() + before, static_cast<size_t>(size), 0);
    pending_.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    (void)!ftruncate(memory_.get(), 0);
    lseek(memory_.get(), 0, SEEK_SET);
  }

  bool write_some() {
    pollfd room{fd(), POLLOUT, 0};
    if (!own_ && poll(&room, 1, 0) <= 0) return false;
    const ssize_t n = own_ ? write(fd(), pending_.data(), pending_.size())
                           : write_briefly(fd(), pending_.data(), pending_.size());
    if (n > 0) {
      pending_.erase(0, static_cast<size_t>(n));
      return true;
    }
    if (n < 0 && errno == EINTR) return true;
    if (n < 0 && errno != EAGAIN) failed_ = true;
    return false;
  }

  UniqueFd memory_, terminal_, own_;
  bool usable_ = false;
  bool diverted_ = false;
  bool failed_ = false;
  std::string pending_;
};

class Curses final : public CursesTerminal {
 public:
  Curses(SCREEN* screen, bool ascii, int colours)
      : screen_(screen), ascii_(ascii), colours_(colours) {
    output_.open();
    output_.divert();
  }
  ~Curses() override {
    // endwin() resets cursor and mouse too, but not on every terminal.
    mousemask(0, nullptr);
    endwin();
    const bool all_written = output_.give_back();
    delscreen(screen_);
    disarm_crash_handlers();
    // Waiting for a terminal that takes nothing would never end.
    tcsetattr(crash_state.fd, all_written ? TCSADRAIN : TCSANOW, &crash_state.settings);
  }

  Size size() const override { return {COLS, LINES}; }
  bool ascii() const override { return ascii_; }
  int colours() const override { return colours_; }
  int input_fd() const override { return STDIN_FILENO; }
  bool gone() const override { return gone_; }

  std::optional<Key> read_key() override;
  bool show(const Grid& grid, ThemeName theme) override;
  bool flush() override {
    const bool all = output_.flush();
    gone_ = gone_ || output_.failed();
    return all;
  }
  void forget() override {
    clearok(stdscr, TRUE);
    shown_.reset();
  }

  void resized() override {
    winsize window{};
    if (ioctl(crash_state.fd, TIOCGWINSZ, &window) != 0) return;
    if (window.ws_row == 0 || window.ws_col == 0) return;
    resizeterm(window.ws_row, window.ws_col);
    forget();
  }
  void suspend() override {
    output_.give_back();
    mousemask(0, nullptr);
    endwin();
  }
  void resume() override {
    output_.give_back();  // after a stop of which we were not notified
    reset_prog_mode();
    open_mouse();
    resized();
    forget();
    refresh();
    output_.divert();
  }

  static void open_mouse() {
    // A press and a release that come together (a tap, a slow line) are a click to curses;
    // otherwise they are two events. Releases are requested so that the state of the button is
    // known.
    mousemask(BUTTON1_PRESSED | BUTTON1_RELEASED | BUTTON1_CLICKED | BUTTON1_DOUBLE_CLICKED |
                  BUTTON1_TRIPLE_CLICKED | BUTTON4_PRESSED | BUTTON5_PRESSED,
              nullptr);
    mouseinterval(0);
  }

 private:
  std::optional<Key> translate(int result, wint_t code);
  attr_t attributes(const Appearance& look, short& pair);

  SCREEN* screen_;
  ScreenOutput output_;
  bool ascii_;
  int colours_;
  bool gone_ = false;
  std::optional<Grid> shown_;
  ThemeName shown_theme_ = ThemeName::kDark;
  std::map<std::pair<int, int>, short> pairs_;
};

std::optional<Key> Curses::read_key() {
  // A terminal that hung up reads as end of file, which curses reports as "no key" forever.
  pollfd fd{STDIN_FILENO, POLLIN, 0};
  if (poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) gone_ = true;
  while (true) {
    wint_t code = 0;
    const int result = get_wch(&code);
    if (result == ERR) return std::nullopt;
    if (auto key = translate(result, code)) return key;
  }
}

std::optional<Key> Curses::translate(int result, wint_t code) {
  const auto key = [](KeyCode k) { return Key{k, 0, 0, 0}; };
  if (result != KEY_CODE_YES) {
    switch (code) {
      case L'\n':
      case L'\r': return key(KeyCode::kEnter);
      case L'\t': return key(KeyCode::kTab);
      case 0x1B: return key(KeyCode::kEscape);
      case 0x0C: return key(KeyCode::kCtrlL);
      case 0x08:
      case 0x7F: return key(KeyCode::kBackspace);
      default: break;
    }
    if (code < 0x20) return std::nullopt;
    return character_key(static_cast<char32_t>(code));
  }
  switch (code) {
    case KEY_UP: return key(KeyCode::kUp);
    case KEY_DOWN: return key(KeyCode::kDown);
    case KEY_LEFT: return key(KeyCode::kLeft);
    case KEY_RIGHT: return key(KeyCode::kRight);
    case KEY_PPAGE: return key(KeyCode::kPageUp);
    case KEY_NPAGE: return key(KeyCode::kPageDown);
    case KEY_HOME: return key(KeyCode::kHome);
    case KEY_END: return key(KeyCode::kEnd);
    case KEY_ENTER: return key(KeyCode::kEnter);
    case KEY_BACKSPACE:
    case KEY_DC: return key(KeyCode::kBackspace);
    case KEY_F(1): return key(KeyCode::kF1);
    case KEY_MOUSE: {
      MEVENT event{};
      if (getmouse(&event) != OK) return std::nullopt;
      if ((event.bstate & BUTTON4_PRESSED) != 0) return key(KeyCode::kWheelUp);
      if ((event.bstate & BUTTON5_PRESSED) != 0) return key(KeyCode::kWheelDown);
      constexpr mmask_t kClicks =
          BUTTON1_PRESSED | BUTTON1_CLICKED | BUTTON1_DOUBLE_CLICKED | BUTTON1_TRIPLE_CLICKED;
      if ((event.bstate & kClicks) == 0) return std::nullopt;
      return Key{KeyCode::kClick, 0, event.x, event.y};
    }
    default: return std::nullopt;
  }
}

attr_t Curses::attributes(const Appearance& look, short& pair) {
  attr_t attributes = A_NORMAL;
  if (look.bold) attributes |= A_BOLD;
  if (look.dim) attributes |= A_DIM;
  if (look.reverse) attributes |= A_REVERSE;
  if (look.underline) attributes |= A_UNDERLINE;
  pair = 0;
  if (colours_ == 0 || (look.foreground < 0 && look.background < 0)) return attributes;
  const std::pair<int, int> wanted{look.foreground, look.background};
  const auto known = pairs_.find(wanted);
  if (known != pairs_.end()) {
    pair = known->second;
    return attributes;
  }
  const auto next = static_cast<short>(pairs_.size() + 1);
  if (next >= COLOR_PAIRS || next >= 32767) return attributes;
  init_pair(next, static_cast<short>(look.foreground), static_cast<short>(look.background));
  pairs_[wanted] = next;
  pair = next;
  return attributes;
}

bool Curses::show(const Grid& grid, ThemeName theme) {
  if (!flush()) return false;
  if (shown_ && (!(shown_->size() == grid.size()) || shown_theme_ != theme)) shown_.reset();
  if (!shown_) erase();
  const int width = std::min(grid.width(), COLS);
  const int height = std::min(grid.height(), LINES);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const Cell& cell = grid.at(x, y);
      if (shown_ && shown_->at(x, y) == cell) continue;
      if (cell.code == 0) continue;  // drawn with its left half
      std::array<wchar_t, 2 + Cell::kMarks> text{};
      text[0] = static_cast<wchar_t>(cell.code);
      for (size_t i = 0; i < Cell::kMarks; ++i) text[1 + i] = static_cast<wchar_t>(cell.marks[i]);
      short pair = 0;
      const attr_t style = attributes(appearance(theme, colours_, cell.style), pair);
      cchar_t out{};
      if (setcchar(&out, text.data(), style, pair, nullptr) != OK) {
        text = {L'?'};
        setcchar(&out, text.data(), style, pair, nullptr);
      }
      // For the last cell of the screen this returns ERR, because the cursor cannot advance. The
      // cell is drawn nevertheless.
      (void)mvadd_wch(y, x, &out);
    }
  }
  shown_ = grid;
  shown_theme_ = theme;
  if (refresh() == ERR) gone_ = true;
  flush();
  return true;
}

}  // namespace

void restore_terminal_now() {
  if (crash_state.armed == 0) return;
  crash_state.armed = 0;
  (void)!write(crash_state.output_fd, crash_state.reset.data(), crash_state.reset_length);
  tcsetattr(crash_state.fd, TCSANOW, &crash_state.settings);
}

Result<std::unique_ptr<CursesTerminal>> CursesTerminal::open(const TerminalOptions& options) {
  CHECK(crash_state.armed == 0);
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) {
    return refuse("standard input and output are not a terminal; add --once for plain text");
  }
  const char* term = std::getenv("TERM");
  if (term == nullptr || *term == '\0' || std::strcmp(term, "dumb") == 0) {
    return refuse("this terminal (TERM) can show no screen; add --once for plain text");
  }
  setlocale(LC_CTYPE, "");
  bool ascii = options.charset == TerminalOptions::Charset::kAscii;
  if (options.charset == TerminalOptions::Charset::kUtf8 && !locale_speaks_utf8()) {
    setlocale(LC_CTYPE, "C.UTF-8");
  }
  if (!locale_speaks_utf8()) ascii = true;

  crash_state.fd = STDIN_FILENO;
  if (tcgetattr(STDIN_FILENO, &crash_state.settings) != 0) {
    return refuse("the terminal's settings cannot be read");
  }
  // The delay distinguishes a lone Escape from the start of a function key. 25 ms are enough on any
  // link that is usable for typing.
  setenv("ESCDELAY", "25", 0);
  SCREEN* screen = newterm(nullptr, stdout, stdin);
  if (screen == nullptr) {
    return refuse(
        fmt::format("this terminal is not known (TERM={}); add --once for plain text", term));
  }
  set_term(screen);
  cbreak();
  noecho();
  nonl();
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  curs_set(0);
  leaveok(stdscr, TRUE);
  const char* no_color = std::getenv("NO_COLOR");
  int colours = 0;
  if (!options.no_colour && (no_color == nullptr || *no_color == '\0') && has_colors()) {
    start_color();
    use_default_colors();
    colours = COLORS >= 256 ? 256 : COLORS >= 8 ? 8 : 0;
  }
  // The whole reset sequence as one string, for signal handlers, which may not call curses.
  crash_state.reset_length = 0;
  add_reset("sgr0");
  add_reset("cnorm");
  add_reset("rmkx");
  add_reset("rmcup");
  constexpr std::string_view kMouseOff = "\x1b[?1000l\x1b[?1006l";
  if (tigetstr(const_cast<char*>("kmous")) != nullptr) {
    for (const char c : kMouseOff) collect_reset(c);
  }
  Curses::open_mouse();
  arm_crash_handlers();
  return std::unique_ptr<CursesTerminal>(new Curses(screen, ascii, colours));
}

}  // namespace topspin
