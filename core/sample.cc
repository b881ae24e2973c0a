#include "core/sample.h"

#include <algorithm>

namespace topspin {

std::string_view rung_name(Rung rung) {
  switch (rung) {
    case Rung::kTpBtf: return "tp_btf";
    case Rung::kRawTracepoint: return "raw_tp";
    case Rung::kTracepoint: return "tracepoint";
    case Rung::kPerf: return "perf";
    case Rung::kProc: return "proc";
    case Rung::kNone: return "none";
  }
  return "none";
}

std::optional<Rung> parse_rung(std::string_view name) {
  for (const Rung rung : {Rung::kTpBtf, Rung::kRawTracepoint, Rung::kTracepoint, Rung::kPerf,
                          Rung::kProc, Rung::kNone}) {
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

std::string_view off_cpu_state_name(OffCpuState state) {
  switch (state) {
    case OffCpuState::kSleeping: return "sleeping";
    case OffCpuState::kUninterruptible: return "uninterruptible";
    case OffCpuState::kOther: return "other";
  }
  return "other";
}

void SchedulerInterval::merge(const SchedulerInterval& later) {
  std::vector<const std::optional<Histogram>*> histograms;
  for_each_histogram(later, [&](auto, const auto& histogram) { histograms.push_back(&histogram); });
  auto next_histogram = histograms.begin();
  for_each_histogram(*this, [&](auto, auto& mine) {
    const std::optional<Histogram>& theirs = **next_histogram++;
    if (!theirs) return;
    if (!mine) mine.emplace();
    mine->merge(*theirs);
  });
  std::vector<std::optional<uint64_t>> counts;
  for_each_count(later, [&](auto, const auto& count) { counts.push_back(count); });
  auto next_count = counts.begin();
  for_each_count(*this, [&](auto, auto& mine) {
    const std::optional<uint64_t>& theirs = *next_count++;
    if (theirs) mine = mine.value_or(0) + *theirs;
  });
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

void LossInterval::merge(const LossInterval& later) {
  for_each_field([&](std::string_view, auto field) { this->*field += later.*field; });
}

uint64_t losses_total(const LossInterval& losses) {
  uint64_t total = 0;
  LossInterval::for_each_described_field(
      [&](std::string_view name, auto field, LossKind kind, const char*) {
        if (kind != LossKind::kUnseen) return;
        total += name.ends_with("_ns") ? (losses.*field > 0 ? 1 : 0) : losses.*field;
      });
  return total;
}

std::optional<uint64_t> EventCount::scaled() const {
  if (running_ns >= enabled_ns) return count;
  if (running_ns == 0) return std::nullopt;
  const double factor = static_cast<double>(enabled_ns) / static_cast<double>(running_ns);
  return static_cast<uint64_t>(static_cast<double>(count) * factor + 0.5);
}

void CounterInterval::merge(const CounterInterval& later) {
  for_each_field([&](std::string_view, auto field) {
    const auto& from = later.*field;
    if (!from) return;
    auto& into = this->*field;
    if (!into) into.emplace();
    into->count += from->count;
    into->enabled_ns += from->enabled_ns;
    into->running_ns += from->running_ns;
  });
}

}  // namespace topspin
