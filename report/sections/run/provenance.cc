// How it was measured: host, settings, probes with their rungs, losses, and what topspin used.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

/// Leaves out facts that are not known.
class FactList {
 public:
  explicit FactList(const char* title) { facts_.title = title; }
  void add(const char* key, Line line) { facts_.list.emplace_back(key, std::move(line)); }
  void add(const char* key, const std::string& text, size_t most_bytes = kPageTextBytes) {
    if (!text.empty()) add(key, say("{}", words(text, most_bytes)));
  }
  Facts take() { return std::move(facts_); }

 private:
  Facts facts_;
};

Facts host_facts(const HostInfo& host) {
  FactList list("Host");
  list.add("Host", host.hostname);
  list.add("CPU", host.cpus_online ? fmt::format("{} × {}", *host.cpus_online, host.cpu_model)
                                   : host.cpu_model);
  if (host.memory_bytes) list.add("Memory", say("{}", bytes(host.memory_bytes)));
  list.add("System", host.os);
  list.add("Kernel", fmt::format("{} {}", host.kernel, host.architecture));
  list.add("Virtual machine", host.hypervisor);
  if (!host.fingerprint.empty()) list.add("Fingerprint", say("{}", code(host.fingerprint)));
  return list.take();
}

Facts settings_facts(const StoredRun& run) {
  const RunInfo& info = run.info;
  const RunSettings& s = info.settings;
  FactList list("Run and settings");
  list.add("Run", say("{}", code(info.id)));
  if (!info.command.empty())
    list.add("Command", say("{}", code(fmt::format("{}", fmt::join(info.command, " ")), 2000)));
  list.add("Subject", s.subject);
  list.add("Interface", s.interface);
  list.add("Filter", s.filter, 2000);
  list.add("Period", s.period_ns ? say("{}", duration(s.period_ns))
                                 : say("learned, of flows that are regular"));
  list.add("Window", say("{}", duration(s.window_ns)));
  list.add("Tick", say("{}", duration(s.interval_ns)));
  list.add("Reply timeout", say("{}", duration(s.reply_timeout_ns)));
  list.add("Ticks", say("{}", count(run.ticks)));
  list.add("Status", std::string(run_status_name(run.end.status)));
  list.add("topspin", info.topspin_version);
  return list.take();
}

bool lacks_subject(const ProbeStatus& probe) {
  return probe.rung == Rung::kNone && probe.reason.starts_with("no subject");
}

void add_probes(Blocks& blocks, const std::vector<ProbeStatus>& probes) {
  Table table{"Probes", columns({"Probe", "=Rung", "=Why not a better one"})};
  std::vector<Line> without_subject;  // shown as one line
  for (const ProbeStatus& probe : probes) {
    if (lacks_subject(probe)) {
      without_subject.push_back(say("{}", words(probe.name, 80)));
      continue;
    }
    table.rows.push_back({{words(probe.name, 80), code(rung_name(probe.rung)),
                           probe.reason.empty() ? absent() : words(probe.reason)}});
  }
  add_table(blocks, std::move(table), Place::kLeft);
  if (!without_subject.empty())
    blocks.emplace_back(Paragraph{say("no subject, so not measured: {}", listed(without_subject))},
                        Place::kLeft);
}

Table losses_table(const Sample& sample, size_t run) {
  Table table{"Losses", columns({"", ""})};
  for_each_loss(sample, [&](const Number& number, uint64_t raw) {
    const std::string_view name = LossInterval::bare_name(number);
    Cell what = code(name);
    what.under = say("{}", number.label);
    table.rows.push_back(
        {{std::move(what), at_path(name.ends_with("_ns") ? duration(raw) : count(raw),
                                   fmt::format("losses.{}", name), run)},
         raw == 0 ? Shown::kOnPages : Shown::kEverywhere});
  });
  return table;
}

Facts self_facts(const RunPage& run) {
  const SelfInterval& self = run.fold.merged.self;
  const uint64_t packets = run.fold.merged.flows.packets;
  FactList list("What topspin itself used");
  Line cpu = say("{}", duration(self.cpu_ns));
  const auto of_one_cpu = [&](int64_t ns) {
    return share(static_cast<double>(ns) / static_cast<double>(run.elapsed_ns));
  };
  if (run.elapsed_ns > 0) append(cpu, say(", {} of one CPU", of_one_cpu(self.cpu_ns)));
  list.add("CPU", std::move(cpu));
  if (packets > 0)
    list.add("CPU per packet",
             say("{}", duration(static_cast<double>(self.cpu_ns) / static_cast<double>(packets))));
  list.add("BPF programs", self.bpf_ns ? say("{}", duration(self.bpf_ns))
                                       : say("run time not counted by this kernel"));
  list.add("Resident memory", say("{} at most", bytes(self.rss_bytes)));
  if (self.host_steal_ns && run.elapsed_ns > 0)
    list.add("Stolen by the hypervisor", say("{} of one CPU", of_one_cpu(*self.host_steal_ns)));
  return list.take();
}

}  // namespace

Blocks provenance(const ReportPage& page) {
  return blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks blocks;
    blocks.emplace_back(host_facts(run.run.info.host), Place::kLeft);
    add_probes(blocks, run.run.info.probes);
    blocks.emplace_back(settings_facts(run.run), Place::kRight);
    blocks.emplace_back(self_facts(run), Place::kRight);
    add_table(blocks, losses_table(run.fold.merged, r));
    return blocks;
  });
}

}  // namespace topspin::sections
