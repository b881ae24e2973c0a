// Reports for people at a terminal. Hostile text is sanitised. The room's door.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ci/judgement/aa_check.h"
#include "ci/judgement/judgement.h"
#include "core/flow/two_ends.h"
#include "core/run/load_result.h"
#include "report/document/document.h"
#include "report/model/doctor_report.h"
#include "report/model/file_reading.h"
#include "report/model/report_page.h"
#include "report/model/slow_moment.h"

namespace topspin {

/// The columns of a text, if the terminal's width is not known.
inline constexpr size_t kTextWidth = 100;
inline constexpr size_t kAnyWidth = SIZE_MAX;

/// Tables are fitted to `width` columns. A line below a table says what was left out.
std::string document_text(const document::Document& document, size_t width = kTextWidth);

/// A report (report/sections): the verdict in capitals, what was run, headline numbers, sections.
/// REQUIRES: one run or two.
std::string text_report(const ReportPage& page);

/// The findings of a run, as at the top of its report.
std::string findings_text(const std::vector<Finding>& findings);

/// The slow replies of a moment, one by one.
std::string slow_moment_text(const SlowMoment& moment);

/// The same for just a verdict of gate or compare (`with_bars`: with distributions as bars), and
/// for what `topspin read` saw.
std::string judgement_text(const Judgement& judgement, bool with_bars = false);
std::string file_reading_text(const FileReading& reading);

/// `topspin ends`.
std::string two_ends_text(const TwoEnds& ends);

std::string doctor_text(const DoctorReport& report);
std::string proof_text(const ProofReport& report);

/// `gate --aa`.
std::string aa_check_text(const AaCheck& check);

/// The result of `topspin load`.
std::string load_result_text(const LoadResult& load);

}  // namespace topspin
