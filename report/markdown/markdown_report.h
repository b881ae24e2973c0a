// A report in GitHub's Markdown, for step summaries and comments on pull requests: the verdict
// first, then numbers, and the least important last, for that is what is dropped when it does not
// fit. Hostile strings are harmless: no markup, no link and no mention comes out of them. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "report/model/report_page.h"

namespace topspin {

/// What GitHub takes: of a job's step summary, and of a comment.
inline constexpr size_t kStepSummaryBytes = 1'048'576;
inline constexpr size_t kCommentBytes = 65'536;

/// Less room than this is not given a thought: a verdict needs it.
inline constexpr size_t kLeastMarkdownBytes = 1'024;

/// At most `max_bytes`, or kLeastMarkdownBytes if that is more: whole sections are left out, the
/// least important first, and a sentence at the end names them. REQUIRES: one run or two.
std::string markdown_report(const ReportPage& page, size_t max_bytes);

/// The same for a verdict of gate or compare alone.
std::string judgement_markdown(const Judgement& judgement, size_t max_bytes);

/// Hostile text as plain text within a line, a table's cell or a code element; cut to `most_bytes`
/// before it is escaped.
std::string markdown_text(std::string_view text, size_t most_bytes = 200);

}  // namespace topspin
