// The sections of the HTML page, each whole with its heading, in an element with an id; empty where
// there is nothing to show. Private to the page; pure.
#pragma once

#include <string>

#include "report/model/report_page.h"

namespace topspin {

// judgement.cc
std::string comparison_section(const Judgement& judgement);
std::string history_section(const ReportPage& page);

std::string rules_section(const ReportPage& page);

// plots.cc
std::string timeline_section(const ReportPage& page);
std::string distributions_section(const ReportPage& page);

// flows_and_threads.cc
std::string flows_section(const ReportPage& page);
std::string threads_section(const ReportPage& page);

// subject_details.cc
std::string load_section(const ReportPage& page);
std::string scheduling_section(const ReportPage& page);
std::string sockets_section(const ReportPage& page);
std::string syscalls_section(const ReportPage& page);
std::string limits_section(const ReportPage& page);

// provenance.cc
/// Every number that was measured, folded.
std::string numbers_section(const ReportPage& page);
std::string provenance_section(const ReportPage& page);

}  // namespace topspin
