// The rows of an export as (name, value) pairs. They are made from the store's column lists, so an
// export has the names of the database, and gets a new column when the database does. Private to
// report; pure.
//
// visit(name, value) gets integers, bools, optionals of integers and texts; an empty text is
// "not known", as in the store. visit(name, histogram) gets Histogram, SignedHistogram and
// optional<Histogram>.
#pragma once

#include <string>
#include <string_view>

#include "core/flow/flow_owner.h"
#include "core/run/load_result.h"
#include "core/tick/numbers.h"
#include "store/run_store.h"
#include "store/sqlite/columns.h"

namespace topspin {

/// Two parts of a field's name as one. An export has some fifty per flow, so it allocates none.
class JoinedName {
 public:
  JoinedName(std::string_view prefix, std::string_view name) {
    whole_.append(prefix);
    whole_.append(name);
  }
  operator std::string_view() const { return {whole_.data(), whole_.size()}; }

 private:
  fmt::basic_memory_buffer<char, 64> whole_;
};
inline JoinedName joined(std::string_view prefix, std::string_view name) { return {prefix, name}; }

/// The start of the run on the clock of its packets, given any of its timestamps. That is the
/// monotonic clock in recordings, and the wall clock in captures that were read from a file.
inline int64_t packet_clock_at_start(const RunInfo& run, int64_t stamp_ns) {
  const auto away = [&](int64_t start_ns) {
    return stamp_ns > start_ns ? stamp_ns - start_ns : start_ns - stamp_ns;
  };
  return away(run.started_monotonic_ns) < away(run.started_wall_ns) ? run.started_monotonic_ns
                                                                    : run.started_wall_ns;
}

template <typename Visit>
void for_each_tick_field(const Sample& sample, Visit visit) {
  for_each_tick_time_column(sample, [&](std::string_view prefix, std::string_view name,
                                        const auto& value) { visit(joined(prefix, name), value); });
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    if constexpr (kIsEventCount<Value>) {
      const std::optional<EventCount>& event = *at.find(sample);
      const auto part = [&](std::string_view what, uint64_t EventCount::*member) {
        std::optional<uint64_t> value;
        if (event) value = (*event).*member;
        visit(joined(number.name, what), value);
      };
      part("", &EventCount::count);
      part("_enabled_ns", &EventCount::enabled_ns);
      part("_running_ns", &EventCount::running_ns);
    } else if constexpr (kIsPlainNumber<Value>) {
      static const Value kNotMeasured{};
      const Value* value = at.find(sample);
      visit(number.name, value != nullptr ? *value : kNotMeasured);
    }
  });
}

template <typename Visit>
void for_each_tick_histogram(const Sample& sample, Visit visit) {
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    if constexpr (kIsDistribution<Value>) {
      static const Value kNotMeasured{};
      const Value* histogram = at.find(sample);
      visit(number.name, histogram != nullptr ? *histogram : kNotMeasured);
    }
  });
}

template <typename Visit>
void for_each_cpu_field(const CpuScheduling& cpu, Visit visit) {
  for_each_cpu_column(cpu, [&](std::string_view prefix, std::string_view name, const auto& value) {
    visit(joined(prefix, name), value);
  });
}

template <typename Visit>
void for_each_flow_field(const FlowRow& flow, Visit visit) {
  const auto plain = [&](std::string_view prefix, std::string_view name, const auto& value) {
    visit(joined(prefix, name), value);
  };
  for_each_fixed_flow_column(flow, plain);
  visit("initiator_address", format_address(flow.initiator(), flow.key.ip_version));
  visit("initiator_port", flow.initiator().port);
  visit("responder_address", format_address(flow.responder(), flow.key.ip_version));
  visit("responder_port", flow.responder().port);
  for_each_changing_flow_column(flow, plain);
}

template <typename Visit>
void for_each_thread_field(const ThreadRow& thread, Visit visit) {
  for_each_thread_column(thread, [&](std::string_view prefix, std::string_view name,
                                     const auto& value) { visit(joined(prefix, name), value); });
}

template <typename Visit>
void for_each_owner_field(const FlowOwner& owner, Visit visit) {
  for_each_owner_column(owner, [&](std::string_view prefix, std::string_view name,
                                   const auto& value) { visit(joined(prefix, name), value); });
  visit("quality", std::string(owner_quality_name(owner.quality)));
}

template <typename Visit>
void for_each_socket_field(const SocketRow& socket, Visit visit) {
  visit("cookie", socket.cookie);
  visit("local_address", format_address(socket.local, socket.ip_version));
  for_each_socket_column(socket, [&](std::string_view prefix, std::string_view name,
                                     const auto& value) { visit(joined(prefix, name), value); });
}

template <typename Visit>
void for_each_syscall_field(const SyscallRow& syscall, Visit visit) {
  for_each_syscall_column(syscall, [&](std::string_view prefix, std::string_view name,
                                       const auto& value) { visit(joined(prefix, name), value); });
}

template <typename Visit>
void for_each_called_field(const CalledRow& called, Visit visit) {
  visit("address", format_address(called.address, called.ip_version));
  for_each_called_column(called, [&](std::string_view prefix, std::string_view name,
                                     const auto& value) { visit(joined(prefix, name), value); });
}

template <typename Visit>
void for_each_cpu_holder_field(const CpuHolderRow& holder, Visit visit) {
  visit("kind", std::string(cpu_holder_name(holder.kind)));
  for_each_cpu_holder_column(
      holder, [&](std::string_view prefix, std::string_view name, const auto& value) {
        visit(joined(prefix, name), value);
      });
}

template <typename Visit>
void for_each_stack_field(const StackRow& stack, Visit visit) {
  for_each_stack_column(stack, [&](std::string_view prefix, std::string_view name,
                                   const auto& value) { visit(joined(prefix, name), value); });
}

template <typename Visit>
void for_each_sleep_stack_field(const SleepStackRow& stack, Visit visit) {
  visit("blocked_by", std::string(blocked_by_name(stack.reason)));
  for_each_sleep_stack_column(
      stack, [&](std::string_view prefix, std::string_view name, const auto& value) {
        visit(joined(prefix, name), value);
      });
}

/// All but its stacks.
template <typename Visit>
void for_each_busy_stretch_field(const BusyStretch& stretch, Visit visit) {
  for_each_busy_stretch_column(
      stretch, [&](std::string_view prefix, std::string_view name, const auto& value) {
        visit(joined(prefix, name), value);
      });
}

template <typename Visit>
void for_each_slow_reply_field(const SlowReply& reply, Visit visit) {
  visit("local_address", format_address(reply.local, reply.ip_version));
  visit("remote_address", format_address(reply.remote, reply.ip_version));
  for_each_slow_reply_column(reply, [&](std::string_view prefix, std::string_view name,
                                        const auto& value) { visit(joined(prefix, name), value); });
}

template <typename Visit>
void for_each_stage_field(const RunStage& stage, Visit visit) {
  visit("name", stage.name);
  visit("kind", std::string(stage_kind_name(stage.kind)));
  visit("start_ns", stage.start_ns);
  visit("end_ns", stage.end_ns);
  visit("clients_from", stage.clients_from);
  visit("clients_to", stage.clients_to);
}

/// The result of a run's load without its parts. Fields that only some loads have are absent in the
/// others.
template <typename Visit>
void for_each_load_field(const LoadResult& load, Visit visit) {
  visit("workload", std::string(workload_name(load.workload)));
  for_each_load_column(load, [&](std::string_view prefix, std::string_view name,
                                 const auto& value) { visit(joined(prefix, name), value); });
  TcpAccounts::for_each_field([&](std::string_view name, auto field) {
    std::optional<uint64_t> value;
    if (load.tcp) value = (*load.tcp).*field;
    visit(joined("tcp_", name), value);
  });
  std::optional<uint64_t> body_bytes;
  if (load.http) body_bytes = load.http->body_bytes;
  visit("http_body_bytes", body_bytes);
  std::optional<uint64_t> handshakes, resumed, failed;
  if (load.tls) {
    handshakes = load.tls->handshakes;
    resumed = load.tls->resumed;
    failed = load.tls->failed;
  }
  visit("tls_handshakes", handshakes);
  visit("tls_resumed", resumed);
  visit("tls_failed", failed);
  (load.http ? *load.http : HttpAccounts{}).for_each_class([&](const char* name, uint64_t count) {
    visit(std::string(name), load.http ? std::optional(count) : std::nullopt);
  });
}

/// A part of a load. Position 0 is the whole; the stages count from 1.
struct NumberedLoadPart {
  uint64_t position = 0;
  LoadPart part;
};

template <typename Visit>
void for_each_load_part_field(const NumberedLoadPart& numbered, Visit visit) {
  visit("position", numbered.position);
  for_each_load_part_column(numbered.part,
                            [&](std::string_view prefix, std::string_view name, const auto& value) {
                              visit(joined(prefix, name), value);
                            });
}

template <typename Visit>
void for_each_load_part_histogram(const LoadPart& part, Visit visit) {
  visit("latency_intended_ns", part.latency_intended);
  visit("latency_actual_ns", part.latency_actual);
  visit("own_lateness_ns", part.own_lateness);
}

/// The whole, then the stages.
template <typename Visit>
void for_each_load_part(const LoadResult& load, Visit visit) {
  visit(NumberedLoadPart{0, load.total});
  for (size_t i = 0; i < load.stages.size(); ++i) visit(NumberedLoadPart{i + 1, load.stages[i]});
}

/// The load's histograms, under the names that distinguish them from those of ticks.
template <typename Visit>
void for_each_load_histogram(const LoadResult& load, Visit visit) {
  for_each_load_part_histogram(load.total, [&](std::string_view name, const Histogram& histogram) {
    visit(joined("load_", name), histogram);
  });
  visit(std::string("load_connect_latency_ns"), load.connect_latency);
  if (load.tls) visit(std::string("load_tls_handshake_ns"), load.tls->handshake_latency);
}

/// A row of table counter: one perf event in one tick.
struct NamedCounter {
  uint64_t tick = 0;
  std::string name;
  EventCount event;
};

template <typename Visit>
void for_each_counter_field(const NamedCounter& counter, Visit visit) {
  visit("tick", counter.tick);
  visit("name", counter.name);
  visit("count", counter.event.count);
  visit("enabled_ns", counter.event.enabled_ns);
  visit("running_ns", counter.event.running_ns);
}

template <typename Visit>
void for_each_thread_tick_field(const ThreadTick& moment, Visit visit) {
  visit("elapsed_ns", moment.elapsed_ns);
  visit("interval_ns", moment.interval_ns);
  visit("pid", moment.pid);
  visit("tid", moment.tid);
  visit("name", moment.name);
  visit("cpu_ns", moment.cpu_ns);
  visit("run_queue_wait_ns", moment.run_queue_wait_ns);
  visit("run_queue_waits", moment.run_queue_waits);
}

template <typename Visit>
void for_each_late_message_field(const LateMessage& message, Visit visit) {
  visit("flow", message.flow);
  visit("initiator", message.initiator);
  visit("time_ns", message.time_ns);
  visit("lateness_ns", message.lateness_ns);
}

template <typename Visit>
void for_each_event_field(const StoredEvent& event, Visit visit) {
  visit("elapsed_ns", event.elapsed_ns);
  visit("text", event.text);
}

template <typename Visit>
void for_each_run_field(const StoredRun& run, Visit visit) {
  for_each_run_column(run.info, [&](std::string_view prefix, std::string_view name,
                                    const auto& value) { visit(joined(prefix, name), value); });
  visit("status", std::string(run_status_name(run.end.status)));
  visit("duration_ns", run.end.duration_ns);
  visit("ticks", run.ticks);
  visit("exit_status", run.end.exit_status);
}

}  // namespace topspin
