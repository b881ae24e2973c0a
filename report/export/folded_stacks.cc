#include "report/export/folded_stacks.h"

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {

std::string folded_line(const StackRow& stack) {
  std::string thread = no_command(sanitize_for_terminal(stack.thread.empty() ? "-" : stack.thread));
  for (char& c : thread) {
    if (c == ';') c = ':';
  }
  const std::string frames = sanitize_for_terminal(stack.frames);
  return fmt::format("{}{}{} {}\n", thread, frames.empty() ? "" : ";", frames, stack.samples);
}

Status export_folded(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output) {
  for (const StoredRun& run : runs) {
    if (!run.info.settings.stack_samples_per_second) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("run {} has no stacks: record it with --stacks 99", run.info.id));
    }
    TOPSPIN_TRY(store.for_each_stack(
        run.info.id, [&](const StackRow& stack) { output.write(folded_line(stack)); }));
  }
  return output.finish();
}

}  // namespace topspin
