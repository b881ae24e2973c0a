// JSON and NDJSON: one flat object per row, with the database's names. Numbers are written
// directly, texts through the JSON library, which makes them ASCII.
#include <fmt/format.h>

#include "report/export/export.h"
#include "report/export/rows.h"
#include "report/json/json_object.h"

namespace topspin {
namespace {

constexpr int kExportSchemaVersion = 1;

/// [[least, most, count], ...] of the occupied buckets, in order of value.
void add_buckets(const Histogram& histogram, bool negative, std::string& out) {
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    const uint32_t index = negative ? kHistogramBuckets - 1 - i : i;
    const uint64_t count = histogram.cell(index);
    if (count == 0) continue;
    const auto low = static_cast<int64_t>(histogram_bucket_min(index));
    const auto high = static_cast<int64_t>(histogram_bucket_max(index));
    fmt::format_to(std::back_inserter(out), "{}[{},{},{}]", out.ends_with('[') ? "" : ",",
                   negative ? -high : low, negative ? -low : high, count);
  }
}

std::string histogram_json(const HistogramSummary& summary, const std::string& buckets) {
  std::string json = latency_json(summary).dump();
  json.back() = ',';
  return json + "\"buckets\":" + buckets + "]}";
}
std::string histogram_json(const Histogram& histogram) {
  std::string buckets = "[";
  add_buckets(histogram, false, buckets);
  return histogram_json(histogram.summary(), buckets);
}
std::string histogram_json(const SignedHistogram& histogram) {
  std::string buckets = "[";
  add_buckets(histogram.negative(), true, buckets);
  add_buckets(histogram.non_negative(), false, buckets);
  return histogram_json(histogram.summary(), buckets);
}
std::string histogram_json(const CoarseHistogram& histogram) {
  std::string buckets = "[";
  for (uint32_t i = 0; i < kCoarseCells; ++i) {
    if (histogram.cell(i) == 0) continue;
    fmt::format_to(std::back_inserter(buckets), "{}[{},{},{}]", buckets.ends_with('[') ? "" : ",",
                   coarse_cell_min(i), coarse_cell_max(i), histogram.cell(i));
  }
  return histogram_json(histogram.summary(), buckets);
}
template <typename H>
std::string histogram_json(const std::optional<H>& histogram) {
  return histogram ? histogram_json(*histogram) : "null";
}

void add_tick(const Sample& sample, JsonObject& object) {
  for_each_tick_field(sample, [&](std::string_view name, const auto& v) { object(name, v); });
  JsonObject histograms;
  for_each_tick_histogram(sample, [&](std::string_view name, const auto& histogram) {
    histograms.raw(name, histogram_json(histogram));
  });
  object.raw("histograms", histograms.end());
  std::string cpus = "[";
  if (sample.scheduler) {
    for (const CpuScheduling& cpu : sample.scheduler->cpus) {
      JsonObject of_cpu;
      for_each_cpu_field(cpu, [&](std::string_view name, const auto& v) { of_cpu(name, v); });
      if (cpus.size() > 1) cpus += ',';
      cpus += of_cpu.end();
    }
  }
  object.raw("cpus", cpus + "]");
}

void add_thread(const ThreadRow& thread, JsonObject& object) {
  for_each_thread_field(thread, [&](const auto& name, const auto& v) { object(name, v); });
  for_each_thread_histogram(thread, [&](std::string_view name, const auto& histogram) {
    object.raw(name, histogram_json(histogram));
  });
}

void add_run(const StoredRun& run, JsonObject& object) {
  for_each_run_field(run, [&](std::string_view name, const auto& v) { object(name, v); });
  Json labels = Json::object();
  for (const auto& [key, value] : run.info.labels) labels[key] = value;
  Json probes = Json::array();
  for (const ProbeStatus& probe : run.info.probes) {
    probes.push_back({{"name", probe.name},
                      {"rung", rung_name(probe.rung)},
                      {"reason", probe.reason.empty() ? Json(nullptr) : Json(probe.reason)}});
  }
  object.raw("labels", json_line(labels));
  object.raw("command", json_line(run.info.command));
  object.raw("invalid_reasons", json_line(run.end.invalid_reasons));
  object.raw("doubts", json_line(run.end.doubts));
  object.raw("probes", json_line(probes));
  JsonObject plan;
  if (run.info.plan) {
    for_each_plan_column(*run.info.plan, [&](std::string_view, std::string_view name,
                                             const auto& v) { plan(name, v); });
  }
  object.raw("plan", run.info.plan ? plan.end() : "null");
}

void add_load(const LoadResult& load, JsonObject& object) {
  for_each_load_field(load, [&](const auto& name, const auto& v) { object(name, v); });
  object.raw("connect_latency_ns", histogram_json(load.connect_latency));
  Json statuses = Json::object();
  if (load.http) {
    for (const auto& [status, count] : load.http->statuses)
      statuses[std::to_string(status)] = count;
  }
  object.raw("http_statuses", load.http ? json_line(statuses) : "null");
  object.raw("http_checks", load.http ? json_line(load.http->checks) : "null");
  object.raw("http_failures", load.http ? json_line(load.http->failures) : "null");
  object.raw("tls_versions", load.tls ? json_line(load.tls->versions) : "null");
  object.raw("tls_handshake_ns",
             load.tls ? histogram_json(load.tls->handshake_latency) : std::string("null"));
  Json checks = Json::object(), steps = Json::object();
  if (load.script) {
    for (const ScriptCheck& check : load.script->checks)
      checks[check.name] = {{"passed", check.passed}, {"failed", check.failed}};
    for (const LoadPart& step : load.script->steps) {
      Json& one = steps[step.name];
      LoadAccounts::for_each_field([&](std::string_view name, auto field) {
        one[std::string(name)] = step.accounts.*field;
      });
    }
  }
  object.raw("script_steps", load.script ? json_line(steps) : "null");
  object.raw("script_checks", load.script ? json_line(checks) : "null");
  object.raw("script_failures", load.script ? json_line(load.script->failures) : "null");
  object.raw("script_errors", load.script ? json_line(load.script->errors) : "null");
  Json errors = Json::object();
  for (const auto& [name, count] : load.errors) errors[name] = count;
  object.raw("send_errors", json_line(errors));
  object.raw("invalid_reasons", json_line(load.invalid_reasons));
}

void add_load_part(const NumberedLoadPart& numbered, JsonObject& object) {
  for_each_load_part_field(numbered, [&](const auto& name, const auto& v) { object(name, v); });
  for_each_load_part_histogram(numbered.part,
                               [&](std::string_view name, const Histogram& histogram) {
                                 object.raw(name, histogram_json(histogram));
                               });
}

/// Calls begin(list name) and row(fill) for everything that belongs to a run, in order, but not for
/// the run itself. fill(object) adds the row's fields.
template <typename Begin, typename Row>
Status visit_run(RunStore& store, const std::string& id, Begin begin, Row row) {
  begin("ticks");
  TOPSPIN_TRY(store.for_each_tick(id, [&](const Sample& sample) {
    row("tick", [&](JsonObject& object) { add_tick(sample, object); });
  }));
  begin("threads");
  TOPSPIN_TRY(store.for_each_thread(id, [&](const ThreadRow& thread) {
    row("thread", [&](JsonObject& object) { add_thread(thread, object); });
  }));
  begin("flows");
  TOPSPIN_TRY(store.for_each_flow(id, [&](const FlowRow& flow) {
    row("flow", [&](JsonObject& object) {
      for_each_flow_field(flow, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("thread_ticks");
  TOPSPIN_TRY(store.for_each_thread_tick(id, [&](const ThreadTick& moment) {
    row("thread_tick", [&](JsonObject& object) {
      for_each_thread_tick_field(moment, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("late_messages");
  TOPSPIN_TRY(store.for_each_late_message(id, [&](const LateMessage& message) {
    row("late_message", [&](JsonObject& object) {
      for_each_late_message_field(message,
                                  [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("owners");
  TOPSPIN_TRY(store.for_each_owner(id, [&](const FlowOwner& owner) {
    row("owner", [&](JsonObject& object) {
      for_each_owner_field(owner, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("sockets");
  TOPSPIN_TRY(store.for_each_socket(id, [&](const SocketRow& socket) {
    row("socket", [&](JsonObject& object) {
      for_each_socket_field(socket, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("syscalls");
  TOPSPIN_TRY(store.for_each_syscall(id, [&](const SyscallRow& syscall) {
    row("syscall", [&](JsonObject& object) {
      for_each_syscall_field(syscall, [&](const auto& name, const auto& v) { object(name, v); });
      object.raw("latency_ns", histogram_json(syscall.latency));
    });
  }));
  begin("called");
  TOPSPIN_TRY(store.for_each_called(id, [&](const CalledRow& called) {
    row("called", [&](JsonObject& object) {
      for_each_called_field(called, [&](const auto& name, const auto& v) { object(name, v); });
      object.raw("latency_ns", histogram_json(called.latency));
    });
  }));
  begin("cpu_holders");
  TOPSPIN_TRY(store.for_each_cpu_holder(id, [&](const CpuHolderRow& holder) {
    row("cpu_holder", [&](JsonObject& object) {
      for_each_cpu_holder_field(holder, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("stacks");
  TOPSPIN_TRY(store.for_each_stack(id, [&](const StackRow& stack) {
    row("stack", [&](JsonObject& object) {
      for_each_stack_field(stack, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("sleep_stacks");
  TOPSPIN_TRY(store.for_each_sleep_stack(id, [&](const SleepStackRow& stack) {
    row("sleep_stack", [&](JsonObject& object) {
      for_each_sleep_stack_field(stack, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("busy_stretches");
  uint32_t stretches = 0;
  TOPSPIN_TRY(store.for_each_busy_stretch(id, [&](const BusyStretch& stretch) {
    row("busy_stretch", [&](JsonObject& object) {
      object("stretch", stretches++);
      for_each_busy_stretch_field(stretch,
                                  [&](const auto& name, const auto& v) { object(name, v); });
      object.raw("stacks", json_array(stretch.stacks, [](const StretchStack& stack) {
                   return JsonObject()("stack", stack.stack)("samples", stack.samples).end();
                 }));
    });
  }));
  begin("slow_replies");
  TOPSPIN_TRY(store.for_each_slow_reply(id, [&](const SlowReply& reply) {
    row("slow_reply", [&](JsonObject& object) {
      for_each_slow_reply_field(reply, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }));
  begin("stages");
  TOPSPIN_ASSIGN(const auto stages, store.load_stages(id));
  for (const RunStage& stage : stages) {
    row("stage", [&](JsonObject& object) {
      for_each_stage_field(stage, [&](const auto& name, const auto& v) { object(name, v); });
    });
  }
  begin("loads");
  TOPSPIN_ASSIGN(const auto load, store.load_load(id));
  if (load) row("load", [&](JsonObject& object) { add_load(*load, object); });
  begin("load_parts");
  if (load) {
    for_each_load_part(*load, [&](const NumberedLoadPart& part) {
      row("load_part", [&](JsonObject& object) { add_load_part(part, object); });
    });
  }
  begin("events");
  return store.for_each_event(id, [&](const StoredEvent& event) {
    row("event", [&](JsonObject& object) {
      for_each_event_field(event, [&](const auto& name, const auto& v) { object(name, v); });
    });
  });
}

}  // namespace

Status export_json(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output) {
  output.write(fmt::format("{{\"schema_version\":{},\"runs\":[", kExportSchemaVersion));
  for (size_t i = 0; i < runs.size(); ++i) {
    JsonObject run;
    add_run(runs[i], run);
    output.write(i == 0 ? "\n{\"run\":" : ",\n{\"run\":");
    output.write(run.end());
    bool open = false, first = true;
    TOPSPIN_TRY(visit_run(
        store, runs[i].info.id,
        [&](std::string_view list) {
          output.write(fmt::format("{},\n\"{}\":[", open ? "]" : "", list));
          open = first = true;
        },
        [&](std::string_view, const auto& fill) {
          JsonObject object;
          fill(object);
          output.write(first ? "\n" : ",\n");
          output.write(object.end());
          first = false;
        }));
    output.write("]}");
  }
  output.write("\n]}\n");
  return output.finish();
}

Status export_ndjson(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output) {
  for (const StoredRun& run : runs) {
    size_t bytes = 0;  // of the last row: most rows are like the one before
    const auto line = [&](std::string_view type, const auto& fill) {
      JsonObject object(bytes + bytes / 8);
      object("schema_version", kExportSchemaVersion);
      object.text("type", type);
      object("run", run.info.id);
      fill(object);
      const std::string row = object.end() + "\n";
      bytes = row.size();
      output.write(row);
    };
    line("run", [&](JsonObject& object) { add_run(run, object); });
    TOPSPIN_TRY(visit_run(
        store, run.info.id, [](std::string_view) {}, line));
  }
  return output.finish();
}

}  // namespace topspin
