// A report as one HTML file that needs nothing else: no network, no other file. Verdict first, then
// headline numbers, then the sections of the report (report/sections), with plots over time that
// share one zoom and have a table under each.
//
// All text and all tables are in the document; the script only draws. Every string is escaped, and
// a Content-Security-Policy allows the page's own script and style by their hashes and nothing
// else. Size is bounded: some hundreds of KiB a run, however long the run. Pure; thread-agnostic.
#pragma once

#include <string>

#include "report/model/report_page.h"

namespace topspin {

/// REQUIRES: one run or two.
std::string html_report(const ReportPage& page);

}  // namespace topspin
