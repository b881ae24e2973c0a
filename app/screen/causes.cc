#include "app/screen/causes.h"

#include <algorithm>

#include "ci/findings/findings.h"

namespace topspin {
namespace {

std::vector<ThreadRow> busiest_threads(const Model& model) {
  std::vector<ThreadRow> rows;
  for (const ThreadEntry& entry : model.threads()) rows.push_back(entry.row);
  std::stable_sort(rows.begin(), rows.end(), [](const ThreadRow& a, const ThreadRow& b) {
    return a.cpu_ns.value_or(0) > b.cpu_ns.value_or(0);
  });
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
