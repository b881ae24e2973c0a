// The data that the page's script draws, as JSON: figures, heat maps, the lives of flows, curves by
// percentile, histories (report/model/figures.h). Pure; thread-agnostic.
#pragma once

#include <string>
#include <string_view>

#include "report/model/figures.h"

namespace topspin {

/// One object, ASCII only and without line breaks. It is not yet safe in a script element.
std::string page_data_json(const ReportPage& page);

/// Makes JSON safe in a script element: writes `<`, `>` and `&`, which only occur within strings,
/// as \u escapes. REQUIRES: `json` is JSON.
std::string json_for_script(std::string_view json);

/// A JSON number, without a fraction if it has none; null if it is not finite.
std::string json_number(double value);

}  // namespace topspin
