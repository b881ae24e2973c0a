#include "load/engine/preflight.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <sys/resource.h>

#include "core/base/text.h"

namespace topspin {

HostLimits read_host_limits() {
  HostLimits limits;
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &descriptors) != 0) getrlimit(RLIMIT_NOFILE, &descriptors);
    limits.descriptors = descriptors.rlim_cur;
  }
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
       !error && entry != end; entry.increment(error)) {
    ++limits.descriptors_in_use;
  }
  uint32_t low = 32768, high = 60999;  // the kernel's default, if /proc cannot be read
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> low >> high;
  limits.ephemeral_ports = high >= low ? high - low + 1 : 0;
  std::ifstream memory("/proc/meminfo");
  for (std::string word; memory >> word;) {
    int64_t kib = 0;
    if (word == "MemAvailable:" && memory >> kib) limits.available_bytes = kib * 1024;
  }
  return limits;
}

HostLimits share_of(const HostLimits& limits, uint32_t shares) {
  HostLimits share = limits;
  const uint64_t in_use = std::min(limits.descriptors_in_use, limits.descriptors);
  share.descriptors = in_use + (limits.descriptors - in_use) / shares;
  share.ephemeral_ports /= shares;
  if (share.available_bytes) *share.available_bytes /= shares;
  return share;
}

uint32_t usable_ports(const HostLimits& limits) {
  return limits.ephemeral_ports - limits.ephemeral_ports / 8;
}

Status check_needs(const LoadNeeds& needs, const HostLimits& limits, bool can_spread) {
  if (needs.descriptors + limits.descriptors_in_use > limits.descriptors) {
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("the load needs {} descriptors and the limit is {}: raise it (ulimit -Hn, "
                    "nofile in /etc/security/limits.conf, LimitNOFILE of a systemd unit){}",
                    needs.descriptors + limits.descriptors_in_use, limits.descriptors,
                    can_spread ? ", or use --sockets shared" : ""));
  }
  const uint64_t ports = uint64_t{usable_ports(limits)} * needs.source_addresses;
  if (needs.ports > ports) {
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("the load needs {} local ports and can use {} of the range of {}: widen it "
                    "(sysctl net.ipv4.ip_local_port_range=\"1024 65535\"), or {}",
                    needs.ports, ports, limits.ephemeral_ports,
                    can_spread ? "let it spread its source addresses"
                               : "use a target in 127.0.0.0/8, which has many source addresses"));
  }
  if (limits.available_bytes && needs.memory_bytes > *limits.available_bytes) {
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("the load needs about {} of memory and {} are available: use fewer clients, or "
                    "free some memory",
                    format_bytes(needs.memory_bytes), format_bytes(*limits.available_bytes)));
  }
  return {};
}

}  // namespace topspin
