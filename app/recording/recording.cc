#include "app/recording/recording.h"

#include "app/host/outlet.h"
#include "app/recording/recording_run.h"

namespace topspin {

Result<int> Recording::run() {
  TOPSPIN_TRY(open());
  tell_missing_probes();
  TOPSPIN_TRY(start());
  while (ending_.state() != RecordingState::kDone) {
    switch (ending_.state()) {
      case RecordingState::kRunning: run_pass(); break;
      case RecordingState::kEnding: make_last_tick(); break;
      case RecordingState::kDraining: drain_pass(); break;
      case RecordingState::kDone: break;
    }
  }
  return finish();
}

int record(const RecordOptions& options, Onlooker* onlooker) {
  auto settings = make_record_settings(options);
  if (!settings.ok()) return fail(settings.error());
  Recording recording(options, std::move(settings).value(), onlooker, nullptr);
  const auto code = recording.run();
  if (onlooker != nullptr) onlooker->close();
  return code.ok() ? *code : fail(code.error());
}

int record(const RecordOptions& options, Conductor& conductor) {
  auto settings = make_record_settings(options);
  if (!settings.ok()) return fail(settings.error());
  CHECK(!options.command.empty() && options.store);
  Recording recording(options, std::move(settings).value(), nullptr, &conductor);
  const auto code = recording.run();
  return code.ok() ? *code : fail(code.error());
}

}  // namespace topspin
