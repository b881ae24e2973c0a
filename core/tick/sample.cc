#include "core/tick/sample.h"

#include <algorithm>
#include <cmath>

#include "core/number/merge_numbers.h"

namespace topspin {

std::string_view rung_name(Rung rung) {
  switch (rung) {
    case Rung::kTpBtf: return "tp_btf";
    case Rung::kFentry: return "fentry";
    case Rung::kRawTracepoint: return "raw_tp";
    case Rung::kTracepoint: return "tracepoint";
    case Rung::kPerf: return "perf";
    case Rung::kProc: return "proc";
    case Rung::kNone: return "none";
  }
  return "none";
}

std::optional<Rung> parse_rung(std::string_view name) {
  for (const Rung rung : {Rung::kTpBtf, Rung::kFentry, Rung::kRawTracepoint, Rung::kTracepoint,
                          Rung::kPerf, Rung::kProc, Rung::kNone}) {
    if (rung_name(rung) == name) return rung;
  }
  return std::nullopt;
}

std::string_view preemptor_name(Preemptor by) {
  switch (by) {
    case Preemptor::kSameProcess: return "same_process";
    case Preemptor::kSameCgroup: return "same_cgroup";
    case Preemptor::kOther: return "other";
    case Preemptor::kKernelThread: return "kernel_thread";
    case Preemptor::kNobody: return "nobody";
  }
  return "other";
}

std::string_view blocked_by_name(BlockedBy reason) {
  switch (reason) {
    case BlockedBy::kFutex: return "futex";
    case BlockedBy::kPoll: return "poll";
    case BlockedBy::kSocket: return "socket";
    case BlockedBy::kPipe: return "pipe";
    case BlockedBy::kDisk: return "disk";
    case BlockedBy::kSleep: return "sleep";
    case BlockedBy::kWait: return "wait";
    case BlockedBy::kPageFault: return "page_fault";
    case BlockedBy::kStopped: return "stopped";
    case BlockedBy::kOther: return "other";
  }
  return "?";
}

std::optional<BlockedBy> parse_blocked_by(std::string_view name) {
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    if (blocked_by_name(static_cast<BlockedBy>(i)) == name) return static_cast<BlockedBy>(i);
  }
  return std::nullopt;
}

std::string_view off_cpu_state_name(OffCpuState state) {
  switch (state) {
    case OffCpuState::kSleeping: return "sleeping";
    case OffCpuState::kUninterruptible: return "uninterruptible";
    case OffCpuState::kOther: return "other";
  }
  return "other";
}

std::string_view cpu_holder_name(CpuHolder kind) {
  switch (kind) {
    case CpuHolder::kSubject: return "subject";
    case CpuHolder::kProcess: return "process";
    case CpuHolder::kKernelThread: return "kernel_thread";
    case CpuHolder::kInterrupts: return "interrupts";
    case CpuHolder::kIdle: return "idle";
    case CpuHolder::kQuota: return "quota";
    case CpuHolder::kUnseen: return "unseen";
  }
  return "unseen";
}

std::optional<CpuHolder> parse_cpu_holder(std::string_view name) {
  for (size_t i = 0; i < kCpuHolderCount; ++i) {
    if (cpu_holder_name(static_cast<CpuHolder>(i)) == name) return static_cast<CpuHolder>(i);
  }
  return std::nullopt;
}

void SchedulerInterval::merge(const SchedulerInterval& later) {
  merge_numbers(*this, later);
  for (const CpuScheduling& theirs : later.cpus) {
    auto mine =
        std::lower_bound(cpus.begin(), cpus.end(), theirs.cpu,
                         [](const CpuScheduling& row, int32_t number) { return row.cpu < number; });
    if (mine == cpus.end() || mine->cpu != theirs.cpu) {
      cpus.insert(mine, theirs);
      continue;
    }
    mine->switches += theirs.switches;
    mine->waits += theirs.waits;
    mine->wait_ns += theirs.wait_ns;
    mine->queue_samples += theirs.queue_samples;
    mine->queue_length_sum += theirs.queue_length_sum;
    mine->queue_length_max = std::max(mine->queue_length_max, theirs.queue_length_max);
  }
}

void LossInterval::merge(const LossInterval& later) { merge_numbers(*this, later); }
void ResourceReading::merge(const ResourceReading& later) { merge_numbers(*this, later); }
void PressureInterval::merge(const PressureInterval& later) { merge_numbers(*this, later); }
void SelfInterval::merge(const SelfInterval& later) { merge_numbers(*this, later); }
void CounterInterval::merge(const CounterInterval& later) { merge_numbers(*this, later); }

uint64_t losses_total(const LossInterval& losses) {
  uint64_t total = 0;
  LossInterval::for_each_number([&](const Number& number, auto member) {
    if (number.loss != LossKind::kUnseen) return;
    const uint64_t loss = losses.*member;
    total += number_unit(number.name) == NumberUnit::kNanoseconds ? (loss > 0 ? 1 : 0) : loss;
  });
  return total;
}

void EventCount::merge(const EventCount& later) {
  count += later.count;
  enabled_ns += later.enabled_ns;
  running_ns += later.running_ns;
}

std::optional<uint64_t> EventCount::scaled() const {
  if (running_ns >= enabled_ns) return count;
  if (running_ns == 0) return std::nullopt;
  const double factor = static_cast<double>(enabled_ns) / static_cast<double>(running_ns);
  const double all = std::round(static_cast<double>(count) * factor);
  constexpr double kMost = 0x1p63;  // a stored count may have any value
  return all < kMost ? static_cast<uint64_t>(all) : static_cast<uint64_t>(kMost);
}

}  // namespace topspin
