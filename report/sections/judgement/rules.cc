// The plan's rules, and whether each run kept them.
#include <algorithm>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

Cell kept_cell(const RunPage& run, const std::string& rule) {
  const auto slo = std::find_if(run.slos.begin(), run.slos.end(),
                                [&](const SloResult& s) { return s.rule == rule; });
  if (slo == run.slos.end()) return absent();
  const Tone tone = slo->verdict == SloVerdict::kKept     ? Tone::kGood
                    : slo->verdict == SloVerdict::kBroken ? Tone::kBad
                                                          : Tone::kOpen;
  Cell cell = toned(tone, words(slo_verdict_name(slo->verdict)));
  cell.under = say("{}", words(slo->explanation));
  return cell;
}

/// The rules over all runs of the candidate, as the verdict counts them.
Table judged_table(const Judgement& judgement) {
  Table table{"In all judged runs of the candidate",
              columns({"Rule", "Kept", "Broken", "Not judged", "=First example"})};
  for (const SloOutcome& o : judgement.slos) {
    const auto runs = [](size_t n, Tone tone) { return n == 0 ? count(n) : toned(tone, count(n)); };
    table.rows.push_back({{code(o.rule), runs(o.kept, Tone::kGood), runs(o.broken, Tone::kBad),
                           runs(o.unknown, Tone::kOpen), words(o.explanation)}});
  }
  return table;
}

}  // namespace

Blocks rules(const ReportPage& page) {
  // Each rule once, even if it applies to several runs.
  std::vector<std::string> all;
  for (const RunPage& run : page.runs) {
    for (const SloResult& slo : run.slos) {
      if (std::find(all.begin(), all.end(), slo.rule) == all.end()) all.push_back(slo.rule);
    }
  }
  const bool two = page.runs.size() > 1;
  Blocks blocks;
  if (!all.empty()) {
    blocks.emplace_back(Paragraph{
        say("The plan's rules for {}, and what was measured.", two ? "each run" : "the run"),
        true});
    Table table{"", two ? columns({"Rule", "=A", "=B"}) : columns({"Rule", "=Kept"})};
    for (const std::string& rule : all) {
      Row row{{code(rule)}};
      for (const RunPage& run : page.runs) row.cells.push_back(kept_cell(run, rule));
      table.rows.push_back(std::move(row));
    }
    blocks.emplace_back(std::move(table));
  }
  if (page.judgement) add_table(blocks, judged_table(*page.judgement));
  return blocks;
}

}  // namespace topspin::sections
