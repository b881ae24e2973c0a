#include "app/host/host.h"

#include <array>
#include <cstring>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core/base/read_file.h"
#include "core/base/text.h"

namespace topspin {
namespace {

constexpr size_t kMostHostBytes = 64 << 20;  // /proc/cpuinfo has some kilobytes for each CPU

/// Empty if it cannot be read.
std::string text_of_host(const char* path) {
  auto text = read_file(path, kMostHostBytes);
  return text.ok() ? std::move(text).value() : std::string();
}

/// The hypervisor by its signature in CPUID leaf 0x40000000; empty if there is none.
std::string hypervisor_by_cpuid() {
#if defined(__x86_64__)
  unsigned int highest = 0;
  std::array<unsigned int, 3> registers{};
  __cpuid(0x40000000, highest, registers[0], registers[1], registers[2]);
  std::array<char, 13> bytes{};
  std::memcpy(bytes.data(), registers.data(), sizeof(registers));
  const std::string signature(bytes.data());
  constexpr std::array<std::array<std::string_view, 2>, 6> kKnown{{{"KVMKVMKVM", "KVM"},
                                                                   {"Microsoft Hv", "Hyper-V"},
                                                                   {"VMwareVMware", "VMware"},
                                                                   {"XenVMMXenVMM", "Xen"},
                                                                   {"TCGTCGTCGTCG", "QEMU TCG"},
                                                                   {"bhyve bhyve ", "bhyve"}}};
  for (const auto& [known, name] : kKnown) {
    if (signature == known) return std::string(name);
  }
#endif
  return "";
}

/// The value of the first line "name <separator> value" of a file such as /proc/cpuinfo.
std::string first_value(const std::string& text, std::string_view name, char separator) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find(separator);
    if (at == std::string::npos || trimmed(line.substr(0, at)) != name) continue;
    return std::string(trimmed(std::string_view(line).substr(at + 1)));
  }
  return {};
}

std::string unquoted(std::string text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    return text.substr(1, text.size() - 2);
  return text;
}

/// FNV-1a with 64 bits. A fingerprint need not resist attacks.
uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

HostInfo read_host_info() {
  HostInfo host;
  utsname names{};
  if (uname(&names) == 0) {
    host.hostname = names.nodename;
    host.kernel = names.release;
    host.architecture = names.machine;
  }
  host.os = unquoted(first_value(text_of_host("/etc/os-release"), "PRETTY_NAME", '='));
  const std::string cpuinfo = text_of_host("/proc/cpuinfo");
  host.cpu_model = first_value(cpuinfo, "model name", ':');
  if (const long n = sysconf(_SC_NPROCESSORS_ONLN); n > 0) host.cpus_online = n;
  if (const long pages = sysconf(_SC_PHYS_PAGES); pages > 0)
    host.memory_bytes = pages * sysconf(_SC_PAGESIZE);
  if (first_value(cpuinfo, "flags", ':').find(" hypervisor") != std::string::npos) {
    host.hypervisor = trimmed(text_of_host("/sys/hypervisor/type"));
    if (host.hypervisor.empty())
      host.hypervisor = trimmed(text_of_host("/sys/class/dmi/id/sys_vendor"));
    if (host.hypervisor.empty()) host.hypervisor = hypervisor_by_cpuid();
    if (host.hypervisor.empty()) host.hypervisor = "unknown";
  }
  const std::string stepping = first_value(cpuinfo, "stepping", ':');
  const std::string cache = first_value(cpuinfo, "cache size", ':');
  // Memory in whole GiB, because the kernel's own share of it differs from boot to boot.
  host.fingerprint = fmt::format(
      "{:016x}", fnv1a(fmt::format("{}|{}|{}|{}|{}|{}|{}", host.architecture, host.cpu_model,
                                   stepping, cache, host.cpus_online.value_or(0),
                                   host.memory_bytes.value_or(0) >> 30, host.hypervisor)));
  return host;
}

}  // namespace topspin
