// Fuzz target: what a person types to name runs.
#include "ci/run_selection.h"
#include "core/base/check.h"
#include "tests/fuzz/fuzz.h"

namespace topspin {
namespace {

std::vector<StoredRun> make_runs() {
  std::vector<StoredRun> runs(4);
  for (size_t i = 0; i < runs.size(); ++i) {
    runs[i].number = i + 1;
    runs[i].info.id = "01a2217c-000" + std::to_string(i);
    runs[i].info.source.branch = i < 2 ? "main" : "feature";
    runs[i].info.source.commit = "1a2b3c4d5e" + std::to_string(i / 2);
    runs[i].info.source.dirty = i % 2 == 0;
    runs[i].info.labels["side"] = "a";
  }
  return runs;
}

}  // namespace
}  // namespace topspin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  static const std::vector<StoredRun> runs = make_runs();
  const auto chosen = select_runs(runs, fuzz_text(data, size));
  if (chosen.ok())
    CHECK(!chosen->empty() && chosen->size() <= runs.size());
  else
    CHECK(chosen.error().code == ErrorCode::kUsage && !chosen.error().message.empty());
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"last",
          "last~1",
          "#2",
          "3",
          "01a2217c-0003",
          "branch=main",
          "main",
          "commit=1a2b3c4",
          "1a2b3c4+changes",
          "side=a",
          "last~99999999999999999999"};
}
