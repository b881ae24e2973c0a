#include "load/engine/kernel_counters.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

namespace topspin {
namespace {

std::string read_text(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  size_t at = 0;
  while (at < line.size()) {
    const size_t begin = line.find_first_not_of(" \t", at);
    if (begin == std::string_view::npos) break;
    at = std::min(line.find_first_of(" \t", begin), line.size());
    words.push_back(line.substr(begin, at - begin));
  }
  return words;
}

/// Removes the first line from `text`, and returns it.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

template <typename Number>
std::optional<Number> number_of(std::string_view word) {
  Number value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> difference(std::optional<uint64_t> earlier, std::optional<uint64_t> later) {
  if (!earlier || !later || *later < *earlier) return std::nullopt;
  return *later - *earlier;
}

/// /proc/net/snmp6 has a line "NAME NUMBER" for each counter.
uint64_t find_counter6(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const auto words = words_of(take_line(text));
    if (words.size() == 2 && words[0] == name) {
      return number_of<uint64_t>(words[1]).value_or(0);
    }
  }
  return 0;
}

}  // namespace

std::optional<uint64_t> find_counter(std::string_view text, std::string_view group,
                                     std::string_view name) {
  while (!text.empty()) {
    const auto names = words_of(take_line(text));
    if (names.empty() || names[0] != group) continue;
    const auto values = words_of(take_line(text));
    for (size_t i = 1; i < names.size() && i < values.size(); ++i) {
      if (names[i] == name) return number_of<uint64_t>(values[i]);
    }
    return std::nullopt;
  }
  return std::nullopt;
}

KernelCounters read_kernel_counters() {
  const std::string snmp = read_text("/proc/self/net/snmp");
  const std::string snmp6 = read_text("/proc/self/net/snmp6");
  const std::string netstat = read_text("/proc/self/net/netstat");
  KernelCounters counters;
  counters.udp_rcvbuf_errors = find_counter(snmp, "Udp:", "RcvbufErrors");
  counters.udp_no_ports = find_counter(snmp, "Udp:", "NoPorts");
  if (counters.udp_rcvbuf_errors) {
    *counters.udp_rcvbuf_errors += find_counter6(snmp6, "Udp6RcvbufErrors");
  }
  if (counters.udp_no_ports) *counters.udp_no_ports += find_counter6(snmp6, "Udp6NoPorts");
  counters.tcp_passive_opens = find_counter(snmp, "Tcp:", "PassiveOpens");
  counters.tcp_listen_overflows = find_counter(netstat, "TcpExt:", "ListenOverflows");
  counters.tcp_listen_drops = find_counter(netstat, "TcpExt:", "ListenDrops");
  return counters;
}

KernelCounters counters_between(const KernelCounters& earlier, const KernelCounters& later) {
  KernelCounters between;
  between.udp_rcvbuf_errors = difference(earlier.udp_rcvbuf_errors, later.udp_rcvbuf_errors);
  between.udp_no_ports = difference(earlier.udp_no_ports, later.udp_no_ports);
  between.tcp_passive_opens = difference(earlier.tcp_passive_opens, later.tcp_passive_opens);
  between.tcp_listen_overflows =
      difference(earlier.tcp_listen_overflows, later.tcp_listen_overflows);
  between.tcp_listen_drops = difference(earlier.tcp_listen_drops, later.tcp_listen_drops);
  return between;
}

int64_t thread_cpu_now_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<int64_t>(t.tv_sec) * kNanosPerSecond + t.tv_nsec;
}

}  // namespace topspin
