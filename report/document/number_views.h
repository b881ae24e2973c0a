// Views of every number of a run, written from the registry (core/numbers.h): a number that is
// described there is in each of them. Private to report; pure.
#pragma once

#include <string>

#include "core/run_fold.h"
#include "report/json/json_parts.h"

namespace topspin {

/// By name. A count or total is its value, a gauge {"last", "max"}, a distribution as all
/// latencies; null: not measured.
Json numbers_json(const RunFold& fold);

/// Counts above 0 that the text report's own lines do not show, a line each; empty: none.
std::string other_counts_text(const RunFold& fold);

/// A table of all that was measured: label, name, value, the greatest of a gauge. `periods`: some
/// flow had a period; without one, what is about periods is left out.
std::string numbers_html_table(const RunFold& fold, bool periods);
std::string numbers_markdown_table(const RunFold& fold, bool periods);

}  // namespace topspin
