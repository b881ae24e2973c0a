#include "ci/slo/slo_names.h"

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "store/sqlite/columns.h"

namespace topspin {
namespace {

/// Everything that was not seen at all. This does not include late ticks and waits that the ends of
/// the run cut off, because those were seen, nor BPF programs that the kernel skipped because
/// another one ran on that CPU, which only loses one event of a distribution. These have separate
/// names.
std::optional<double> all_losses(const Sample& s) {
  return static_cast<double>(losses_total(s.losses));
}
std::optional<double> missed_runs(const Sample& s) {
  const LossInterval& l = s.losses;
  return static_cast<double>(l.scheduler_missed_runs + l.syscalls_missed_runs +
                             l.socket_missed_runs);
}

}  // namespace

const RegisteredNumber* find_tick_number(std::string_view name) {
  static const RegisteredNumber kLosses{
      Number::count("losses", "losses", "The sum of all losses."), all_losses, {}, {}};
  static const RegisteredNumber kMissedRuns{
      Number::count("missed_runs", "skipped runs", "Runs of BPF programs that the kernel skipped."),
      missed_runs,
      {},
      {}};
  for (const RegisteredNumber* derived : {&kLosses, &kMissedRuns})
    if (derived->name == name) return derived;
  // If a loss and another number have the same name (evicted_flows), the loss is meant.
  const RegisteredNumber* loss =
      find_number(fmt::format("{}{}", LossInterval::kNumberPrefix, name));
  return loss != nullptr ? loss : find_number(name);
}

namespace {

std::vector<std::string_view> tick_number_names() {
  std::vector<std::string_view> names = {"losses", "missed_runs"};
  for (const RegisteredNumber& number : numbers()) {
    names.push_back(number.loss ? std::string_view(LossInterval::bare_name(number))
                    : number.kind == NumberKind::kDistribution ? without_unit(number.name)
                                                               : number.name);
  }
  return names;
}

constexpr std::array<std::string_view, 3> kLoadDistributions = {
    "load_latency", "load_latency_actual", "load_own_lateness"};

template <typename List>
bool contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

/// The kernel's counters and the generator's own numbers, by their names in the database.
const std::vector<std::string>& surroundings_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    const LoadResult load;
    for_each_load_column(load, [&](std::string_view prefix, std::string_view name, const auto&) {
      if (!prefix.empty()) names.push_back(fmt::format("{}{}", prefix, name));
    });
    return names;
  }();
  return kNames;
}

/// The whole name for `name`, which may lack its unit; empty if it is none of them.
std::string_view surroundings_name(std::string_view name) {
  for (const std::string& each : surroundings_names())
    if (each == name || without_unit(each) == name) return each;
  return {};
}

template <typename T>
std::optional<double> as_number(const T& value) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<double>(value);
  else
    return std::nullopt;
}
template <typename T>
std::optional<double> as_number(const std::optional<T>& value) {
  return value ? as_number(*value) : std::nullopt;
}

std::optional<double> surroundings_number(const LoadResult& load, std::string_view whole_name) {
  std::optional<double> found;
  for_each_load_column(load,
                       [&](std::string_view prefix, std::string_view name, const auto& value) {
                         if (!prefix.empty() && fmt::format("{}{}", prefix, name) == whole_name)
                           found = as_number(value);
                       });
  return found;
}

std::vector<std::string_view> whole_load_count_names() {
  std::vector<std::string_view> names(surroundings_names().begin(), surroundings_names().end());
  TcpAccounts::for_each_field([&](std::string_view name, auto) { names.push_back(name); });
  HttpAccounts{}.for_each_class([&](std::string_view name, auto) { names.push_back(name); });
  return names;
}

std::vector<std::string_view> load_count_names() {
  std::vector<std::string_view> names = whole_load_count_names();
  LoadAccounts::for_each_field([&](std::string_view name, auto) { names.push_back(name); });
  return names;
}

}  // namespace

bool counts_whole_load_only(std::string_view name) {
  return slo_name_kind(name) == SloNameKind::kLoadCount &&
         (!surroundings_name(name).empty() || contains(whole_load_count_names(), name));
}

std::optional<double> load_count(const LoadResult& load, const LoadPart& part, bool whole,
                                 std::string_view name) {
  std::optional<double> found;
  LoadAccounts::for_each_field([&](std::string_view field_name, auto field) {
    if (field_name == name) found = static_cast<double>(part.accounts.*field);
  });
  if (name == "http_errors" && !load.http && !load.script) return std::nullopt;
  if (found || !whole) return found;
  if (const std::string_view of_surroundings = surroundings_name(name); !of_surroundings.empty())
    return surroundings_number(load, of_surroundings);
  if (load.tcp) {
    TcpAccounts::for_each_field([&](std::string_view field_name, auto field) {
      if (field_name == name) found = static_cast<double>((*load.tcp).*field);
    });
  }
  if (load.http) {
    load.http->for_each_class([&](std::string_view class_name, uint64_t count) {
      if (class_name == name) found = static_cast<double>(count);
    });
  }
  return found;
}

std::optional<SloNameKind> slo_name_kind(std::string_view name) {
  if (const RegisteredNumber* number = find_tick_number(name)) {
    switch (number->kind) {
      case NumberKind::kCount: return SloNameKind::kCount;
      case NumberKind::kDistribution: return SloNameKind::kTickDistribution;
      case NumberKind::kGauge:
      case NumberKind::kMaximum:
      case NumberKind::kTotal:
      case NumberKind::kState: return SloNameKind::kGauge;
    }
  }
  if (contains(load_count_names(), name) || !surroundings_name(name).empty())
    return SloNameKind::kLoadCount;
  if (contains(kLoadDistributions, name)) return SloNameKind::kLoadDistribution;
  return std::nullopt;
}

SloNameKind slo_name_kind_in(std::string_view name, SloStatistic statistic, bool has_load) {
  const SloNameKind what = slo_name_kind(name).value_or(SloNameKind::kCount);
  return what == SloNameKind::kCount && has_load && statistic == SloStatistic::kPlain &&
                 contains(load_count_names(), name)
             ? SloNameKind::kLoadCount
             : what;
}

NumberUnit slo_name_unit(std::string_view name) {
  if (const RegisteredNumber* number = find_tick_number(name)) return number_unit(number->name);
  return contains(kLoadDistributions, name) ? NumberUnit::kNanoseconds
                                            : number_unit(surroundings_name(name));
}

std::string slo_name_hint(std::string_view name) {
  std::vector<std::string_view> all = load_count_names();
  const auto of_ticks = tick_number_names();
  all.insert(all.end(), of_ticks.begin(), of_ticks.end());
  all.insert(all.end(), kLoadDistributions.begin(), kLoadDistributions.end());
  const std::string meant = did_you_mean(name, all);
  return meant.empty() ? "; docs/plans.md lists the names" : meant;
}

}  // namespace topspin
