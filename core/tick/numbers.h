// The registry: every number that a tick has, of all its parts.
//
//   for_each_number([&](const Number& number, auto at) { ... });
//
// at.find(sample) points to the value in a const Sample; it is null if the value's part was not
// measured. at.make(sample) is the value in a Sample; it creates the part if needed.
// decltype(at)::Value is one of the types in AnyNumberAt. The visitor is compiled once per type,
// not once per number.
//
// numbers() is the same as a list, which can be searched by name.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "core/number/number.h"
#include "core/tick/sample.h"

namespace topspin {

inline constexpr std::string_view kPartOfLosses = "losses";

/// Calls visit(probe, member) for each part of a Sample that has numbers. std::invoke(member,
/// sample) is the part, or an optional of it.
template <typename Visit>
void for_each_part(Visit visit) {
  visit("capture", &Sample::flows);
  visit(kPartOfLosses, &Sample::losses);
  visit("topspin", &Sample::self);
  visit("scheduler", &Sample::scheduler);
  visit("resources", &Sample::resources);
  visit("sockets", &Sample::sockets);
  visit("pressure", &Sample::pressure);
  visit("counters", &Sample::counters);
  const auto visit_own = [&]<typename... Parts>(const std::tuple<std::optional<Parts>...>*) {
    (visit(
         Parts::kProbe, [](auto& sample) -> auto& { return sample.template part<Parts>(); }),
     ...);
  };
  visit_own(static_cast<const ProbeParts*>(nullptr));
}

/// How a number whose value is a T is reached in a Sample.
template <typename T>
class NumberPlace {
 public:
  virtual ~NumberPlace() = default;
  virtual const T* find(const Sample& sample) const = 0;
  virtual T& make(Sample& sample) const = 0;
};

/// The place of a number in a Sample. A copy is one pointer, valid as long as the program.
template <typename T>
class NumberAt {
 public:
  using Value = T;

  explicit NumberAt(const NumberPlace<T>& place) : place_(&place) {}
  /// Null if the value's part was not measured.
  const T* find(const Sample& sample) const { return place_->find(sample); }
  /// Creates the part if needed.
  T& make(Sample& sample) const { return place_->make(sample); }

 private:
  const NumberPlace<T>* place_;
};

template <typename... Values>
using NumberAtOneOf = std::variant<NumberAt<Values>...>;
/// Where any number is: one alternative per type of value.
using AnyNumberAt =
    NumberAtOneOf<uint64_t, int64_t, bool, Histogram, SignedHistogram, std::optional<uint64_t>,
                  std::optional<int64_t>, std::optional<bool>, std::optional<Histogram>,
                  std::optional<EventCount>>;

struct PlacedNumber {
  Number number;
  AnyNumberAt at;
};
/// All numbers, part by part, in the order of their structs.
const std::vector<PlacedNumber>& placed_numbers();

template <typename Visit>
void for_each_number(Visit visit) {
  for (const PlacedNumber& placed : placed_numbers())
    std::visit([&](auto at) { visit(placed.number, at); }, placed.at);
}

/// Whether it is in LossInterval: its value is a plain uint64_t.
inline bool is_loss_of_every_run(const Number& number) { return number.probe == kPartOfLosses; }

/// Calls visit(number, value) for each loss that the sample counts: those of every run
/// (LossInterval), and those of the probes that ran.
template <typename Visit>
void for_each_loss(const Sample& sample, Visit visit) {
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    if constexpr (std::is_same_v<Value, uint64_t> ||
                  std::is_same_v<Value, std::optional<uint64_t>>) {
      const Value* value = number.loss ? at.find(sample) : nullptr;
      if (value == nullptr) return;
      if (const std::optional<uint64_t> loss = *value) visit(number, *loss);
    }
  });
}

template <typename Value>
inline constexpr bool kIsDistribution =
    std::is_same_v<Value, Histogram> || std::is_same_v<Value, SignedHistogram> ||
    std::is_same_v<Value, std::optional<Histogram>>;
template <typename Value>
inline constexpr bool kIsEventCount = std::is_same_v<Value, std::optional<EventCount>>;
/// An integer or a bool, or an optional of one. Such numbers have a column in table tick.
template <typename Value>
inline constexpr bool kIsPlainNumber = !kIsDistribution<Value> && !kIsEventCount<Value>;

/// A number with functions to read it. A perf event is read as its scaled count.
struct RegisteredNumber : Number {
  /// For everything except distributions; nullopt if not measured.
  std::function<std::optional<double>(const Sample&)> value;
  /// For distributions; null if not measured.
  std::function<const Histogram*(const Sample&)> histogram;
  std::function<const SignedHistogram*(const Sample&)> signed_histogram;  // of lateness
};

/// In the order of for_each_number().
const std::vector<RegisteredNumber>& numbers();
/// Finds a number by its name, with or without its unit, and for a loss with or without "loss_";
/// null if there is none.
const RegisteredNumber* find_number(std::string_view name);

/// Merges the following tick: each number by its kind, and the lengths of time.
void merge_tick(Sample& into, const Sample& later);

/// Resets the optional parts in which nothing was measured.
void drop_unmeasured_parts(Sample& sample);

}  // namespace topspin
