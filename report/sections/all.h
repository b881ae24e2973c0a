// The sections of a report, one file each. To add one, write its file, declare its function here,
// and put it into the list in all.cc at its place. Private to the room.
//
// Each function returns blocks made from what was measured. If it returns none, the section is left
// out.
#pragma once

#include <vector>

#include "report/document/document.h"
#include "report/model/report_page.h"

namespace topspin::sections {

using Blocks = std::vector<document::Block>;

Blocks comparison(const ReportPage& page);
Blocks changed(const ReportPage& page);
Blocks history(const ReportPage& page);
Blocks rules(const ReportPage& page);
Blocks over_time(const ReportPage& page);
Blocks latencies(const ReportPage& page);
Blocks load(const ReportPage& page);
Blocks flames(const ReportPage& page);
Blocks flows(const ReportPage& page);
Blocks threads(const ReportPage& page);
Blocks blocked(const ReportPage& page);
Blocks instead(const ReportPage& page);
Blocks scheduling(const ReportPage& page);
Blocks sockets(const ReportPage& page);
Blocks calls(const ReportPage& page);
Blocks syscalls(const ReportPage& page);
Blocks resources(const ReportPage& page);
Blocks provenance(const ReportPage& page);
Blocks all_numbers(const ReportPage& page);

// Sections of a judgement without a report.
Blocks comparison_of(const Judgement& judgement);
Blocks causes_of_change(const Judgement& judgement);
Blocks changes_of(const Judgement& judgement);
Blocks distributions_of(const Judgement& judgement, bool with_bars);

// The parts above the sections.
document::TopVerdict top_verdict(const ReportPage& page);
document::TopVerdict judgement_verdict(const Judgement& judgement);
std::string report_title(const ReportPage& page);
std::vector<document::Facts> run_facts(const ReportPage& page);
std::vector<document::Cause> causes(const ReportPage& page);
/// The causes of one run. Each sentence begins with `mark`.
std::vector<document::Cause> causes_of(const std::vector<Finding>& findings,
                                       const document::Line& mark);
std::vector<document::Headline> headlines(const ReportPage& page);

}  // namespace topspin::sections
