// What the subject held, what a flow costs, when a limit will be reached, and what the host lacked.
#include <algorithm>

#include <fmt/format.h>

#include "core/run/growth_text.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

Table held_table(const RunFold& fold, size_t run) {
  Table table{"Held by the subject", columns({"", "Greatest", "Last"})};
  table.rows = number_rows(fold, run, true, [](const Number& number) {
    return number.probe == "resources" && number.kind == NumberKind::kGauge &&
           number.scope != NumberScope::kNearest;
  });
  for (Row& row : table.rows) {
    if (row.cells[1].line[0].value == 0) row.shown = Shown::kOnPages;
  }
  return table;
}

/// The results of growth.h, in the same words as on the screen.
Facts growth_facts(const Growth& growth) {
  Facts facts;
  for (const GrowthLine& line : growth_lines(growth)) {
    const Span text = words(line.text);
    facts.list.emplace_back(std::string(line.topic),
                            say("{}", line.alarming ? toned(Tone::kOpen, text) : text));
  }
  return facts;
}

Span amount(bool is_bytes, double value) {
  return number(is_bytes ? Unit::kBytes : Unit::kCount, value);
}

Table per_flow_table(const PerFlowCost& cost) {
  Table table{"Cost of a flow", columns({"", "Each flow", "Interval"})};
  const auto row = [&](const char* name, const std::optional<Slope>& slope, bool is_bytes) {
    if (!slope) return;
    table.rows.push_back(
        {{name, amount(is_bytes, slope->value),
          say("{} to {}", amount(is_bytes, slope->ci_low), amount(is_bytes, slope->ci_high))}});
  };
  row("Resident memory", cost.rss_bytes, true);
  row("Proportional memory", cost.pss_bytes, true);
  row("Address space", cost.vsz_bytes, true);
  row("Mappings", cost.mappings, false);
  row("Descriptors", cost.fds, false);
  return table;
}

Table headroom_table(const std::vector<Headroom>& headroom) {
  Table table{"Flows at which a limit is reached, at that cost",
              columns({"", "Flows", "Interval"})};
  const auto flows = [](int64_t n) { return count(std::max<int64_t>(n, 0)); };
  for (const Headroom& h : headroom) {
    table.rows.push_back({{words(spaced(h.limit)), flows(h.flows),
                           say("{} to {}", flows(h.flows_low), flows(h.flows_high))}});
  }
  return table;
}

Table leak_table(const LeakReport& leak) {
  Table table{fmt::format("Leak: {}, {}", leak_verdict_name(leak.verdict), leak.reason),
              columns({"", "=Verdict", "Not back", "A second since", "=Why"})};
  for (const LeakMetric& m : leak.metrics) {
    const bool is_bytes = m.name.ends_with("_bytes");
    const Tone tone = m.verdict == LeakVerdict::kLeak      ? Tone::kBad
                      : m.verdict == LeakVerdict::kUnclear ? Tone::kOpen
                                                           : Tone::kGood;
    table.rows.push_back(
        {{code(m.name), toned(tone, words(leak_verdict_name(m.verdict))),
          m.residue ? amount(is_bytes, *m.residue) : absent(),
          m.slope_per_s ? amount(is_bytes, m.slope_per_s->value) : absent(), words(m.reason)}});
  }
  return table;
}

Table limits_table(const ResourceReading& r) {
  Table table{"Use of limits, as last read, of the process nearest to its own",
              columns({"", "Used", "Limit", "Share"})};
  const auto row = [&](const char* name, const LimitUse& use, bool is_bytes) {
    if (!use.used || !use.limit) return;
    const auto text = [&](int64_t value) { return is_bytes ? bytes(value) : count(value); };
    table.rows.push_back(
        {{name, text(*use.used), text(*use.limit),
          *use.limit > 0 ? share(static_cast<double>(*use.used) / static_cast<double>(*use.limit))
                         : absent()}});
  };
  row("Memory of the host that is left to it", r.memory_bytes, true);
  row("Address space of a process", r.address_space_bytes, true);
  row("Mappings of a process", r.process_mappings, false);
  row("Descriptors of a process", r.process_fds, false);
  return table;
}

Table pressure_table(const PressureInterval& pressure) {
  Table table{"Time in which tasks were stalled", columns({"", "Host", "Cgroup"})};
  const auto row = [&](const char* name, std::optional<uint64_t> StallInterval::*field) {
    const auto &host = pressure.host.*field, &cgroup = pressure.cgroup.*field;
    if (host || cgroup) table.rows.push_back({{name, duration(host), duration(cgroup)}});
  };
  row("some for a CPU", &StallInterval::cpu_some_ns);
  row("some for memory", &StallInterval::memory_some_ns);
  row("all for memory", &StallInterval::memory_full_ns);
  row("some for I/O", &StallInterval::io_some_ns);
  row("all for I/O", &StallInterval::io_full_ns);
  if (pressure.throttled_periods.value_or(0) > 0)
    table.rows.push_back(
        {{"all, its CPU quota used up", absent(),
          say("{} in {} of {} periods", duration(pressure.throttled_ns),
              count(pressure.throttled_periods), count(pressure.cpu_quota_periods))}});
  return table;
}

}  // namespace

Blocks resources(const ReportPage& page) {
  return blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks blocks;
    add_table(blocks, held_table(run.fold, r), Place::kLeft);
    add_table(blocks, pressure_table(run.fold.merged.pressure), Place::kRight);
    if (Facts growth = growth_facts(run.growth); !growth.list.empty())
      blocks.emplace_back(std::move(growth));
    add_table(blocks, per_flow_table(run.growth.per_flow), Place::kWhole, true);
    add_table(blocks, headroom_table(run.growth.headroom), Place::kWhole, true);
    add_table(blocks, limits_table(run.resources));
    add_table(blocks, leak_table(run.growth.leak), Place::kWhole, true);
    return blocks;
  });
}

}  // namespace topspin::sections
