// Servers that were not written here, for tests: where their programs are, and how they run. They
// are those of the system, or come from build/tools/servers (cmake/fetch-servers).
#pragma once

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <glob.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/process.h"

namespace topspin::test {

inline const std::string kTools = std::string(TOPSPIN_SOURCE_DIR) + "/build/tools/servers";

/// Where a program is, installed or fetched; empty: nowhere.
inline std::string find_program(const std::string& name) {
  for (const std::string& pattern :
       {"/usr/sbin/" + name, "/usr/bin/" + name, "/usr/local/bin/" + name,
        "/usr/lib/postgresql/*/bin/" + name, kTools + "/usr/sbin/" + name,
        kTools + "/usr/bin/" + name, kTools + "/usr/lib/postgresql/*/bin/" + name}) {
    glob_t found{};
    std::string path;
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0) path = found.gl_pathv[0];
    globfree(&found);
    if (!path.empty()) return path;
  }
  return "";
}

/// For a child before exec: sets the path to the libraries of fetched programs. Also makes a
/// process group, so that a server can be ended with all that it forks.
inline void use_fetched_libraries() {
  setpgid(0, 0);
  const std::string lib = kTools + "/usr/lib/x86_64-linux-gnu";
  setenv("LD_LIBRARY_PATH", lib.c_str(), 1);
}

/// A TCP or UDP port of 127.0.0.1 that is free now.
inline int free_port(int type) {
  const int fd = socket(AF_INET, type, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const bool bound =
      bind(fd, generic, sizeof address) == 0 && getsockname(fd, generic, &length) == 0;
  close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

inline bool accepts_connections(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return connected;
}

inline bool becomes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 400; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

/// A server. It is ended with everything that it has forked.
class Server : public Process {
 public:
  explicit Server(std::vector<std::string> arguments,
                  const std::function<void()>& before_exec = use_fetched_libraries)
      : Process(std::move(arguments), before_exec), group_(pid()) {}
  ~Server() {
    if (group_ > 0) kill(-group_, SIGKILL);
  }

 private:
  pid_t group_;
};

}  // namespace topspin::test
