// Trigger: decides at which tick an incident begins, from the rules that are met there.
//
// A rule that has triggered must stop being met before it can trigger again: a value that stays bad
// is one incident. After a trigger, `hold_off_ns` pass until the next one; a rule that is still met
// then triggers. What is met only meanwhile is counted. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace topspin {

class Trigger {
 public:
  Trigger(size_t rules, int64_t hold_off_ns) : states_(rules), hold_off_ns_(hold_off_ns) {}

  /// `met`: the positions of the rules that are met at this tick, ascending. Returns the first one
  /// that triggers; nullopt if none does. `is_busy`: an incident is being recorded.
  std::optional<size_t> at_tick(int64_t now_ns, std::span<const size_t> met, bool is_busy) {
    const bool may = !is_busy && now_ns >= next_ns_;
    std::optional<size_t> first;
    size_t k = 0;
    for (size_t i = 0; i < states_.size(); ++i) {
      const bool is_met = k < met.size() && met[k] == i;
      if (!is_met) {
        states_[i] = State::kNotMet;
        continue;
      }
      ++k;
      if (states_[i] == State::kTold) continue;
      if (may) {
        if (!first) first = i;
        states_[i] = State::kTold;
      } else if (states_[i] == State::kNotMet) {
        states_[i] = State::kWaiting;
        ++held_off_;
      }
    }
    if (first) hold_off_from(now_ns);
    return first;
  }

  /// An incident began for another reason.
  void hold_off_from(int64_t now_ns) { next_ns_ = now_ns + hold_off_ns_; }

  /// How often a rule began to be met while none could trigger.
  size_t held_off() const { return held_off_; }

 private:
  enum class State : uint8_t {
    kNotMet,
    kWaiting,  // met, and counted, during a hold-off
    kTold,     // met, and in an incident
  };

  std::vector<State> states_;
  int64_t hold_off_ns_;
  int64_t next_ns_ = std::numeric_limits<int64_t>::min();
  size_t held_off_ = 0;
};

}  // namespace topspin
