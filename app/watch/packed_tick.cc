#include "app/watch/packed_tick.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "core/base/check.h"
#include "core/tick/numbers.h"

namespace topspin {
namespace {

void put(std::string& out, const std::string& encoded) {
  const auto length = static_cast<uint32_t>(encoded.size());
  out.append(reinterpret_cast<const char*>(&length), sizeof(length));
  out += encoded;
}

class Packer {
 public:
  explicit Packer(std::string& out) : out_(out) {}
  template <typename AnyHistogram>
  void operator()(AnyHistogram& histogram) {
    put(out_, histogram.encode());
    histogram = AnyHistogram();
  }

 private:
  std::string& out_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view in) : in_(in) {}
  template <typename AnyHistogram>
  void operator()(AnyHistogram& histogram) {
    uint32_t length = 0;
    CHECK(in_.size() >= sizeof(length));
    std::memcpy(&length, in_.data(), sizeof(length));
    in_.remove_prefix(sizeof(length));
    CHECK(in_.size() >= length);
    auto decoded = AnyHistogram::decode(in_.substr(0, length));
    CHECK(decoded.ok());  // we encoded it
    histogram = std::move(decoded).value();
    in_.remove_prefix(length);
  }

 private:
  std::string_view in_;
};

/// Calls visit(histogram) for each distribution that was measured, in an order that does not depend
/// on their contents.
template <typename Visit>
void for_each_distribution(Sample& sample, Visit& visit) {
  for_each_number([&](const Number&, auto at) {
    using Value = typename decltype(at)::Value;
    if constexpr (kIsDistribution<Value>) {
      if (at.find(sample) == nullptr) return;
      Value& value = at.make(sample);
      if constexpr (std::is_same_v<Value, std::optional<Histogram>>) {
        if (value) visit(*value);
      } else {
        visit(value);
      }
    }
  });
  for (ThreadRow& row : sample.changed_threads) {
    if (row.run_queue_wait) visit(*row.run_queue_wait);
    if (row.on_cpu) visit(*row.on_cpu);
  }
  for (SyscallRow& row : sample.changed_syscalls) visit(row.latency);
  for (CalledRow& row : sample.changed_called) visit(row.latency);
}

template <typename T>
uint64_t bytes_of_list(const std::vector<T>& list) {
  return list.capacity() * sizeof(T);
}
uint64_t bytes_of_text(const std::string& text) {
  return text.capacity() > 15 ? text.capacity() + 1 : 0;
}

uint64_t bytes_of_plain(const Sample& s) {
  uint64_t bytes = sizeof(Sample) + bytes_of_list(s.changed_flows) +
                   bytes_of_list(s.changed_threads) + bytes_of_list(s.changed_cpu_holders) +
                   bytes_of_list(s.changed_owners) + bytes_of_list(s.changed_sockets) +
                   bytes_of_list(s.slowest_replies) + bytes_of_list(s.changed_syscalls) +
                   bytes_of_list(s.changed_stacks) + bytes_of_list(s.changed_sleep_stacks) +
                   bytes_of_list(s.long_stretches) + bytes_of_list(s.changed_called);
  for (const ThreadRow& row : s.changed_threads) bytes += bytes_of_text(row.name);
  for (const FlowOwner& row : s.changed_owners) bytes += bytes_of_text(row.name);
  for (const CpuHolderRow& row : s.changed_cpu_holders) bytes += bytes_of_text(row.name);
  for (const StackRow& row : s.changed_stacks)
    bytes += bytes_of_text(row.thread) + bytes_of_text(row.frames);
  for (const SleepStackRow& row : s.changed_sleep_stacks)
    bytes += bytes_of_text(row.thread) + bytes_of_text(row.frames) + bytes_of_text(row.woken_by);
  for (const BusyStretch& row : s.long_stretches) bytes += bytes_of_list(row.stacks);
  if (s.scheduler) bytes += bytes_of_list(s.scheduler->cpus);
  return bytes;
}

/// The rest is not even copied: a tick of the live screen may have a million rows. A field that is
/// added to Sample must be added here, or this does not compile.
Sample copy_with_flow_rows(const Sample& sample, size_t most) {
  const auto& [tick, monotonic_ns, elapsed_ns, interval_ns, flows, scheduler, resources, losses,
               self, pressure, counters, parts, changed_flows, changed_threads, changed_cpu_holders,
               changed_owners, sockets, changed_sockets, slowest_replies, changed_syscalls,
               changed_stacks, changed_sleep_stacks, long_stretches, changed_called] = sample;
  const auto rows = static_cast<std::ptrdiff_t>(std::min(most, changed_flows.size()));
  return {tick,
          monotonic_ns,
          elapsed_ns,
          interval_ns,
          flows,
          scheduler,
          resources,
          losses,
          self,
          pressure,
          counters,
          parts,
          {changed_flows.begin(), changed_flows.begin() + rows},
          changed_threads,
          changed_cpu_holders,
          changed_owners,
          sockets,
          changed_sockets,
          slowest_replies,
          changed_syscalls,
          changed_stacks,
          changed_sleep_stacks,
          long_stretches,
          changed_called};
}

}  // namespace

PackedTick::PackedTick(const Sample& sample, size_t most_flow_rows)
    : plain_(copy_with_flow_rows(sample, most_flow_rows)) {
  plain_.losses.flow_rows_unstored += sample.changed_flows.size() - plain_.changed_flows.size();
  Packer pack(distributions_);
  for_each_distribution(plain_, pack);
  distributions_.shrink_to_fit();
  bytes_ = bytes_of_plain(plain_) + distributions_.capacity();
}

Sample PackedTick::unpack() const {
  Sample sample = plain_;
  Unpacker unpack(distributions_);
  for_each_distribution(sample, unpack);
  return sample;
}

}  // namespace topspin
