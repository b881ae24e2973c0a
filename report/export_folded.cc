// Folded stacks: one line a stack, its frames from the outermost to the innermost divided by ";",
// then a space and how often it was seen. The thread's name is the outermost frame.
//
// The format knows no escapes: controls and broken bytes become U+FFFD, and a ";" in a thread's
// name a ":". The store keeps ";" out of frames.
#include <fmt/format.h>

#include "report/export.h"

namespace topspin {
namespace {

/// On one line, whatever was in it.
std::string one_line(std::string_view text) {
  std::string clean = replace_unprintable(text);
  for (char& c : clean) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  return clean;
}

}  // namespace

Status export_folded(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output) {
  uint64_t stacks = 0;
  for (const StoredRun& run : runs) {
    TOPSPIN_TRY(store.for_each_stack(run.info.id, [&](const StackRow& stack) {
      ++stacks;
      std::string thread = one_line(stack.thread);
      for (char& c : thread) {
        if (c == ';') c = ':';
      }
      output.write(fmt::format("{}{}{} {}\n", thread.empty() ? "?" : thread,
                               stack.frames.empty() ? "" : ";", one_line(stack.frames),
                               stack.samples));
    }));
  }
  if (stacks == 0) {
    return make_error(ErrorCode::kUsage,
                      "no stacks were stored; record with --stacks to have some");
  }
  return output.finish();
}

}  // namespace topspin
