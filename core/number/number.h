// A number that topspin measures once per tick, described in one place. Columns, exports, rules,
// reports, screens and docs/numbers.md are views of these descriptions.
//
// Each struct of numbers lists its own: a static for_each_number(visit) calls visit(number, path)
// once per number, where std::invoke(path, part) is a reference to the value in a `part` of that
// struct. To add a number: measure it, and add its member and its line to that struct.
// core/tick/numbers.h lists the numbers of all parts of a Sample.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <type_traits>

namespace topspin {

/// The kind of a number, which says how a later interval is merged into an earlier one.
enum class NumberKind : uint8_t {
  kCount,         // of the interval: counts add up
  kGauge,         // at the end of the interval: the later one is kept
  kMaximum,       // the highest within the interval: the greater one is kept
  kTotal,         // since the subject began: the later one is kept
  kDistribution,  // of the interval: histograms add up
  kState,         // true if it was true in any interval
};
std::string_view number_kind_name(NumberKind kind);  // "count", "gauge", ...

/// How the values of several processes, CPUs or flows are combined into one number.
enum class NumberScope : uint8_t {
  kSum,      // they add up
  kNearest,  // the value of the process that is nearest to its limit
  kWhole,    // the value of the whole host, network namespace or cgroup
};

/// What a loss means for the run. docs/losses.md explains each.
enum class LossKind : uint8_t {
  kUnseen,  // something was not seen at all: only these are "losses" (losses_total)
  kPart,    // a distribution or list misses some entries; the sums that the gate judges have them
  kRow,     // has no row in the database, or is not in a packet file; every sum includes it
  kNote,    // not a loss: seen late, or cut off by the start or the end of the run
};

/// The amount of a loss that makes a run unusable.
enum class LossLimit : uint8_t {
  kNone,            // no amount does
  kAny,             // any amount does
  kShareOfPackets,  // more than 0.1% of all packets, together with the other losses of this kind
  kShareOfTicks,    // at least three, and more than a tenth of all ticks
};

struct Number {
  std::string_view name;  // unique; ends with its unit: _ns, _bytes, or none for a plain count
  NumberKind kind = NumberKind::kCount;
  std::string_view label;  // a few words for tables and screens
  std::string_view help;   // one sentence
  NumberScope scope = NumberScope::kSum;
  bool needs_period = false;  // has no meaning if no flow has a period
  std::optional<LossKind> loss = std::nullopt;
  LossLimit limit = LossLimit::kNone;
  std::string_view probe = {};  // who measures it; set by core/tick/numbers.h

  constexpr Number of_the_whole() const { return with(NumberScope::kWhole); }
  constexpr Number nearest_limit() const { return with(NumberScope::kNearest); }

  constexpr Number of_periods() const {
    Number copy = *this;
    copy.needs_period = true;
    return copy;
  }

  static constexpr Number count(std::string_view name, std::string_view label,
                                std::string_view help) {
    return {name, NumberKind::kCount, label, help};
  }
  static constexpr Number gauge(std::string_view name, std::string_view label,
                                std::string_view help) {
    return {name, NumberKind::kGauge, label, help};
  }
  static constexpr Number maximum(std::string_view name, std::string_view label,
                                  std::string_view help) {
    return {name, NumberKind::kMaximum, label, help};
  }
  static constexpr Number total(std::string_view name, std::string_view label,
                                std::string_view help) {
    return {name, NumberKind::kTotal, label, help};
  }
  static constexpr Number distribution(std::string_view name, std::string_view label,
                                       std::string_view help) {
    return {name, NumberKind::kDistribution, label, help};
  }
  /// A number whose label needs no further help.
  static constexpr Number lost(std::string_view name, LossKind kind_of_loss, std::string_view label,
                               LossLimit limit = LossLimit::kNone) {
    Number number = count(name, label, label);
    number.loss = kind_of_loss;
    number.limit = limit;
    return number;
  }
  static constexpr Number state(std::string_view name, std::string_view label,
                                std::string_view help) {
    return {name, NumberKind::kState, label, help};
  }

 private:
  constexpr Number with(NumberScope wanted) const {
    Number copy = *this;
    copy.scope = wanted;
    return copy;
  }
};

/// Calls visit(name, value) for each number of `part` whose value is a T.
template <typename T, typename Part, typename Visit>
void for_each_value_of(Part& part, Visit visit) {
  Part::for_each_number([&](const Number& number, auto path) {
    auto& value = std::invoke(path, part);
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, T>)
      visit(number.name, value);
  });
}

enum class NumberUnit : uint8_t { kOne, kNanoseconds, kBytes };
/// The unit, from the end of the name.
NumberUnit number_unit(std::string_view name);
/// "cpu" of "cpu_ns", for use where the value has the unit, as in rules.
std::string_view without_unit(std::string_view name);

}  // namespace topspin
