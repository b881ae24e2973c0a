// What the page's script draws, as JSON: figures, heat maps, grids of lives, curves by percentile,
// histories (report/model/figures.h). Pure; thread-agnostic.
#pragma once

#include <string>
#include <string_view>

#include "report/model/figures.h"

namespace topspin {

/// One object, without line breaks, ASCII only; not yet fit for a script element.
std::string page_data_json(const ReportPage& page);

/// JSON that may stand inside a script element: `<`, `>` and `&` only occur within strings, and
/// leave as \u escapes. REQUIRES: `json` is JSON.
std::string json_for_script(std::string_view json);

/// A JSON number, whole if it is whole; null if it is not finite.
std::string json_number(double value);

}  // namespace topspin
