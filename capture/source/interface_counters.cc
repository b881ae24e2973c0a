#include "capture/source/interface_counters.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr size_t kCounters = 16;  // 8 received, 8 sent: bytes, packets, errors, dropped, ...

bool parse_line(std::string_view line, InterfaceReading& reading) {
  const size_t first = line.find_first_not_of(' ');
  // A name may hold colons and the numbers do not, so the last colon ends the name.
  const size_t colon = line.rfind(':');
  if (first == std::string_view::npos || colon == std::string_view::npos || colon <= first) {
    return false;
  }
  reading.name = line.substr(first, colon - first);
  std::array<uint64_t, kCounters> counters{};
  const char* at = line.data() + colon + 1;
  const char* const end = line.data() + line.size();
  for (uint64_t& counter : counters) {
    while (at != end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, counter);
    if (error != std::errc()) return false;
    at = next;
  }
  reading.received_bytes = counters[0];
  reading.received_packets = counters[1];
  reading.received_dropped = counters[3];
  reading.sent_bytes = counters[8];
  reading.sent_packets = counters[9];
  reading.sent_dropped = counters[11];
  return true;
}

}  // namespace

std::vector<InterfaceReading> parse_interface_counters(std::string_view text) {
  std::vector<InterfaceReading> readings;
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size());
    InterfaceReading reading;
    if (parse_line(text.substr(0, length), reading)) readings.push_back(std::move(reading));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return readings;
}

Result<std::vector<InterfaceReading>> read_interfaces() {
  const UniqueFd file(open("/proc/net/dev", O_RDONLY | O_CLOEXEC));
  if (!file) {
    return make_error(ErrorCode::kInternal,
                      fmt::format("cannot open /proc/net/dev: {}", std::strerror(errno)), errno);
  }
  std::string text;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t n = read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return make_error(ErrorCode::kInternal,
                        fmt::format("cannot read /proc/net/dev: {}", std::strerror(errno)), errno);
    }
    if (n == 0) break;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  std::vector<InterfaceReading> readings = parse_interface_counters(text);
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (InterfaceReading& reading : readings) {
    ifreq request{};
    if (!socket_fd || reading.name.size() >= sizeof request.ifr_name) continue;
    std::memcpy(request.ifr_name, reading.name.data(), reading.name.size());
    if (ioctl(socket_fd.get(), SIOCGIFFLAGS, &request) != 0) continue;
    reading.up = (request.ifr_flags & IFF_UP) != 0;
    reading.loopback = (request.ifr_flags & IFF_LOOPBACK) != 0;
  }
  return readings;
}

}  // namespace topspin
