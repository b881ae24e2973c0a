// A headless Chromium that a test controls over the DevTools protocol, on a pair of pipes: JSON
// messages, each ended by a NUL. It opens no port and loads only what the test names.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers)
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_dir.h"

namespace topspin::test {

/// The path of a Chromium, from $CHROMIUM or from PATH; nullopt if there is none.
inline std::optional<std::string> find_chromium() {
  if (const char* named = std::getenv("CHROMIUM")) return std::string(named);
  const std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
    for (size_t from = 0; from <= path.size();) {
      const size_t end = std::min(path.find(':', from), path.size());
      const std::string file = path.substr(from, end - from) + "/" + name;
      // Ubuntu's is a script that needs a snap, which does not work in a container.
      std::ifstream head(file, std::ios::binary);
      std::string start(4096, '\0');
      head.read(start.data(), static_cast<std::streamsize>(start.size()));
      if (access(file.c_str(), X_OK) == 0 && start.find("snap") == std::string::npos) return file;
      from = end + 1;
    }
  }
  return std::nullopt;
}

class Chromium {
 public:
  using Json = nlohmann::json;

  /// Throws std::runtime_error with the reason if it does not start.
  explicit Chromium(const std::string& program) {
    std::array<int, 2> commands{}, answers{};
    if (pipe2(commands.data(), O_CLOEXEC) != 0 || pipe2(answers.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipes");
    std::vector<std::string> arguments = {
        program, "--headless",
        // The sandbox needs user namespaces, which are not available to
        // root and in containers. Only the test's own files are opened.
        "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-dev-shm-usage", "--disable-extensions",
        "--disable-sync", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe",
        "--user-data-dir=" + profile_.path().string()};
    std::vector<char*> raw;
    for (auto& argument : arguments) raw.push_back(argument.data());
    raw.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      setpgid(0, 0);  // so that its children can be killed with it
      // Chromium uses descriptors 3 and 4. The pipes may have these numbers, so they move first.
      const int in = fcntl(commands[0], F_DUPFD, 10);
      const int out = fcntl(answers[1], F_DUPFD, 10);
      dup2(in, 3);
      dup2(out, 4);
      const int null = ::open("/dev/null", O_RDWR);
      dup2(null, 1);
      dup2(null, 2);
      execv(raw[0], raw.data());
      _exit(127);
    }
    ::close(commands[0]);
    ::close(answers[1]);
    to_ = commands[1];
    from_ = answers[0];
    signal(SIGPIPE, SIG_IGN);
    const Json target = call("Target.createTarget", {{"url", "about:blank"}});
    const Json attached =
        call("Target.attachToTarget", {{"targetId", target["targetId"]}, {"flatten", true}});
    session_ = attached["sessionId"].get<std::string>();
    for (const char* domain : {"Page", "Runtime", "Log", "Network"})
      call(std::string(domain) + ".enable");
  }
  Chromium(const Chromium&) = delete;
  Chromium& operator=(const Chromium&) = delete;
  ~Chromium() {
    ::close(to_);
    ::close(from_);
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  /// Opens a file and waits for its load event. Complaints and requests are counted from here.
  void open_file(const std::string& path) {
    complaints_.clear();
    requests_.clear();
    loaded_ = false;
    call("Page.navigate", {{"url", "file://" + path}});
    while (!loaded_) take_message();
    // The plots are drawn in the next frame.
    evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
  }

  /// The value of an expression; a promise is awaited.
  Json evaluate(const std::string& expression) {
    const Json answer =
        call("Runtime.evaluate",
             {{"expression", expression}, {"returnByValue", true}, {"awaitPromise", true}});
    if (answer.contains("exceptionDetails"))
      throw std::runtime_error(expression + ": " + answer["exceptionDetails"].dump());
    return answer["result"].value("value", Json());
  }

  void mouse(const std::string& type, double x, double y, int buttons) {
    call("Input.dispatchMouseEvent", {{"type", type},
                                      {"x", x},
                                      {"y", y},
                                      {"button", type == "mouseMoved" ? "none" : "left"},
                                      {"buttons", buttons},
                                      {"clickCount", type == "mouseMoved" ? 0 : 1}});
  }
  void drag(double x0, double y0, double x1, double y1) {
    mouse("mouseMoved", x0, y0, 0);
    mouse("mousePressed", x0, y0, 1);
    for (int step = 1; step <= 5; ++step)
      mouse("mouseMoved", x0 + (x1 - x0) * step / 5, y0 + (y1 - y0) * step / 5, 1);
    mouse("mouseReleased", x1, y1, 0);
  }
  void key(const std::string& name, const std::string& text = "") {
    Json down = {{"type", "keyDown"}, {"key", name}};
    if (!text.empty()) down["text"] = text;
    call("Input.dispatchKeyEvent", down);
    call("Input.dispatchKeyEvent", {{"type", "keyUp"}, {"key", name}});
  }

  void view(int width, int height, bool dark) {
    call("Emulation.setDeviceMetricsOverride",
         {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", false}});
    call("Emulation.setEmulatedMedia",
         {{"features", {{{"name", "prefers-color-scheme"}, {"value", dark ? "dark" : "light"}}}}});
    evaluate("new Promise(done => setTimeout(done, 150))");
  }

  /// Lays the page out for paper, or for the screen again.
  void paper(bool on) {
    call("Emulation.setEmulatedMedia", {{"media", on ? "print" : ""}});
    evaluate(on ? "void dispatchEvent(new Event('beforeprint'))"
                : "void dispatchEvent(new Event('afterprint'))");
  }
  /// PNG bytes, base64.
  std::string screenshot() {
    return call("Page.captureScreenshot", {{"format", "png"}})["data"].get<std::string>();
  }
  /// PDF bytes, base64.
  std::string pdf() { return call("Page.printToPDF")["data"].get<std::string>(); }

  /// Console output, exceptions, and violations of the page's policy.
  const std::vector<std::string>& complaints() const { return complaints_; }
  const std::vector<std::string>& requests() const { return requests_; }

 private:
  Json call(const std::string& method, const Json& parameters = Json::object()) {
    Json message = {{"id", ++id_}, {"method", method}, {"params", parameters}};
    if (!session_.empty()) message["sessionId"] = session_;
    const std::string text = message.dump() + '\0';
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t n = write(to_, text.data() + sent, text.size() - sent);
      if (n <= 0) throw std::runtime_error("Chromium ended before " + method);
      sent += static_cast<size_t>(n);
    }
    while (true) {
      const Json answer = take_message();
      if (!answer.contains("id") || answer["id"] != id_) continue;
      if (answer.contains("error"))
        throw std::runtime_error(method + ": " + answer["error"].dump());
      return answer["result"];
    }
  }

  Json take_message() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    size_t at = 0;
    while ((at = buffer_.find('\0')) == std::string::npos) {
      pollfd ready{from_, POLLIN, 0};
      if (std::chrono::steady_clock::now() > end) throw std::runtime_error("Chromium is silent");
      if (poll(&ready, 1, 1000) <= 0) continue;
      std::array<char, 65536> bytes{};
      const ssize_t n = read(from_, bytes.data(), bytes.size());
      if (n <= 0) throw std::runtime_error("Chromium ended");
      buffer_.append(bytes.data(), static_cast<size_t>(n));
    }
    const Json message = Json::parse(buffer_.substr(0, at));
    buffer_.erase(0, at + 1);
    const std::string method = message.value("method", "");
    if (method == "Page.loadEventFired") loaded_ = true;
    if (method == "Runtime.exceptionThrown" || method == "Runtime.consoleAPICalled" ||
        method == "Log.entryAdded")
      complaints_.push_back(message["params"].dump());
    if (method == "Network.requestWillBeSent")
      requests_.push_back(message["params"]["request"]["url"].get<std::string>());
    return message;
  }

  TempDir profile_;
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  int id_ = 0;
  bool loaded_ = false;
  std::string session_;
  std::string buffer_;
  std::vector<std::string> complaints_;
  std::vector<std::string> requests_;
};

}  // namespace topspin::test
