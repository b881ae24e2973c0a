// The registry: every number that a tick has, of all its parts.
//
//   for_each_number([&](const Number& number, auto at) { ... });
//
// at.find(sample) points to the value in a const Sample; it is null if the value's part was not
// measured. at.make(sample) is the value in a Sample; it creates the part if needed.
// decltype(at)::Value is uint64_t, int64_t, bool, Histogram, SignedHistogram, or an optional of one
// of these or of EventCount.
//
// numbers() is the same as a list, which can be searched by name.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/number/number.h"
#include "core/tick/sample.h"

namespace topspin {

/// Calls visit(probe, member) for each part of a Sample that has numbers. std::invoke(member,
/// sample) is the part, or an optional of it.
template <typename Visit>
void for_each_part(Visit visit) {
  visit("capture", &Sample::flows);
  visit("losses", &Sample::losses);
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

namespace number_detail {
template <typename T>
struct Unwrapped {
  using Type = T;
};
template <typename T>
struct Unwrapped<std::optional<T>> {
  using Type = T;
};
}  // namespace number_detail

/// The place of a number in a Sample.
template <typename Member, typename Path>
class NumberAt {
  using Held = std::remove_reference_t<std::invoke_result_t<Member, Sample&>>;

 public:
  using Part = typename number_detail::Unwrapped<Held>::Type;
  using Value = std::remove_reference_t<std::invoke_result_t<Path, Part&>>;

  NumberAt(Member member, Path path) : member_(member), path_(std::move(path)) {}

  const Value* find(const Sample& sample) const {
    const Held& held = std::invoke(member_, sample);
    if constexpr (std::is_same_v<Held, Part>)
      return &of(held);
    else
      return held ? &of(*held) : nullptr;
  }
  Value& make(Sample& sample) const {
    Held& held = std::invoke(member_, sample);
    if constexpr (std::is_same_v<Held, Part>) {
      return of(held);
    } else {
      return of(held ? *held : held.emplace());
    }
  }
  /// The value in a part that is not in a Sample.
  const Value& of(const Part& part) const { return std::invoke(path_, part); }
  Value& of(Part& part) const { return std::invoke(path_, part); }

 private:
  Member member_;
  Path path_;
};

template <typename Visit>
void for_each_number(Visit visit) {
  for_each_part([&](std::string_view probe, auto member) {
    using Held = std::remove_reference_t<std::invoke_result_t<decltype(member), Sample&>>;
    number_detail::Unwrapped<Held>::Type::for_each_number([&](Number number, auto path) {
      number.probe = probe;
      visit(number, NumberAt<decltype(member), decltype(path)>(member, path));
    });
  });
}

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
