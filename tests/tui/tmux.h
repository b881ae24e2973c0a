// A terminal for tests of the real binary: each test has its own tmux server with one shell in it.
// Programs in it do not look for leaks when they exit: the hang-up at the test's end can kill the
// sanitizer's helper, and the program would wait for it for ever, at full speed.
#pragma once

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {

class Tmux {
 public:
  explicit Tmux(int width = 80, int height = 24, const std::string& environment = "") {
    tmux({"-f", "/dev/null", "new-session", "-d", "-x", std::to_string(width), "-y",
          std::to_string(height),
          "env LC_ALL=C.UTF-8 TERM=tmux-256color ASAN_OPTIONS=detect_leaks=0 " + environment +
              " PS1='READY> ' sh -i"});
    tmux({"set-option", "-g", "window-size", "manual"});
    tmux({"set-option", "-g", "default-terminal", "tmux-256color"});
    wait_for("READY>");
  }
  Tmux(const Tmux&) = delete;
  Tmux& operator=(const Tmux&) = delete;
  ~Tmux() { tmux({"kill-server"}); }

  static bool available() { return run({"tmux", "-V"}).exit_code == 0; }

  Outcome tmux(std::vector<std::string> words) const {
    std::vector<std::string> all = {"tmux", "-S", directory_.file("socket"), "-u"};
    all.insert(all.end(), words.begin(), words.end());
    return run(all);
  }
  void type(const std::string& text) const { tmux({"send-keys", "-l", text}); }
  void key(const std::string& name) const { tmux({"send-keys", name}); }
  void command(const std::string& line) const {
    type(line);
    key("Enter");
  }
  void resize(int width, int height) const {
    tmux({"resize-window", "-x", std::to_string(width), "-y", std::to_string(height)});
  }
  std::string screen() const { return tmux({"capture-pane", "-p"}).out; }
  std::string screen_with_colours() const { return tmux({"capture-pane", "-p", "-e"}).out; }

  bool wait_for(const std::string& text, int seconds = 60) const {
    return wait_until([&] { return screen().find(text) != std::string::npos; }, seconds);
  }
  template <typename Condition>
  static bool wait_until(Condition condition, int seconds = 60) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return true;
  }

  /// Runs `line` in the shell and waits for its end.
  void shell(const std::string& line) {
    const std::string done = directory_.file("done" + std::to_string(++commands_));
    command(line + "; : > " + done);
    wait_until([&] { return std::ifstream(done).good(); });
  }
  /// The terminal's settings, from stty. It is repeated because it fails while the shell takes the
  /// terminal back from a program that was killed.
  std::string settings() {
    std::string text;
    wait_until([&] {
      const std::string file = directory_.file("stty" + std::to_string(++commands_));
      shell("stty -a > " + file);
      std::stringstream read;
      read << std::ifstream(file).rdbuf();
      text = read.str();
      return !text.empty();
    });
    return text;
  }
  /// The modes of the terminal that a program may switch on and must switch off again.
  std::string modes() const {
    return tmux(
               {"display-message", "-p",
                "alternate screen #{alternate_on}, cursor #{cursor_flag}, mouse #{mouse_any_flag}, "
                "keypad #{keypad_flag}, keypad cursor #{keypad_cursor_flag}"})
        .out;
  }
  std::string file(const std::string& name) const { return directory_.file(name); }

 private:
  TempDir directory_;
  int commands_ = 0;
};

}  // namespace topspin::test
