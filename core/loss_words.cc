#include "core/loss_words.h"

#include <array>

namespace topspin {
namespace {

struct Meaning {
  uint64_t LossInterval::*field;
  std::string_view what;
};

using L = LossInterval;
constexpr auto kMeanings = std::to_array<Meaning>({
    {&L::capture_kernel_drops, "packets that found the kernel's capture buffer full"},
    {&L::capture_interface_drops, "packets that the interface dropped"},
    {&L::capture_gap_ns, "time that the interface was away"},
    {&L::evicted_flows, "flows pushed out by --max-flows"},
    {&L::flow_rows_unstored, "flow rows beyond the limit of stored rows"},
    {&L::scheduler_map_full, "threads that found no room in a BPF map"},
    {&L::scheduler_missed_runs, "BPF programs that the kernel skipped"},
    {&L::scheduler_left_censored, "waits already under way at the start; no loss"},
    {&L::scheduler_right_censored, "waits still open at the end; no loss"},
    {&L::scheduler_hidden_switches, "switches not shown to the probe; their waits are counted"},
    {&L::scheduler_ring_full, "records that found no room on their way to user space"},
    {&L::thread_rows_unstored, "thread rows beyond their limit"},
    {&L::flow_owners_missed, "sockets or owners that found no room"},
    {&L::ticks_unstored, "ticks given up because the database could not be written"},
    {&L::late_ticks, "ticks that came more than a tenth of an interval late"},
    {&L::counter_threads_missed, "threads that perf events could not count"},
    {&L::stack_samples_lost, "CPU samples that found no room in the ring"},
    {&L::stacks_unstored, "CPU samples of stacks beyond their limit"},
    {&L::syscalls_uncounted, "system calls that found no room, or of another ABI"},
    {&L::syscalls_left_censored, "calls already under way at the start; no loss"},
    {&L::syscalls_missed_runs, "BPF programs that the kernel skipped"},
    {&L::socket_map_full, "sockets or threads that found no room in a BPF map"},
    {&L::socket_left_censored, "data or connections ready before being watched; no loss"},
    {&L::socket_missed_runs, "BPF programs that the kernel skipped"},
    {&L::socket_rows_unstored, "socket rows beyond their limit"},
    {&L::replies_unmatched, "requests without a reply in time, or without room"},
    {&L::reply_splits_cut, "replies with older waits than are remembered"},
});

constexpr bool all_differ() {
  for (size_t i = 0; i < kMeanings.size(); ++i) {
    for (size_t k = i + 1; k < kMeanings.size(); ++k) {
      if (kMeanings[i].field == kMeanings[k].field) return false;
    }
  }
  return true;
}
// Every loss is a uint64_t, so as many different ones as fit into the struct are all of them.
static_assert(kMeanings.size() * sizeof(uint64_t) == sizeof(LossInterval) && all_differ(),
              "each loss needs its words here");

}  // namespace

std::string_view loss_meaning(std::string_view name) {
  std::string_view what;
  LossInterval::for_each_field([&](std::string_view each, auto field) {
    if (each != name) return;
    for (const Meaning& meaning : kMeanings) {
      if (meaning.field == field) what = meaning.what;
    }
  });
  return what;
}

}  // namespace topspin
