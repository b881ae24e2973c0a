// Experiment: conducts one run of a plan. It waits until the subject is ready, loads it stage by
// stage, waits until it is at rest again, and stores when each part began and ended.
//
//   start -> [warm_up] -> before -> the load's stages -> after
//
// It lives on the recording's thread. The load has its own thread and hands over its result when it
// ends (one flag, one join).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "app/plan/plan.h"
#include "app/recording/conductor.h"
#include "ci/slo/abort_watch.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// The part of a plan that one run needs, with all defaults filled in.
struct ExperimentSettings {
  PlanSubject subject;
  std::string directory;  // absolute, or empty: ours
  std::optional<LoadOptions> load;
  std::optional<LoadOptions> warm_up;
  std::vector<int> load_cpus;
  std::optional<PlanWorkers> workers;  // that send the load, but not the warm-up
  int64_t duration_ns = 0;             // for a run without a load
  int64_t before_ns = 0;
  int64_t after_ns = 0;
  std::string output;          // absolute path of a file; empty: none
  std::vector<SloRule> rules;  // of which some may end a run early
};

/// Keeps the last lines of a program's output, and notices a line that contains a given text.
class OutputTail {
 public:
  explicit OutputTail(std::string awaited) : awaited_(std::move(awaited)) {}

  void add(std::string_view bytes);
  bool seen() const { return awaited_.empty() || seen_; }
  /// "; its last lines: ...", or a note that it printed nothing.
  std::string last_lines() const;

 private:
  void end_line();

  std::string awaited_;
  bool seen_ = false;
  std::string line_;
  std::deque<std::string> lines_;
};

class Experiment final : public Conductor {
 public:
  /// Opens the pipe and the timer. REQUIRES: one thread.
  static Result<std::unique_ptr<Experiment>> prepare(ExperimentSettings settings);
  ~Experiment() override;

  ChildSetting child_setting() override;
  Status on_start(int64_t start_ns, pid_t command, RunWriter& writer) override;
  int wake_fd() const override { return timer_.get(); }
  int output_fd() const override { return output_read_.get(); }
  void on_output() override;
  void on_pass(int64_t now_ns) override;
  void on_tick(const Sample& tick, const RunInfo& run) override;
  void on_command_end(int exit_status) override;
  bool wants_stop() const override { return part_ == Part::kOver || failure_.has_value(); }
  void stop(int stop_signal) override;
  int64_t stop_within_ns() const override { return settings_.subject.stop_within_ns; }
  Status finish(RunEnd& end) override;

 private:
  enum class Part : uint8_t { kStart, kWarmUp, kBefore, kLoad, kAfter, kOver };

  explicit Experiment(ExperimentSettings settings)
      : settings_(std::move(settings)),
        tail_(settings_.subject.ready.line),
        abort_(settings_.rules, settings_.load.has_value()) {}

  Status open_output_file();
  void keep_output(std::string_view bytes);
  bool ready(int64_t now_ns) const;
  std::string what_is_missing() const;
  void begin(Part part, int64_t now_ns);
  void begin_stage(StageKind kind, std::string name, int64_t start_ns);
  void end_stage(int64_t end_ns);
  void mark_load_stages(int64_t now_ns);
  void place_load_stages(const LoadResult& result);
  void start_load(const LoadOptions& options);
  void start_workers();
  std::optional<Result<LoadResult>> take_load();
  void load_ended(int64_t now_ns);
  void fail(std::string reason);
  Result<LoadResult> search(const LoadOptions& options);
  void tell_of_search(int64_t now_ns);
  void tell(const std::string& text, int64_t now_ns);
  void look_at_load(const LoadAccounts& so_far);
  void abort_run(const std::string& broken, int64_t now_ns);
  void wake_at(int64_t monotonic_ns) const;
  std::string stage_name() const { return stages_.empty() ? "start" : stages_.back().name; }

  ExperimentSettings settings_;
  UniqueFd output_read_, output_write_, null_, file_, timer_;
  OutputTail tail_;
  AbortWatch abort_;
  bool abort_watches_ = false;  // it knows when the load began
  bool is_aborted_ = false;
  RunWriter* writer_ = nullptr;
  pid_t command_ = 0;
  int64_t start_ns_ = 0;       // monotonic
  int64_t part_began_ns_ = 0;  // since the start
  Part part_ = Part::kStart;
  bool command_ended_ = false;  // it left a descendant, which is now the subject
  int64_t next_family_check_ns_ = 0;
  bool interrupted_ = false;
  bool stopped_ = false;
  std::vector<RunStage> stages_;
  size_t first_load_stage_ = 0;
  size_t load_stages_begun_ = 0;
  std::optional<LoadResult> result_;
  std::optional<std::string> failure_;
  Status stored_;  // the first error of the writer

  std::thread load_;
  std::atomic<bool> load_stop_{false};
  std::atomic<bool> load_over_{false};
  std::atomic<int64_t> workers_begin_ns_{0};  // monotonic, once it is known
  std::atomic<int64_t> clock_error_ns_{0};    // of that
  std::mutex load_broke_mutex_;
  std::optional<std::string> load_broke_;           // a rule, by the load's own accounts
  std::vector<std::string> searched_;               // lines of a search, under the same mutex
  std::optional<Result<LoadResult>> load_outcome_;  // owned by the load's thread until load_over_
};

}  // namespace topspin
