#include "core/tick/numbers.h"

#include <memory>
#include <string_view>
#include <unordered_map>

#include "core/number/merge_numbers.h"

namespace topspin {
namespace {

template <typename T>
std::optional<double> as_double(const T& value) {
  return static_cast<double>(value);
}
template <typename T>
std::optional<double> as_double(const std::optional<T>& value) {
  return value ? as_double(*value) : std::nullopt;
}
std::optional<double> as_double(const std::optional<EventCount>& value) {
  return value ? as_double(value->scaled()) : std::nullopt;
}

const Histogram* as_histogram(const Histogram& histogram) { return &histogram; }
const Histogram* as_histogram(const std::optional<Histogram>& histogram) {
  return histogram ? &*histogram : nullptr;
}

template <typename T>
struct Unwrapped {
  using Type = T;
};
template <typename T>
struct Unwrapped<std::optional<T>> {
  using Type = T;
};

/// `member` leads from a Sample to a part, or an optional of it, and `path` from there to the
/// value.
template <typename T, typename Member, typename Path>
class PlaceInPart final : public NumberPlace<T> {
 public:
  PlaceInPart(Member member, Path path) : member_(member), path_(path) {}

  const T* find(const Sample& sample) const override {
    const auto& held = std::invoke(member_, sample);
    if constexpr (requires { held.has_value(); })
      return held ? &std::invoke(path_, *held) : nullptr;
    else
      return &std::invoke(path_, held);
  }
  T& make(Sample& sample) const override {
    auto& held = std::invoke(member_, sample);
    if constexpr (requires { held.has_value(); })
      return std::invoke(path_, held ? *held : held.emplace());
    else
      return std::invoke(path_, held);
  }

 private:
  Member member_;
  Path path_;
};

/// There is one place per number, kept as long as the program runs.
template <typename Part, typename Member, typename Path>
AnyNumberAt place_in_part(Member member, Path path) {
  using Value = std::remove_reference_t<std::invoke_result_t<Path, Part&>>;
  static std::vector<std::unique_ptr<const NumberPlace<Value>>> places;
  places.push_back(std::make_unique<PlaceInPart<Value, Member, Path>>(member, path));
  return NumberAt<Value>(*places.back());
}

std::vector<PlacedNumber> place_numbers() {
  std::vector<PlacedNumber> list;
  for_each_part([&](std::string_view probe, auto member) {
    using Held = std::remove_reference_t<std::invoke_result_t<decltype(member), Sample&>>;
    using Part = typename Unwrapped<Held>::Type;
    Part::for_each_number([&](const Number& number, auto path) {
      list.push_back({number, place_in_part<Part>(member, path)});
      list.back().number.probe = probe;
    });
  });
  return list;
}

std::vector<RegisteredNumber> list_numbers() {
  std::vector<RegisteredNumber> list;
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    RegisteredNumber registered{number, {}, {}, {}};
    if constexpr (std::is_same_v<Value, SignedHistogram>) {
      registered.signed_histogram = [at](const Sample& sample) { return at.find(sample); };
    } else if constexpr (kIsDistribution<Value>) {
      registered.histogram = [at](const Sample& sample) -> const Histogram* {
        const Value* histogram = at.find(sample);
        return histogram == nullptr ? nullptr : as_histogram(*histogram);
      };
    } else {
      registered.value = [at](const Sample& sample) {
        const Value* value = at.find(sample);
        return value == nullptr ? std::nullopt : as_double(*value);
      };
    }
    list.push_back(std::move(registered));
  });
  return list;
}

/// If two numbers could go by a name, the one counts that bears it in full, then the one that bears
/// it but for its unit, then a loss that bears it but for its prefix.
std::unordered_map<std::string_view, const RegisteredNumber*> index_by_name() {
  std::unordered_map<std::string_view, const RegisteredNumber*> index;
  for (const RegisteredNumber& number : numbers()) index.emplace(number.name, &number);
  for (const RegisteredNumber& number : numbers())
    index.emplace(without_unit(number.name), &number);
  for (const RegisteredNumber& number : numbers()) {
    if (!number.loss) continue;
    const std::string_view bare = number.name.substr(LossInterval::kNumberPrefix.size());
    index.emplace(bare, &number);
    index.emplace(without_unit(bare), &number);
  }
  return index;
}

bool is_measured(const auto& value) {
  if constexpr (requires { value.has_value(); })
    return value.has_value();
  else
    return true;
}

}  // namespace

const std::vector<PlacedNumber>& placed_numbers() {
  static const std::vector<PlacedNumber> kPlaced = place_numbers();
  return kPlaced;
}

const std::vector<RegisteredNumber>& numbers() {
  static const std::vector<RegisteredNumber> kNumbers = list_numbers();
  return kNumbers;
}

const RegisteredNumber* find_number(std::string_view name) {
  static const auto kByName = index_by_name();
  const auto found = kByName.find(name);
  return found == kByName.end() ? nullptr : found->second;
}

void merge_tick(Sample& into, const Sample& later) {
  into.tick = later.tick;
  into.monotonic_ns = later.monotonic_ns;
  into.elapsed_ns = later.elapsed_ns;
  into.interval_ns = saturating_add(into.interval_ns, later.interval_ns);
  for_each_part([&](std::string_view, auto member) {
    auto& mine = std::invoke(member, into);
    const auto& theirs = std::invoke(member, later);
    if constexpr (requires { mine.has_value(); }) {
      if (!theirs) return;
      if (mine)
        mine->merge(*theirs);
      else
        mine = theirs;
    } else {
      mine.merge(theirs);
    }
  });
}

void drop_unmeasured_parts(Sample& sample) {
  for_each_part([&](std::string_view, auto member) {
    auto& part = std::invoke(member, sample);
    if constexpr (requires { part.reset(); }) {
      if (!part) return;
      bool measured = false;
      std::remove_cvref_t<decltype(*part)>::for_each_number(
          [&](const Number&, auto path) { measured |= is_measured(std::invoke(path, *part)); });
      if (!measured) part.reset();
    }
  });
}

}  // namespace topspin
