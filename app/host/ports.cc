#include "app/host/ports.h"

#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

namespace topspin {

bool lists_open_port(std::string_view table, bool udp, uint16_t port) {
  // "  0: 0100007F:22B8 00000000:0000 0A ...": slot, local end, remote end, state; all hexadecimal.
  constexpr std::string_view kTcpListen = "0A", kUdpUnconnected = "07";
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string slot, local, remote, state;
    if (!(words >> slot >> local >> remote >> state)) continue;
    if (state != (udp ? kUdpUnconnected : kTcpListen)) continue;
    const size_t colon = local.rfind(':');
    if (colon == std::string::npos) continue;
    uint16_t number = 0;
    const char* const end = local.data() + local.size();
    const auto parsed = std::from_chars(local.data() + colon + 1, end, number, 16);
    if (parsed.ec == std::errc() && parsed.ptr == end && number == port) return true;
  }
  return false;
}

bool port_is_open(bool udp, uint16_t port) {
  for (const char* family : {"", "6"}) {
    std::ifstream file(std::string("/proc/self/net/") + (udp ? "udp" : "tcp") + family);
    std::stringstream text;
    text << file.rdbuf();
    if (lists_open_port(text.str(), udp, port)) return true;
  }
  return false;
}

}  // namespace topspin
