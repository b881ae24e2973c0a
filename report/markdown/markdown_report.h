// A report in GitHub's Markdown, for step summaries and comments on pull requests: the verdict
// first, then numbers, and the least important last, for that is what is dropped when it does not
// fit. Hostile strings are harmless (markdown_text.h). Pure. The room's door.
#pragma once

#include <cstddef>
#include <string>

#include "ci/judgement/judgement.h"
#include "core/run/load_result.h"
#include "report/document/document.h"
#include "report/markdown/markdown_text.h"
#include "report/model/report_page.h"

namespace topspin {

/// What GitHub takes: of a job's step summary, and of a comment.
inline constexpr size_t kStepSummaryBytes = 1'048'576;
inline constexpr size_t kCommentBytes = 65'536;

/// Less room than this is not given a thought: a verdict needs it.
inline constexpr size_t kLeastMarkdownBytes = 1'024;

/// In at most `max_bytes`, or kLeastMarkdownBytes if that is more: whole sections are left out, the
/// last first, and a sentence at the end names them.
std::string document_markdown(const document::Document& document, size_t max_bytes);

/// A report (report/sections). REQUIRES: one run or two.
std::string markdown_report(const ReportPage& page, size_t max_bytes);

/// The same for a verdict of gate or compare alone.
std::string judgement_markdown(const Judgement& judgement, size_t max_bytes);

/// The result of `topspin load`.
std::string load_result_markdown(const LoadResult& load, size_t max_bytes);

}  // namespace topspin
