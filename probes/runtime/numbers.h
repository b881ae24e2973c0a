// What the probe "runtime" measures in a tick. docs/inside-runtimes.md explains how.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/number/histogram.h"
#include "core/number/merge_numbers.h"
#include "core/number/number.h"

namespace topspin {

/// Spans inside the subject's runtimes, each counted in the tick in which it ended. A kind is
/// absent until a runtime was found that shows it. Absent means not measured, and not that there
/// were none.
struct RuntimeInterval {
  static constexpr std::string_view kProbe = "runtime";

  std::optional<Histogram> gc;
  std::optional<Histogram> gc_cycle;
  std::optional<Histogram> stop;
  std::optional<Histogram> loop_turn;
  std::optional<Histogram> task_wait;
  std::optional<Histogram> lock_wait;
  std::optional<uint64_t> unfinished;  // a loss
  std::optional<uint64_t> no_room;     // a loss

  /// Merges the interval that follows.
  void merge(const RuntimeInterval& later) { merge_numbers(*this, later); }

  template <typename Visit>
  static void for_each_number(Visit visit) {
    using I = RuntimeInterval;
    using N = Number;
    visit(N::distribution("runtime_gc_ns", "garbage collections",
                          "Garbage collection that stopped the thread, or the whole program."),
          &I::gc);
    visit(N::distribution("runtime_gc_cycle_ns", "garbage collection cycles",
                          "From the beginning of a collection to the end of its marking, where the "
                          "program runs meanwhile."),
          &I::gc_cycle);
    visit(N::distribution("runtime_stop_ns", "stops of the world",
                          "The runtime stopped all of the program's threads, for a collection or "
                          "for anything else."),
          &I::stop);
    visit(N::distribution("runtime_loop_turn_ns", "event loop turns",
                          "Turns of an event loop, without its wait for events."),
          &I::loop_turn);
    visit(N::distribution("runtime_task_wait_ns", "waits of tasks",
                          "From the moment a task (goroutine) could run until it ran."),
          &I::task_wait);
    visit(N::distribution("runtime_lock_wait_ns", "waits for the runtime's lock",
                          "Waits for the lock that only one thread holds (CPython's GIL), those "
                          "that found it free included."),
          &I::lock_wait);
    visit(N::lost("loss_runtime_unfinished", LossKind::kPart,
                  "spans of runtimes that began again before they had ended"),
          &I::unfinished);
    visit(N::lost("loss_runtime_no_room", LossKind::kPart,
                  "spans of runtimes beyond the most that are open at once, or of threads without "
                  "room"),
          &I::no_room);
  }
};

}  // namespace topspin
