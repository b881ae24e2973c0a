#include <charconv>
#include <set>

#include "app/plan/plan.h"

namespace topspin {
namespace {
constexpr int kMaxCpu = 4095;
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::set<int> cpus;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  const auto read_number = [&]() -> std::optional<int> {
    int value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 0 || value > kMaxCpu) return std::nullopt;
    at = stop;
    return value;
  };
  while (true) {
    const auto first = read_number();
    if (!first) return std::nullopt;
    auto last = first;
    if (at != end && *at == '-') {
      ++at;
      last = read_number();
      if (!last || *last < *first) return std::nullopt;
    }
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.insert(cpu);
    if (at == end) return std::vector<int>(cpus.begin(), cpus.end());
    if (*at++ != ',') return std::nullopt;
  }
}

}  // namespace topspin
