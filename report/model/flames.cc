#include "report/model/flames.h"

#include <algorithm>

#include <fmt/format.h>

namespace topspin {
namespace {

/// Beyond this (in a damaged file), frames count for their callers.
constexpr size_t kMostNodes = 1u << 20;

}  // namespace

FlameBuilder::FlameBuilder() {
  nodes_.emplace_back();
  nodes_.front().name = name_id("all");
}

uint32_t FlameBuilder::name_id(std::string_view name) {
  const auto [found, fresh] =
      ids_.try_emplace(std::string(name), static_cast<uint32_t>(names_.size()));
  if (fresh) {
    names_.emplace_back(name);
    functions_.push_back({std::string(name), {}, {}});
  }
  return found->second;
}

uint32_t FlameBuilder::child(uint32_t parent, std::string_view name) {
  const uint32_t id = name_id(name);
  const auto [found, fresh] =
      children_.try_emplace(uint64_t{parent} << 32 | id, static_cast<uint32_t>(nodes_.size()));
  if (fresh) nodes_.push_back({id, parent, {}, {}});
  return found->second;
}

void FlameBuilder::add(size_t side, std::string_view thread, std::string_view frames,
                       std::string_view innermost, double weight) {
  std::vector<uint32_t> seen;  // functions of this stack
  uint32_t at = 0;
  nodes_[at].weight[side] += weight;
  size_t depth = 0;
  const auto step = [&](std::string_view name, bool is_function) {
    if (depth == kMostFlameDepth || nodes_.size() >= kMostNodes) return;
    ++depth;
    at = child(at, name);
    nodes_[at].weight[side] += weight;
    const uint32_t id = nodes_[at].name;
    if (!is_function || std::find(seen.begin(), seen.end(), id) != seen.end()) return;
    seen.push_back(id);
    functions_[id].total[side] += weight;
  };
  if (!thread.empty()) step(thread, false);
  uint32_t innermost_function = UINT32_MAX;
  for (size_t from = 0; from < frames.size();) {
    const size_t end = std::min(frames.find(';', from), frames.size());
    step(frames.substr(from, end - from), true);
    innermost_function = nodes_[at].name;
    from = end + 1;
  }
  if (innermost_function != UINT32_MAX) functions_[innermost_function].self[side] += weight;
  if (!innermost.empty()) step(innermost, false);
  nodes_[at].self[side] += weight;
}

Flame FlameBuilder::take() {
  Flame flame;
  const FlameWeight all = nodes_.front().weight;
  const auto greater_share = [&](const FlameWeight& weight) {
    double greatest = 0;
    for (size_t side = 0; side < all.size(); ++side)
      if (all[side] > 0) greatest = std::max(greatest, weight[side] / all[side]);
    return greatest;
  };
  const auto fitting = [&] {
    return static_cast<size_t>(std::count_if(nodes_.begin(), nodes_.end(), [&](const Node& node) {
      return greater_share(node.weight) >= flame.smallest_share;
    }));
  };
  while (fitting() > kMostFlameFrames) flame.smallest_share *= 2;
  std::vector<std::vector<uint32_t>> children(nodes_.size());
  for (uint32_t i = 1; i < nodes_.size(); ++i) {
    if (greater_share(nodes_[i].weight) >= flame.smallest_share)
      children[nodes_[i].parent].push_back(i);
    else
      ++flame.frames_left_out;
  }
  struct Open {
    uint32_t node;
    size_t parent;  // in the flame
  };
  std::vector<Open> open{{0, 0}};
  while (!open.empty()) {
    const Open next = open.back();
    open.pop_back();
    const Node& node = nodes_[next.node];
    const size_t index = flame.frames.size();
    flame.frames.push_back({names_[node.name], next.parent, node.weight, node.self});
    std::vector<uint32_t>& below = children[next.node];
    std::sort(below.begin(), below.end(), [&](uint32_t a, uint32_t b) {
      return names_[nodes_[a].name] > names_[nodes_[b].name];  // the last is taken first
    });
    for (const uint32_t child : below) open.push_back({child, index});
  }
  std::erase_if(functions_, [&](const FlameFunction& f) { return greater_share(f.total) <= 0; });
  const size_t shown = std::min(functions_.size(), kFlameFunctions);
  std::partial_sort(functions_.begin(), functions_.begin() + static_cast<std::ptrdiff_t>(shown),
                    functions_.end(), [&](const FlameFunction& a, const FlameFunction& b) {
                      const double self_a = greater_share(a.self), self_b = greater_share(b.self);
                      return self_a != self_b ? self_a > self_b : a.name < b.name;
                    });
  functions_.resize(shown);
  flame.functions = std::move(functions_);
  return flame;
}

Result<std::vector<Flame>> read_flames(RunStore& store,
                                       std::span<const std::vector<std::string>> sides) {
  FlameBuilder cpu, sleep;
  std::array<size_t, 2> runs_on_cpu{}, runs_asleep{};
  for (size_t side = 0; side < sides.size(); ++side) {
    for (const std::string& id : sides[side]) {
      bool has_samples = false, has_sleeps = false;
      TOPSPIN_TRY(store.for_each_stack(id, [&](const StackRow& stack) {
        has_samples = true;
        cpu.add(side, stack.thread, stack.frames, "", static_cast<double>(stack.samples));
      }));
      TOPSPIN_TRY(store.for_each_sleep_stack(id, [&](const SleepStackRow& stack) {
        has_sleeps = true;
        sleep.add(side, stack.thread, stack.frames,
                  fmt::format("[{}]", blocked_by_name(stack.reason)),
                  static_cast<double>(stack.slept_ns));
      }));
      runs_on_cpu[side] += has_samples ? 1 : 0;
      runs_asleep[side] += has_sleeps ? 1 : 0;
    }
  }
  std::vector<Flame> flames;
  const auto add = [&](FlameBuilder& builder, const char* id, bool is_sleep,
                       const std::array<size_t, 2>& runs) {
    Flame flame = builder.take();
    flame.id = id;
    flame.is_sleep = is_sleep;
    flame.sides = sides.size();
    flame.runs = runs;
    for (size_t side = 0; side < sides.size(); ++side)
      if (flame.frames.front().weight[side] <= 0) return;
    flames.push_back(std::move(flame));
  };
  add(cpu, "flame-cpu", false, runs_on_cpu);
  add(sleep, "flame-sleep", true, runs_asleep);
  return flames;
}

}  // namespace topspin
