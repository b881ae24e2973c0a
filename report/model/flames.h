// Flame graphs: the stacks of one run, or of two sides, folded to trees of frames. One tree is of
// CPU samples, one of sleeps by their time. Bounded, however many stacks there are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

/// A frame with less than this share on every side is left out. With more than kMostFlameFrames
/// frames, the limit is doubled until they fit.
inline constexpr double kSmallestFlameShare = 0.001;
inline constexpr size_t kMostFlameFrames = 3'000;
inline constexpr size_t kMostFlameDepth = 256;
inline constexpr size_t kFlameFunctions = 20;

/// Samples, or ns asleep, of the only side or of A and B.
using FlameWeight = std::array<double, 2>;

struct FlameFrame {
  std::string name;   // hostile text
  size_t parent = 0;  // index; the root is its own
  FlameWeight weight{};
  FlameWeight self{};  // the part that is in none of its callees
};

/// A function, summed over all its places in the tree.
struct FlameFunction {
  std::string name;  // hostile text
  FlameWeight self{};
  FlameWeight total{};  // of all stacks that contain it, each counted once
};

struct Flame {
  std::string id;  // "flame-cpu", "flame-sleep"
  bool is_sleep = false;
  size_t sides = 1;
  std::array<size_t, 2> runs{};  // the number of runs with stacks
  /// The first is the root, with the weight of all stacks. Then come threads, then their frames,
  /// each after its caller; those with the same caller are in order of name. In a tree of sleeps
  /// the innermost frame is the reason, in brackets.
  std::vector<FlameFrame> frames;
  double smallest_share = kSmallestFlameShare;
  size_t frames_left_out = 0;
  std::vector<FlameFunction> functions;  // by the greater share of self; at most kFlameFunctions

  double share(const FlameWeight& weight, size_t side) const {
    const double all = frames.front().weight[side];
    return all > 0 ? weight[side] / all : 0;
  }
};

/// Folds stacks. Pure.
class FlameBuilder {
 public:
  FlameBuilder();
  /// REQUIRES: `side` is 0 or 1.
  void add(size_t side, std::string_view thread, std::string_view frames,
           std::string_view innermost, double weight);
  /// The tree, without id, sides and runs.
  Flame take();

 private:
  struct Node {
    uint32_t name = 0;
    uint32_t parent = 0;
    FlameWeight weight{};
    FlameWeight self{};
  };
  uint32_t name_id(std::string_view name);
  uint32_t child(uint32_t parent, std::string_view name);

  std::vector<std::string> names_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::unordered_map<uint64_t, uint32_t> children_;  // by parent and name
  std::vector<Node> nodes_;                          // a parent before its children
  std::vector<FlameFunction> functions_;             // by name id
};

/// The flame graphs of one or two sides. A side is a list of run ids. Only graphs that have stacks
/// on every side are returned.
Result<std::vector<Flame>> read_flames(RunStore& store,
                                       std::span<const std::vector<std::string>> sides);

}  // namespace topspin
