#include <algorithm>
#include <csignal>

#include <fmt/format.h>
#include <poll.h>

#include "app/host/family.h"
#include "app/host/outlet.h"
#include "app/recording/recording_run.h"
#include "app/recording/run_ending.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "store/retention/retention.h"

namespace topspin {
/// kEnding: the load stops, then the ticks end.
void Recording::make_last_tick() {
  if (conductor_ != nullptr) conductor_->stop(ending_.signal());
  end_ns_ = std::min(monotonic_now_ns(), end_ns_);
  // The probes' sums are complete only for processes that ended before the last reading.
  if (command_) command_usage_ = command_->usage();
  // Waiting for a load to end is not a standstill.
  if (conductor_ == nullptr && next_due_ns_ < end_ns_) note_standstill(next_due_ns_);
  tick(end_ns_);
  joiner_->add_end_losses(probes_->end_losses());
  capture_->stop(end_ns_);
  if (packet_file_) end_packets();
  take_flows();
  joiner_->finish();
  drain_ticks();
  if (onlooker_ != nullptr) onlooker_->close();
  if (command_) command_->ask_to_end(SIGTERM);
  ending_.last_tick_made();
}

/// REQUIRES: the capture has ended, and the last tick has not been built.
void Recording::end_packets() {
  const PacketFile::Totals totals = packet_file_->finish();
  packets_text_ =
      fmt::format("{} packets were written to {}", totals.written_packets, packet_file_->name());
  LossInterval late;
  late.packets_unwritten = count_unwritten(totals.unwritten_packets);
  joiner_->add_end_losses(late);
  if (totals.unwritten_packets > 0)
    packets_text_ += fmt::format("; {} were not: {}", totals.unwritten_packets, totals.failure);
  tell_event(end_ns_ - start_ns_, packets_text_);
}

/// kDraining: ends the command, which must not outlive its recording. Meanwhile its output must be
/// read, or it would never end.
void Recording::drain_pass() {
  if (!command_ || command_->exit_status()) {
    ending_.command_ended();
    return;
  }
  const int64_t left_ms = command_->kill_if_due(monotonic_now_ns()) / kNanosPerMilli;
  if (!draining_sources_.wait(static_cast<int>(std::clamp<int64_t>(left_ms, 1, 100))).ok())
    command_->kill_now();
}

/// kDone: judges the run, stores its end and reports it. Returns the process's exit code.
Result<int> Recording::finish() {
  const bool ends_family = conductor_ != nullptr || (command_ && command_->leaves_family_to_us());
  if (ends_family && !end_family(stop_grace_ns_, metrics_ ? metrics_->sender_pid() : 0))
    say("topspin may not end some processes of the subject; end them yourself");

  EndFacts facts;
  facts.duration_ns = end_ns_ - start_ns_;
  if (command_) facts.exit_status = command_->exit_status();
  if (writer_) facts.late_losses = writer_->take_losses();
  facts.probes_doubts = probes_->doubts(command_.has_value(), command_usage_);
  facts.failure = ending_.failure();
  RunEnd end = make_run_end(*ticks_, std::move(facts));
  if (conductor_ != nullptr) {
    if (const Status told = conductor_->finish(end); !told.ok()) ending_.fail(told.error());
    if (ending_.failure()) end.status = RunStatus::kFailed;
  }
  const bool writes_runs = writer_ != nullptr;
  Status saved;
  if (writer_) saved = writer_->finish(end);
  writer_.reset();
  if (ending_.failure()) return *ending_.failure();
  TOPSPIN_TRY(saved);
  if (metrics_) end_metrics();

  tell_run_end(options_, {info_, end, RunTotals(folds_->whole()), *ticks_, database_},
               onlooker_ != nullptr);
  // A quiet recording has not reported this yet. Without a screen it reports only losses.
  if (options_.quiet && (packets_unwritten_ > 0 || (packet_file_ && onlooker_ != nullptr)))
    say(packets_text_);
  if (writes_runs && (settings_.retention.keep_ns || settings_.retention.max_bytes))
    remove_old_runs();
  if (ending_.signal() == 0 && onlooker_ != nullptr && onlooker_->output_failed())
    return make_error(ErrorCode::kOutput, "cannot write to standard output");
  return exit_code_of(end);
}

/// Sends what has not been sent yet, for a few seconds. A second signal ends that.
void Recording::end_metrics() {
  if (onlooker_ != nullptr) metrics_->log(onlooker_->take_live_events());
  metrics_->finish(end_ns_, folds_->whole(), live_facts());
  while (!metrics_->is_finished()) {
    pollfd signals{signal_fd_.get(), POLLIN, 0};
    poll(&signals, 1, 20);
    handle_signals();
  }
  for (const std::string& problem : metrics_->take_problems()) say(problem);
  if (const std::string dropped = metrics_->tell_dropped(); !dropped.empty()) say(dropped);
}

/// The run is stored, so what goes wrong here is not the recording's end.
void Recording::remove_old_runs() const {
  const auto kept = retain_runs(database_, settings_.retention, wall_now_ns());
  if (!kept.ok()) {
    say(fmt::format("the old runs were not removed: {}", kept.error().message));
    return;
  }
  if (options_.quiet && !kept->is_still_too_large) return;
  for (const std::string& sentence : retention_sentences(*kept, settings_.retention)) say(sentence);
}

/// The exit code of a run that was stored, or that was not meant to be stored.
int Recording::exit_code_of(const RunEnd& end) const {
  if (ending_.signal() != 0) return 128 + ending_.signal();
  if (conductor_ != nullptr) return 0;
  if (command_) {
    if (!end.exit_status || command_->was_asked()) return 0;
    if (*end.exit_status > 128)
      say(fmt::format("the command was ended by signal {}", *end.exit_status - 128));
    else if (*end.exit_status != 0)
      say(fmt::format("the command exited with status {}", *end.exit_status));
    return *end.exit_status;
  }
  if (options_.store && !end.invalid_reasons.empty()) return exit_code(ErrorCode::kInvalidRun);
  return packets_unwritten_ > 0 ? exit_code(ErrorCode::kOutput) : 0;
}

}  // namespace topspin
