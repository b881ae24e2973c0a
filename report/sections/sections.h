// Builds the reports for people as document trees (report/document), once for all formats. Pure.
#pragma once

#include "ci/judgement/aa_check.h"
#include "ci/judgement/judgement.h"
#include "core/flow/two_ends.h"
#include "core/run/load_result.h"
#include "report/document/document.h"
#include "report/model/doctor_report.h"
#include "report/model/file_reading.h"
#include "report/model/report_page.h"
#include "report/model/slow_moment.h"

namespace topspin::sections {

/// A report of one run, of A against B, or of a history. REQUIRES: one run or two.
document::Document report(const ReportPage& page);

/// Only the findings of a run.
document::Document findings(const std::vector<Finding>& findings);

/// The slow replies of a moment, or of a range of latencies.
document::Document slow_moment(const SlowMoment& moment);

/// Only a verdict of gate or compare. `with_bars`: a terminal also shows distributions as bars.
document::Document judgement(const Judgement& judgement, bool with_bars = false);

/// What `topspin read` saw.
document::Document file_reading(const FileReading& reading);

/// What `topspin ends` saw.
document::Document two_ends(const TwoEnds& ends);

/// What `topspin doctor` found, with --prove too, and `topspin gate --aa`.
document::Document doctor(const DoctorReport& report);
document::Document proof(const ProofReport& report);
document::Document aa_check(const AaCheck& check);

/// The result of a load (run/load.cc).
document::Document load_result(const LoadResult& load);

}  // namespace topspin::sections
