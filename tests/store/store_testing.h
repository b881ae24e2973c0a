// Shared by the store's tests: temporary directories, samples in which every field differs, and a
// listing of all fields for comparisons.
//
// members() names the fields of each type by structured binding. So if a field is added to the
// core, this file does not compile until somebody decides how the field is stored. For structs of
// numbers the registry lists the fields; core's numbers_test checks that the registry is complete.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "store/run_store.h"

namespace topspin {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = testing::TempDir() + "topspin_store_XXXXXX";
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string file(const std::string& name = "topspin.db") const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline auto members(auto& value) {
  using T = std::remove_const_t<std::remove_reference_t<decltype(value)>>;
  if constexpr (std::is_same_v<T, CpuScheduling>) {
    auto& [a, b, c, d, e, f, g] = value;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (std::is_same_v<T, EventCount>) {
    auto& [a, b, c] = value;
    return std::tie(a, b, c);
  } else if constexpr (std::is_same_v<T, StackRow>) {
    auto& [a, b, c, d] = value;
    return std::tie(a, b, c, d);
  } else if constexpr (std::is_same_v<T, SocketRow>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (std::is_same_v<T, SlowReply>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (std::is_same_v<T, SyscallRow>) {
    auto& [a, b, c, d, e, f] = value;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (std::is_same_v<T, CalledRow>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (std::is_same_v<T, FlowOwner>) {
    auto& [a, b, c, d, e] = value;
    return std::tie(a, b, c, d, e);
  } else if constexpr (std::is_same_v<T, Endpoint>) {
    auto& [a, b] = value;
    return std::tie(a, b);
  } else if constexpr (std::is_same_v<T, FlowKey>) {
    auto& [a, b, c, d, e] = value;
    return std::tie(a, b, c, d, e);
  } else if constexpr (std::is_same_v<T, FlowRow>) {
    auto& [id, key, low, ended, first, last, packets, bytes, payload, period, lateness,
           lateness_max, missed, replies, sum, max, latest, unanswered, retransmissions, silent,
           owners] = value;
    return std::tie(id, key, low, ended, first, last, packets, bytes, payload, period, lateness,
                    lateness_max, missed, replies, sum, max, latest, unanswered, retransmissions,
                    silent, owners);
  } else if constexpr (std::is_same_v<T, ThreadRow>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q);
  } else if constexpr (std::is_same_v<T, OffCpuTime>) {
    auto& [a, b] = value;
    return std::tie(a, b);
  } else if constexpr (std::is_same_v<T, SleepStackRow>) {
    auto& [a, b, c, d, e, f, g] = value;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (std::is_same_v<T, BusyStretch>) {
    auto& [a, b, c, d, e, f, g, h, i, j] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (std::is_same_v<T, StretchStack>) {
    auto& [a, b] = value;
    return std::tie(a, b);
  } else if constexpr (std::is_same_v<T, CpuHolderRow>) {
    auto& [a, b, c, d, e, f, g] = value;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (std::is_same_v<T, Sample>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x);
  } else if constexpr (std::is_same_v<T, HostInfo>) {
    auto& [a, b, c, d, e, f, g, h, i] = value;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else if constexpr (std::is_same_v<T, SourceInfo>) {
    auto& [a, b, c] = value;
    return std::tie(a, b, c);
  } else if constexpr (std::is_same_v<T, RunSettings>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
  } else if constexpr (std::is_same_v<T, ProbeStatus>) {
    auto& [a, b, c] = value;
    return std::tie(a, b, c);
  } else if constexpr (std::is_same_v<T, RunInfo>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (std::is_same_v<T, RunPlan>) {
    auto& [a, b, c, d, e, f, g] = value;
    return std::tie(a, b, c, d, e, f, g);
  } else if constexpr (std::is_same_v<T, RunStage>) {
    auto& [a, b, c, d, e, f] = value;
    return std::tie(a, b, c, d, e, f);
  } else if constexpr (std::is_same_v<T, LoadAccounts>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (std::is_same_v<T, TcpAccounts>) {
    auto& [a, b, c, d, e, f, g, h, i] = value;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else if constexpr (std::is_same_v<T, HttpAccounts>) {
    auto& [a, b, c, d, e, f, g, h] = value;
    return std::tie(a, b, c, d, e, f, g, h);
  } else if constexpr (std::is_same_v<T, TlsAccounts>) {
    auto& [a, b, c, d, e] = value;
    return std::tie(a, b, c, d, e);
  } else if constexpr (std::is_same_v<T, ScriptCheck>) {
    auto& [a, b, c] = value;
    return std::tie(a, b, c);
  } else if constexpr (std::is_same_v<T, ScriptAccounts>) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
  } else if constexpr (std::is_same_v<T, LoadPart>) {
    auto& [a, b, c, d, e, f, g, h, i] = value;
    return std::tie(a, b, c, d, e, f, g, h, i);
  } else if constexpr (std::is_same_v<T, KernelCounters>) {
    auto& [a, b, c, d, e] = value;
    return std::tie(a, b, c, d, e);
  } else if constexpr (std::is_same_v<T, GeneratorCost>) {
    auto& [a, b, c, d, e, f, g, h, i, j] = value;
    return std::tie(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (std::is_same_v<T, LoadResult>) {
    // A run does not keep which workers sent its load, nor what each did not send. It has the
    // stages of a search as parts, without their verdicts.
    auto& [workload, target, replies, wall, monotonic, early, clients, joined, stages, total,
           planned, has_plan, closed, tcp, http, script, tls, connect, bytes, unreachable, errors,
           kernel, own, gso, workers, are_threads, never_scheduled_reasons, find, reasons] = value;
    return std::tie(workload, target, replies, wall, monotonic, early, clients, joined, stages,
                    total, planned, has_plan, closed, tcp, http, script, tls, connect, bytes,
                    unreachable, errors, kernel, own, gso, reasons);
  } else if constexpr (std::is_same_v<T, RunEnd>) {
    auto& [a, b, c, d, e] = value;
    return std::tie(a, b, c, d, e);
  } else if constexpr (std::is_same_v<T, ProbeParts>) {
    return std::apply([](auto&... parts) { return std::tie(parts...); }, value);
  } else {
    static_assert(std::is_void_v<T>, "no members() for this type");
  }
}

template <typename T>
concept HasNumbers = requires {
  T::for_each_number([](const Number&, auto) {});
};

/// Calls visit(member) for every member of a part of a Sample: its numbers, and its other members.
template <HasNumbers T>
void for_each_member(auto& part, auto visit) {
  T::for_each_number([&](const Number&, auto path) { visit(std::invoke(path, part)); });
  if constexpr (std::is_same_v<T, FlowInterval>) {
    visit(part.begin_ns);
    visit(part.end_ns);
  } else if constexpr (std::is_same_v<T, SchedulerInterval>) {
    visit(part.cpus);
  }
}

/// Gives each field a value that no field had before, as far as the field's type allows it.
class Filler {
 public:
  template <typename T>
  void fill(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = true;
    } else if constexpr (std::is_integral_v<T>) {
      value = static_cast<T>(next());
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(1);
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = "text " + std::to_string(next());
    } else if constexpr (std::is_same_v<T, CoarseHistogram>) {
      for (int i = 0; i < 3; ++i) value.record(static_cast<uint64_t>(next()));
    } else if constexpr (std::is_same_v<T, Histogram>) {
      for (int i = 0; i < 3; ++i) value.record_n(static_cast<uint64_t>(next()), 2);
    } else if constexpr (std::is_same_v<T, SignedHistogram>) {
      value.record(next());
      value.record(-next());
    } else if constexpr (HasNumbers<T>) {
      for_each_member<T>(value, [this](auto& member) { this->fill(member); });
    } else {
      std::apply([this](auto&... member) { (this->fill(member), ...); }, members(value));
    }
  }
  template <typename T>
  void fill(std::optional<T>& value) {
    fill(value.emplace());
  }
  template <typename T>
  void fill(std::vector<T>& values) {
    values.resize(3);
    for (T& value : values) fill(value);
  }
  template <typename T, size_t N>
  void fill(std::array<T, N>& values) {
    for (T& value : values) fill(value);
  }
  /// Gives the socket an IPv4 address, which uses only the first four bytes.
  void fill(SocketRow& socket) {
    std::apply([this](auto&... member) { (fill(member), ...); }, members(socket));
    socket.ip_version = 4;
    const int64_t n = next();
    socket.local.address = {10, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
  }
  void fill(CalledRow& called) {
    std::apply([this](auto&... member) { (fill(member), ...); }, members(called));
    called.ip_version = 4;
    const int64_t n = next();
    called.address.address = {10, 1, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
  }
  /// Gives both ends an IPv4 address.
  void fill(SlowReply& reply) {
    std::apply([this](auto&... member) { (fill(member), ...); }, members(reply));
    reply.ip_version = 4;
    for (Endpoint* end : {&reply.local, &reply.remote}) {
      const int64_t n = next();
      end->address = {10, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
    }
  }
  template <typename T>
  void fill(std::map<std::string, T>& values) {
    for (int i = 0; i < 3; ++i) fill(values["key " + std::to_string(next())]);
  }
  void fill(std::map<int, uint64_t>& values) {
    for (int i = 0; i < 3; ++i) fill(values[static_cast<int>(next())]);
  }
  /// Makes a canonical key (`low` before `high`) with IPv4 addresses.
  void fill(FlowKey& key) {
    for (Endpoint* end : {&key.low, &key.high}) {
      const int64_t n = next();
      end->address = {10, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
      end->port = static_cast<uint16_t>(next());
    }
    key.protocol = static_cast<uint8_t>(next());
    key.vlan = {static_cast<uint16_t>(next()), static_cast<uint16_t>(next())};
  }

 private:
  int64_t next() { return last_ += 7; }
  int64_t last_ = 1000;
};

/// Lists every field as "path=value".
class Listing {
 public:
  template <typename T>
  static std::vector<std::string> of(const T& value) {
    Listing listing;
    listing.list("", value);
    return listing.lines_;
  }

 private:
  template <typename T>
  void list(const std::string& path, const T& value) {
    if constexpr (std::is_integral_v<T>) {
      add(path, std::to_string(value));
    } else if constexpr (std::is_enum_v<T>) {
      add(path, std::to_string(static_cast<int>(value)));
    } else if constexpr (std::is_same_v<T, std::string>) {
      add(path, value);
    } else if constexpr (std::is_same_v<T, Histogram> || std::is_same_v<T, SignedHistogram> ||
                         std::is_same_v<T, CoarseHistogram>) {
      add(path, value.encode());
    } else if constexpr (HasNumbers<T>) {
      size_t index = 0;
      for_each_member<T>(value, [&](const auto& member) { list(join(path, index++), member); });
    } else {
      size_t index = 0;
      std::apply([&](const auto&... member) { (list(join(path, index++), member), ...); },
                 members(value));
    }
  }
  template <typename T>
  void list(const std::string& path, const std::optional<T>& value) {
    if (value)
      list(path, *value);
    else
      add(path, "absent");
  }
  template <typename T>
  void list(const std::string& path, const std::vector<T>& values) {
    for (size_t i = 0; i < values.size(); ++i) list(join(path, i), values[i]);
  }
  template <typename T, size_t N>
  void list(const std::string& path, const std::array<T, N>& values) {
    for (size_t i = 0; i < N; ++i) list(join(path, i), values[i]);
  }
  template <typename T>
  void list(const std::string& path, const std::map<std::string, T>& values) {
    for (const auto& [key, value] : values) list(path + "[" + key + "]", value);
  }
  void list(const std::string& path, const std::map<int, uint64_t>& values) {
    for (const auto& [key, value] : values) list(path + "[" + std::to_string(key) + "]", value);
  }
  static std::string join(const std::string& path, size_t index) {
    return path + "." + std::to_string(index);
  }
  void add(const std::string& path, const std::string& value) {
    lines_.push_back(path + "=" + value);
  }
  std::vector<std::string> lines_;
};

inline RunInfo make_run(int64_t started_wall_ns = 1'700'000'000'000'000'000) {
  RunInfo run;
  run.id = make_run_id(started_wall_ns);
  run.started_wall_ns = started_wall_ns;
  run.topspin_version = "0.1.0";
  return run;
}

/// A tick of a run whose `flows` flows all changed.
inline Sample make_tick(uint64_t tick, uint64_t flows = 0) {
  Sample sample;
  sample.tick = tick;
  sample.elapsed_ns = static_cast<int64_t>(tick) * 1'000'000'000;
  sample.interval_ns = 1'000'000'000;
  sample.monotonic_ns = 5'000'000'000 + sample.elapsed_ns;
  sample.flows.packets = tick * 10;
  sample.changed_flows.resize(flows);
  for (uint64_t i = 0; i < flows; ++i) {
    FlowRow& flow = sample.changed_flows[i];
    flow.id = i + 1;
    flow.key.low = {{127, 0, 0, 1}, 8888};
    flow.key.high = {{127, 0, 0, 1}, static_cast<uint16_t>(10'000 + i % 50'000)};
    flow.key.protocol = kProtocolUdp;
    flow.initiator_is_low = false;
    flow.first_ns = 1'700'000'000'000'000'000 + static_cast<int64_t>(i * 1000);
    flow.last_ns = flow.first_ns + sample.elapsed_ns;
    flow.packets = {tick, tick};
    flow.bytes = {tick * 100, tick * 100};
    flow.period_ns = 1'000'000'000;
    flow.lateness_last_ns = static_cast<int64_t>((i * 7919 + tick) % 1'000'000);
    flow.lateness_max_ns = 1'000'000;
    flow.replies = tick;
    flow.reply_latency_sum_ns = static_cast<int64_t>(tick * 54'321);
    flow.reply_latency_max_ns = 654'321;
    flow.reply_latency_last_ns = static_cast<int64_t>((i * 104'729 + tick) % 500'000);
  }
  return sample;
}

/// The value. On an error, reports it at the caller's line and aborts.
template <typename T>
T must(Result<T> result, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (!result.ok()) {
    ADD_FAILURE_AT(file, line) << result.error().message;
    std::abort();
  }
  return std::move(result).value();
}
/// Success, or a failed assertion with the error's sentence.
inline testing::AssertionResult succeeded(const Status& status) {
  if (status.ok()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << status.error().message;
}
#define EXPECT_OK(expression) EXPECT_TRUE(::topspin::succeeded(expression))

inline std::unique_ptr<RunWriter> create(const std::string& path, const RunInfo& run = make_run(),
                                         const WriterOptions& options = {}) {
  return must(RunWriter::create(path, run, options));
}
inline std::unique_ptr<RunStore> open(const std::string& path) {
  return must(RunStore::open(path));
}

inline std::vector<Sample> ticks_of(RunStore& store, const std::string& run_id) {
  std::vector<Sample> ticks;
  EXPECT_OK(store.for_each_tick(run_id, [&](const Sample& s) { ticks.push_back(s); }));
  return ticks;
}
inline std::vector<FlowRow> flows_of(RunStore& store, const std::string& run_id) {
  std::vector<FlowRow> flows;
  EXPECT_OK(store.for_each_flow(run_id, [&](const FlowRow& f) { flows.push_back(f); }));
  return flows;
}
inline std::vector<ThreadRow> threads_of(RunStore& store, const std::string& run_id) {
  std::vector<ThreadRow> threads;
  EXPECT_OK(store.for_each_thread(run_id, [&](const ThreadRow& t) { threads.push_back(t); }));
  return threads;
}
inline std::vector<FlowOwner> owners_of(RunStore& store, const std::string& run_id) {
  std::vector<FlowOwner> owners;
  EXPECT_OK(store.for_each_owner(run_id, [&](const FlowOwner& o) { owners.push_back(o); }));
  return owners;
}
inline std::vector<SocketRow> sockets_of(RunStore& store, const std::string& run_id) {
  std::vector<SocketRow> sockets;
  EXPECT_OK(store.for_each_socket(run_id, [&](const SocketRow& s) { sockets.push_back(s); }));
  return sockets;
}
inline std::vector<SyscallRow> syscalls_of(RunStore& store, const std::string& run_id) {
  std::vector<SyscallRow> syscalls;
  EXPECT_OK(store.for_each_syscall(run_id, [&](const SyscallRow& s) { syscalls.push_back(s); }));
  return syscalls;
}
inline std::vector<CalledRow> called_of(RunStore& store, const std::string& run_id) {
  std::vector<CalledRow> called;
  EXPECT_OK(store.for_each_called(run_id, [&](const CalledRow& c) { called.push_back(c); }));
  return called;
}

inline std::vector<CpuHolderRow> cpu_holders_of(RunStore& store, const std::string& run_id) {
  std::vector<CpuHolderRow> holders;
  EXPECT_OK(
      store.for_each_cpu_holder(run_id, [&](const CpuHolderRow& h) { holders.push_back(h); }));
  return holders;
}
inline std::vector<BusyStretch> busy_stretches_of(RunStore& store, const std::string& run_id) {
  std::vector<BusyStretch> stretches;
  EXPECT_OK(store.for_each_busy_stretch(
      run_id, [&](const BusyStretch& stretch) { stretches.push_back(stretch); }));
  return stretches;
}

inline std::vector<SleepStackRow> sleep_stacks_of(RunStore& store, const std::string& run_id) {
  std::vector<SleepStackRow> stacks;
  EXPECT_OK(
      store.for_each_sleep_stack(run_id, [&](const SleepStackRow& s) { stacks.push_back(s); }));
  return stacks;
}

inline std::vector<StackRow> stacks_of(RunStore& store, const std::string& run_id) {
  std::vector<StackRow> stacks;
  EXPECT_OK(store.for_each_stack(run_id, [&](const StackRow& s) { stacks.push_back(s); }));
  return stacks;
}
inline std::vector<SlowReply> slow_replies_of(RunStore& store, const std::string& run_id) {
  std::vector<SlowReply> replies;
  EXPECT_OK(store.for_each_slow_reply(run_id, [&](const SlowReply& r) { replies.push_back(r); }));
  return replies;
}
inline std::vector<StoredEvent> events_of(RunStore& store, const std::string& run_id) {
  std::vector<StoredEvent> events;
  EXPECT_OK(store.for_each_event(run_id, [&](const StoredEvent& e) { events.push_back(e); }));
  return events;
}

/// Stores a finished run with `ticks` ticks of `flows` flows, and returns its id.
inline std::string store_run(const std::string& path, uint64_t ticks, uint64_t flows,
                             const RunInfo& run = make_run()) {
  auto writer = create(path, run);
  for (uint64_t tick = 1; tick <= ticks; ++tick) EXPECT_OK(writer->append(make_tick(tick, flows)));
  RunEnd end;
  end.duration_ns = static_cast<int64_t>(ticks) * 1'000'000'000;
  EXPECT_OK(writer->finish(end));
  return run.id;
}

}  // namespace topspin
