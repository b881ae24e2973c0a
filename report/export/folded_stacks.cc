#include "report/export/folded_stacks.h"

#include <map>

#include <fmt/format.h>

#include "ci/metrics/long_stretches.h"
#include "core/base/text.h"

namespace topspin {

namespace {

std::string line_of(const std::string& comm, const std::string& stack, uint64_t weight) {
  std::string thread = no_command(sanitize_for_terminal(comm.empty() ? "-" : comm));
  for (char& c : thread) {
    if (c == ';') c = ':';
  }
  const std::string frames = sanitize_for_terminal(stack);
  return fmt::format("{}{}{} {}\n", thread, frames.empty() ? "" : ";", frames, weight);
}

/// The samples of all stretches that were kept, added up by thread and stack.
Status write_stretches(RunStore& store, const std::string& run_id, ExportOutput& output) {
  TOPSPIN_ASSIGN(const LongStretches stretches, read_long_stretches(store, run_id));
  std::map<std::pair<std::string_view, uint32_t>, uint64_t> samples_of;
  for (const BusyStretch& stretch : stretches.longest)
    for (const StretchStack& stack : stretch.stacks)
      samples_of[{stretch.thread, stack.stack}] += stack.samples;
  for (const auto& [where, samples] : samples_of)
    output.write(
        line_of(std::string(where.first), std::string(stretches.frames_of(where.second)), samples));
  return {};
}

}  // namespace

std::string folded_line(const StackRow& stack) {
  return line_of(stack.thread, stack.frames, stack.samples);
}

std::string folded_line(const SleepStackRow& stack) {
  return line_of(stack.thread, stack.frames, stack.slept_ns / 1000);
}

Status export_folded(RunStore& store, const std::vector<StoredRun>& runs, FoldedKind kind,
                     ExportOutput& output) {
  for (const StoredRun& run : runs) {
    if (!run.info.settings.stack_samples_per_second) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("run {} has no stacks: record it with --stacks 99", run.info.id));
    }
    if (kind == FoldedKind::kSleeps) {
      TOPSPIN_TRY(store.for_each_sleep_stack(
          run.info.id, [&](const SleepStackRow& stack) { output.write(folded_line(stack)); }));
      continue;
    }
    if (kind == FoldedKind::kBusyStretches) {
      TOPSPIN_TRY(write_stretches(store, run.info.id, output));
      continue;
    }
    TOPSPIN_TRY(store.for_each_stack(
        run.info.id, [&](const StackRow& stack) { output.write(folded_line(stack)); }));
  }
  return output.finish();
}

}  // namespace topspin
