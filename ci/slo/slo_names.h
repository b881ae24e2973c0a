// What the names in SLO rules stand for: numbers of a tick, counts and distributions of a load.
// Private to ci.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ci/slo/slo_rule.h"
#include "core/run/load_result.h"
#include "core/tick/numbers.h"

namespace topspin {

enum class SloNameKind : uint8_t {
  kGauge,
  kCount,
  kLoadCount,
  kTickDistribution,
  kLoadDistribution
};

/// nullopt if there is no such name.
std::optional<SloNameKind> slo_name_kind(std::string_view name);

/// The same in a run. A name of both the load and the wire (late_replies) means that of the load,
/// if there is a load.
SloNameKind slo_name_kind_in(std::string_view name, SloStatistic statistic, bool has_load);

NumberUnit slo_name_unit(std::string_view name);

/// The number of a tick that a rule means by `name`: one of the registry, or the sums "losses" and
/// "missed_runs". nullptr if there is none.
const RegisteredNumber* find_tick_number(std::string_view name);

/// A count of a part of the load. Counts of TCP and HTTP, and those of the kernel and the
/// generator, exist only for the whole load.
std::optional<double> load_count(const LoadResult& load, const LoadPart& part, bool whole,
                                 std::string_view name);

/// Whether the count exists only for the whole load.
bool counts_whole_load_only(std::string_view name);

/// The end of a message about an unknown name: "; did you mean fds?", or where names are listed.
std::string slo_name_hint(std::string_view name);

}  // namespace topspin
