// What the probe "interrupts" measures in a tick. docs/interrupts.md explains how.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/number/merge_numbers.h"
#include "core/number/number.h"

namespace topspin {

/// Numbers of the CPUs on which a thread of the subject ran or waited in the interval. Time in
/// softirqs does not include the hard interrupts within them.
struct InterruptInterval {
  static constexpr std::string_view kProbe = "interrupts";

  std::optional<uint64_t> hardirqs, hardirq_ns;
  std::optional<uint64_t> softirqs, softirq_ns;
  // The part that interrupted a thread of the subject. Only the rung tp_btf measures it.
  std::optional<uint64_t> interrupted_hardirq_ns, interrupted_softirq_ns;
  std::optional<uint64_t> waited_hardirq_ns, waited_softirq_ns;
  std::optional<uint64_t> missed;  // a loss

  /// Merges the interval that follows.
  void merge(const InterruptInterval& later) { merge_numbers(*this, later); }

  template <typename Visit>
  static void for_each_number(Visit visit) {
    using I = InterruptInterval;
    using N = Number;
    visit(N::count("hardirqs", "hard interrupts",
                   "Handlers of device interrupts that ran on CPUs where the subject ran or "
                   "waited in the tick."),
          &I::hardirqs);
    visit(N::count("hardirq_ns", "time in hard interrupts", "Time in these handlers."),
          &I::hardirq_ns);
    visit(N::count("softirqs", "softirqs",
                   "Softirqs that ran on CPUs where the subject ran or waited in the tick."),
          &I::softirqs);
    visit(N::count("softirq_ns", "time in softirqs",
                   "Time in these softirqs, without the hard interrupts within them."),
          &I::softirq_ns);
    visit(N::count(
              "interrupted_hardirq_ns", "hard interrupts in the subject's time",
              "The part of hardirq_ns in which a running thread of the subject was interrupted."),
          &I::interrupted_hardirq_ns);
    visit(N::count("interrupted_softirq_ns", "softirqs in the subject's time",
                   "The part of softirq_ns in which a running thread of the subject was "
                   "interrupted, also by softirqs of its own sending and receiving."),
          &I::interrupted_softirq_ns);
    visit(N::count("waited_hardirq_ns", "hard interrupts where it waited",
                   "The part of hardirq_ns on CPUs that a thread of the subject got after a wait "
                   "in the tick: an upper bound of their share of run-queue waits."),
          &I::waited_hardirq_ns);
    visit(N::count("waited_softirq_ns", "softirqs where it waited",
                   "The part of softirq_ns on the same CPUs."),
          &I::waited_softirq_ns);
    visit(N::lost("loss_interrupts_missed", LossKind::kPart,
                  "BPF programs that the kernel skipped, and threads without room"),
          &I::missed);
  }
};

}  // namespace topspin
