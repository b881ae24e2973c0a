// What stands out in each run: its findings, for the top of a report.
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

Line proofs_line(const std::vector<Proof>& proofs) {
  std::vector<Line> parts;
  for (const Proof& proof : proofs) parts.push_back({words(proof_text(proof))});
  return listed(parts);
}

Line words_line(const std::string& text) { return text.empty() ? Line() : Line{words(text)}; }

}  // namespace

std::vector<Cause> causes_of(const std::vector<Finding>& findings, const Line& mark) {
  std::vector<Cause> all;
  for (const Finding& finding : findings) {
    Cause cause;
    if (!mark.empty()) cause.sentence = say("{} ", mark);
    append(cause.sentence, words(finding.sentence, 600));
    append(cause.sentence, ".");
    cause.evidence = proofs_line(finding.proofs);
    cause.refuted_by = words_line(finding.refuted_by);
    cause.next_step = words_line(finding.next_step);
    if (finding.key == kNothing) cause.tone = Tone::kPlain;
    all.push_back(std::move(cause));
  }
  return all;
}

std::vector<Cause> causes(const ReportPage& page) {
  std::vector<Cause> all;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (Cause& cause : causes_of(page.runs[r].findings, side_mark(page, r)))
      all.push_back(std::move(cause));
  }
  return all;
}

}  // namespace topspin::sections
