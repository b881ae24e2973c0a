#include "probes/runtime/runtime_points.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace topspin {
namespace {

/// The most copies that a compiler makes of a function. If there are more matches, they are other
/// functions whose names begin in the same way.
constexpr size_t kMostCopies = 16;

/// Whether this is a part that the compiler split off a function, which is not the function's
/// entry.
bool is_fragment(std::string_view name) {
  return name.find(".cold") != std::string_view::npos ||
         name.find(".part.") != std::string_view::npos;
}

/// GCC's copies of `take_gil` are called take_gil.isra.0 and take_gil.constprop.0.
bool is_function(std::string_view pattern, std::string_view name) {
  if (is_fragment(name)) return false;
  if (matches_pattern(pattern, name)) return true;
  if (pattern.ends_with('*') || !name.starts_with(pattern)) return false;
  name.remove_prefix(pattern.size());
  return name.starts_with(".isra.") || name.starts_with(".constprop.");
}

/// Where each wanted name is.
struct Places {
  struct Place {
    uint64_t offset, semaphore;
    friend bool operator==(const Place&, const Place&) = default;
  };
  std::unordered_map<std::string, std::vector<Place>> of;  // "symbol", or "provider:name"

  void add(const ElfFile& elf, std::vector<Place>& places, uint64_t address, uint64_t semaphore) {
    const auto offset = elf.offset_of(address);
    if (!offset) return;
    const Place place{*offset, semaphore != 0 ? elf.offset_of(semaphore).value_or(0) : 0};
    if (semaphore != 0 && place.semaphore == 0) return;  // such a probe would never be reached
    if (std::ranges::find(places, place) == places.end()) places.push_back(place);
  }
};

Places find_places(const RuntimeFile& runtime, const ElfFile& elf) {
  Places places;
  std::vector<std::string> symbols, usdts;
  if (!runtime.symbol.empty()) symbols.push_back(runtime.symbol);
  for (const RuntimeSpan& span : runtime.spans) {
    for (const RuntimePoint& point : span.points)
      (point.where == RuntimePoint::Where::kUsdt ? usdts : symbols).push_back(point.name);
  }
  elf.for_each_function([&](std::string_view name, uint64_t address, uint64_t) {
    for (const std::string& symbol : symbols)
      if (is_function(symbol, name)) places.add(elf, places.of[symbol], address, 0);
  });
  if (usdts.empty()) return places;
  elf.for_each_usdt([&](const ElfUsdt& probe) {
    const std::string name = fmt::format("{}:{}", probe.provider, probe.name);
    if (std::ranges::find(usdts, name) != usdts.end())
      places.add(elf, places.of[name], probe.address, probe.semaphore_address);
  });
  return places;
}

/// Adds the points of a span, and returns the names of those that are missing.
std::vector<std::string> place_span(const RuntimeSpan& span, const Places& places, bool is_go,
                                    std::vector<PlacedPoint>& into) {
  std::vector<std::string> lacks;
  for (const RuntimePoint& point : span.points) {
    const auto found = places.of.find(point.name);
    const bool is_return = point.where == RuntimePoint::Where::kReturn;
    if (found == places.of.end() || found->second.empty())
      lacks.push_back(point.name);
    else if (found->second.size() > kMostCopies)
      lacks.push_back(point.name + " (too many of this name)");
    else if (is_return && is_go)
      lacks.push_back(point.name + " (a Go program may not be probed at a return)");
    else
      for (const Places::Place& place : found->second)
        into.push_back({place.offset, place.semaphore, is_return, point.what});
  }
  std::ranges::sort(lacks);
  lacks.erase(std::unique(lacks.begin(), lacks.end()), lacks.end());
  return lacks;
}

}  // namespace

RuntimeInObject find_runtime(const RuntimeFile& runtime, const ElfFile& elf) {
  RuntimeInObject found;
  if (!runtime.section.empty() && !elf.has_section(runtime.section)) return found;
  const Places places = find_places(runtime, elf);
  if (!runtime.symbol.empty() && !places.of.contains(runtime.symbol)) return found;
  found.is_there = true;
  const bool is_go = elf.has_section(".go.buildinfo");
  for (size_t kind = 0; kind < kRuntimeKinds.size(); ++kind) {
    std::vector<std::string> lacks;
    bool is_placed = false, is_known = false;
    for (const RuntimeSpan& span : runtime.spans) {
      if (span.kind != kind || is_placed) continue;
      is_known = true;
      std::vector<PlacedPoint> points;
      const std::vector<std::string> missing = place_span(span, places, is_go, points);
      is_placed = missing.empty();
      if (is_placed) found.points.insert(found.points.end(), points.begin(), points.end());
      lacks.insert(lacks.end(), missing.begin(), missing.end());
    }
    if (is_placed)
      found.kinds.push_back(kind);
    else if (is_known)
      found.missing.push_back(
          fmt::format("{} (no {})", kRuntimeKinds[kind], fmt::join(lacks, ", ")));
  }
  return found;
}

}  // namespace topspin
