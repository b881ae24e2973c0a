// PatientWriter: a RunWriter that tolerates a database which cannot be written to for a while,
// because another program has locked it or the disk is full.
//
// Ticks that cannot be stored wait in memory, in order, and are tried again. They take at most
// kMaxWaitingBytes. Beyond that, the oldest ticks are dropped and counted in the next tick that is
// stored (LossInterval::ticks_unstored). An error that waiting does not fix is returned at once.
// Lives on the session's thread. A call blocks no longer than the database does
// (WriterOptions::busy_timeout_ms).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "store/run_store.h"

namespace topspin {

class PatientWriter final : public RunWriter {
 public:
  static constexpr uint64_t kMaxWaitingBytes = 64u << 20;
  static constexpr size_t kMaxWaitingEvents = 10'000;
  static constexpr int64_t kRetryNs = 200'000'000;
  /// How long finish() keeps trying.
  static constexpr int64_t kFinishPatienceNs = 10'000'000'000;

  /// `now_ns` is a monotonic clock. `wait` waits some milliseconds; it returns false to give up.
  PatientWriter(std::unique_ptr<RunWriter> writer, std::function<int64_t()> now_ns,
                std::function<bool()> wait, uint64_t max_waiting_bytes = kMaxWaitingBytes)
      : writer_(std::move(writer)),
        now_ns_(std::move(now_ns)),
        wait_(std::move(wait)),
        max_waiting_bytes_(max_waiting_bytes) {}

  /// Does not wait for what may pass.
  Status set_start(int64_t wall_ns, int64_t monotonic_ns) override {
    return writer_->set_start(wall_ns, monotonic_ns);
  }
  /// Also OK if the tick has to wait.
  Status append(const Sample& sample) override;
  Status append(std::vector<Sample> samples) override;
  LossInterval take_losses() override;
  Status add_event(int64_t elapsed_ns, std::string_view text) override;
  Status put_stage(uint64_t position, const RunStage& stage) override;
  Status put_load(const LoadResult& load) override;
  /// Tries for kFinishPatienceNs. After that the end is stored as far as possible, and the error
  /// says what is missing.
  Status finish(const RunEnd& end) override;
  Status check_place() override { return writer_->check_place(); }

  /// Tries again if something waits and it is time. Call this regularly.
  Status retry();
  bool waiting() const { return !queue_.empty(); }

  /// Messages for the user: that ticks wait and why, that they were stored, or how many were
  /// dropped. Each is returned once.
  std::optional<std::string> take_notice() { return std::exchange(notice_, std::nullopt); }

 private:
  struct Event {
    int64_t elapsed_ns;
    std::string text;
  };
  struct Stage {
    uint64_t position;
    RunStage stage;
  };
  using Item = std::variant<Sample, Event, Stage, LoadResult>;

  Status put(Item item);
  Status store(const Item& item);
  Status flush();
  void give_up_oldest();

  std::unique_ptr<RunWriter> writer_;
  std::function<int64_t()> now_ns_;
  std::function<bool()> wait_;
  uint64_t max_waiting_bytes_;
  std::deque<Item> queue_;
  uint64_t waiting_bytes_ = 0;
  size_t waiting_events_ = 0;
  int64_t retry_at_ns_ = 0;
  LossInterval given_up_;  // losses of dropped ticks that are not yet in a stored tick
  LossInterval untold_;    // losses of dropped ticks that take_losses() has not returned yet
  uint64_t given_up_in_spell_ = 0;
  uint64_t stored_late_ = 0;
  std::optional<Error> last_error_;
  std::optional<std::string> notice_;
};

}  // namespace topspin
