// A report in GitHub's Markdown, for step summaries and comments on pull requests. The verdict
// comes first, then the numbers. The least important comes last, because that is left out if the
// report does not fit. Hostile strings are escaped (markdown_text.h). Pure. The room's door.
#pragma once

#include <cstddef>
#include <string>

#include "ci/judgement/judgement.h"
#include "core/run/load_result.h"
#include "report/document/document.h"
#include "report/markdown/markdown_text.h"
#include "report/model/report_page.h"

namespace topspin {

/// The largest step summary of a job, and the largest comment, that GitHub accepts.
inline constexpr size_t kStepSummaryBytes = 1'048'576;
inline constexpr size_t kCommentBytes = 65'536;

/// The least room that a report gets, because the verdict needs this much.
inline constexpr size_t kLeastMarkdownBytes = 1'024;

/// Writes at most `max_bytes`, or kLeastMarkdownBytes if that is more. Whole sections are left out
/// to fit, the last one first, and a sentence at the end names them.
std::string document_markdown(const document::Document& document, size_t max_bytes);

/// A report (report/sections). REQUIRES: one run or two.
std::string markdown_report(const ReportPage& page, size_t max_bytes);

/// The same for a verdict of gate or compare alone.
std::string judgement_markdown(const Judgement& judgement, size_t max_bytes);

/// The result of `topspin load`.
std::string load_result_markdown(const LoadResult& load, size_t max_bytes);

}  // namespace topspin
