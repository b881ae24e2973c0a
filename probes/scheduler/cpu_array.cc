#include "probes/scheduler/cpu_array.h"

#include "probes/bpf/bpf_object.h"

namespace topspin {
namespace {

/// Each cell covers four of the full layout. Its samples go to the highest of them, so that no
/// percentile is too low.
Histogram read_sleeps(const topspin_sleeps& sleeps) {
  std::array<uint64_t, kHistogramBuckets> cells{};
  for (size_t index = 0; index < TOPSPIN_SLEEP_CELLS; ++index)
    cells[4 * index + 3] = sleeps.cells[index];
  return Histogram::from_cells(cells, sleeps.sum, sleeps.max);
}

}  // namespace

void CpuArray::read(SchedulerReading& reading) {
  SchedulerInterval& totals = reading.totals;
  for (auto histogram : {&totals.queue_wait, &totals.preemption_wait, &totals.wake_delivery,
                         &totals.on_cpu, &totals.busy_stretch})
    histogram->emplace();
  for (Preemptions& by : totals.preempted_by) by = {0, 0};
  for (OffCpuTime& off : totals.off_cpu) off = {0, 0};
  for (auto& sleeps : totals.blocked_by) sleeps.emplace();
  for (uint32_t index = 0; index < cpus_.size(); ++index) {
    refresh(copies_[index], cpus_[index]);
    add(cpus_[index], copies_[index], reading);
    take_row(index, totals.cpus);
  }
  totals.run_queue_latency = totals.queue_wait;
  totals.run_queue_latency->merge(*totals.preemption_wait);
  totals.run_queue_wait_ns = totals.run_queue_latency->sum();
}

void CpuArray::refresh(Copy& copy, const topspin_cpu& cpu) {
  const uint64_t events = __atomic_load_n(&cpu.events, __ATOMIC_ACQUIRE);
  if (events == copy.events) return;
  copy.events = events;
  copy.queue_wait = read_histogram(cpu.queue_wait);
  copy.preemption_wait = read_histogram(cpu.preemption_wait);
  copy.wake_delivery = read_histogram(cpu.wake_delivery);
  copy.on_cpu = read_histogram(cpu.on_cpu);
  copy.busy_stretch = read_histogram(cpu.busy_stretch);
  for (size_t reason = 0; reason < kBlockedByCount; ++reason)
    copy.blocked_by[reason] = read_sleeps(cpu.blocked_by[reason]);
  copy.timer_oversleep = read_histogram(cpu.timer_oversleep);
  copy.timer_slack = read_histogram(cpu.timer_slack);
  copy.timer_late = read_histogram(cpu.timer_late);
  copy.timer_queueing = read_histogram(cpu.timer_queueing);
}

void CpuArray::add(const topspin_cpu& cpu, const Copy& copy, SchedulerReading& reading) const {
  SchedulerInterval& totals = reading.totals;
  totals.queue_wait->merge(copy.queue_wait);
  totals.preemption_wait->merge(copy.preemption_wait);
  totals.wake_delivery->merge(copy.wake_delivery);
  totals.on_cpu->merge(copy.on_cpu);
  totals.busy_stretch->merge(copy.busy_stretch);
  for (size_t reason = 0; reason < kBlockedByCount; ++reason)
    totals.blocked_by[reason]->merge(copy.blocked_by[reason]);
  if (with_timers_) {
    const auto merge = [](std::optional<Histogram>& sum, const Histogram& part) {
      if (!sum) sum.emplace();
      sum->merge(part);
    };
    merge(totals.timer_oversleep, copy.timer_oversleep);
    merge(totals.timer_slack, copy.timer_slack);
    merge(totals.timer_late_expiry, copy.timer_late);
    merge(totals.timer_queueing, copy.timer_queueing);
  }
  for (size_t by = 0; by < kPreemptorCount; ++by) {
    *totals.preempted_by[by].count += cpu.preempted[by].count;
    *totals.preempted_by[by].wait_ns += cpu.preempted[by].ns;
  }
  for (size_t state = 0; state < kOffCpuStateCount; ++state) {
    *totals.off_cpu[state].count += cpu.off_cpu[state].count;
    *totals.off_cpu[state].ns += cpu.off_cpu[state].ns;
  }
  reading.losses.scheduler_left_censored += cpu.left_censored;
  reading.losses.scheduler_hidden_switches += cpu.hidden;
}

/// Adds what this CPU did since the previous reading, because the greatest length of its run queue
/// is meaningful only for one interval.
void CpuArray::take_row(uint32_t index, std::vector<CpuScheduling>& rows) {
  const topspin_cpu& cpu = cpus_[index];
  Copy& copy = copies_[index];
  CpuScheduling now;
  now.switches = cpu.switches;
  now.waits = copy.queue_wait.count() + copy.preemption_wait.count();
  now.wait_ns = copy.queue_wait.sum() + copy.preemption_wait.sum();
  CpuScheduling row;
  row.cpu = static_cast<int32_t>(index);
  row.switches = now.switches - copy.row.switches;
  row.waits = now.waits - copy.row.waits;
  row.wait_ns = now.wait_ns - copy.row.wait_ns;
  copy.row = now;
  for (uint32_t length = 0; length < TOPSPIN_QUEUE_LENGTHS; ++length) {
    const uint64_t samples = cpu.queue_lengths[length];
    const uint64_t fresh = samples - copy.queue_lengths[length];
    if (fresh == 0) continue;
    copy.queue_lengths[length] = samples;
    row.queue_samples += fresh;
    row.queue_length_sum += fresh * length;
    row.queue_length_max = length;
  }
  if (row.switches > 0 || row.queue_samples > 0) rows.push_back(row);
}

}  // namespace topspin
