#include "app/screen/causes.h"

#include <algorithm>
#include <utility>

#include "ci/findings/findings.h"
#include "report/model/run_report.h"

namespace topspin {
namespace {

/// The busiest threads, as many as a page uses. There may be 65,536 rows with two histograms each.
std::vector<ThreadRow> busiest_threads(const Model& model) {
  std::vector<const ThreadRow*> all;
  for (const ThreadEntry& entry : model.threads()) all.push_back(&entry.row);
  const size_t most = std::min(all.size(), kPageThreads);
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(most), all.end(),
                    [](const ThreadRow* a, const ThreadRow* b) {
                      return std::pair(b->cpu_ns.value_or(0), a->tid) <
                             std::pair(a->cpu_ns.value_or(0), b->tid);
                    });
  std::vector<ThreadRow> rows;
  for (size_t i = 0; i < most; ++i) rows.push_back(*all[i]);
  return rows;
}

std::vector<SocketRow> sockets_by_drops(const Model& model) {
  std::vector<SocketRow> rows;
  for (const SocketEntry& entry : model.sockets()) rows.push_back(entry.row);
  std::stable_sort(rows.begin(), rows.end(),
                   [](const SocketRow& a, const SocketRow& b) { return a.drops > b.drops; });
  return rows;
}

std::string proofs_text(const std::vector<Proof>& proofs) {
  std::string text;
  for (const Proof& proof : proofs) text += (text.empty() ? "" : ", ") + proof_text(proof);
  return text;
}

}  // namespace

void explain(Model& model, const RunInfo& run) {
  model.scene.causes.clear();
  const RunFold fold = model.recent_ticks();
  if (fold.ticks == 0) return;
  const RunTotals totals(fold);
  const std::vector<ThreadRow> threads = busiest_threads(model);
  const std::vector<SocketRow> sockets = sockets_by_drops(model);
  std::vector<CpuHolderRow> holders = model.cpu_holders();
  std::stable_sort(
      holders.begin(), holders.end(),
      [](const CpuHolderRow& a, const CpuHolderRow& b) { return a.held_ns > b.held_ns; });
  const std::vector<Finding> findings = find_causes({run,
                                                     fold,
                                                     totals,
                                                     model.growth_of_run(),
                                                     nullptr,
                                                     threads,
                                                     sockets,
                                                     {},
                                                     0,
                                                     model.called(),
                                                     holders});
  for (const Finding& finding : findings) {
    model.scene.causes.push_back({finding.sentence, proofs_text(finding.proofs), finding.refuted_by,
                                  finding.next_step, finding.key != kNothing});
  }
}

}  // namespace topspin
