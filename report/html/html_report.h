// A report as a single HTML file that needs no network and no other file. The verdict comes first,
// then the headline numbers, then the sections of the report (report/sections). Plots over time
// share one zoom, and each has a table.
//
// All text and all tables are in the document; the script only draws. Every string is escaped. A
// Content-Security-Policy allows only the page's own script and style, by their hashes. The size is
// bounded: some hundreds of KiB per run, however long the run is. Pure; thread-agnostic.
#pragma once

#include <string>

#include "report/model/report_page.h"

namespace topspin {

/// REQUIRES: one run or two.
std::string html_report(const ReportPage& page);

}  // namespace topspin
