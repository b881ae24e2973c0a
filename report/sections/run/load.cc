// What a load requested and how that ended: in the report of a run, and as the result of
// `topspin load`.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "ci/metrics/load_waits.h"
#include "core/run/load_result.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"
#include "report/sections/sections.h"

namespace topspin::sections {

using namespace document;

namespace {

Line clients(const std::optional<uint32_t>& from, const std::optional<uint32_t>& to) {
  if (!from || !to) return {absent()};
  return *from == *to ? say("{}", count(*to)) : say("{} to {}", count(*from), count(*to));
}

Row load_row(const std::string& name, Line clients, const LoadPart& part, bool is_http) {
  const LoadAccounts& a = part.accounts;
  const HistogramSummary latency = part.latency_intended.summary();
  Row row{
      {words(name, 80), std::move(clients), count(a.scheduled), count(a.sent), count(a.replied)}};
  if (is_http) row.cells.push_back(count(a.http_errors));
  for (Cell cell : {Cell(count(a.late_replies)), Cell(count(a.lost)), Cell(count(a.sent_late)),
                    Cell(count(a.never_scheduled)), Cell(duration(latency.p50)),
                    Cell(duration(latency.p99)), Cell(duration(latency.max))})
    row.cells.push_back(std::move(cell));
  return row;
}

/// Errors are answers with a bad status, and messages of a script with a failed check.
bool has_errors(const LoadResult& load) { return load.http || load.script; }

Table parts_table(const LoadResult& load, const char* title) {
  const bool is_http = has_errors(load);
  Table table{title};
  table.columns = is_http ? columns({"Stage", "-Clients", "Due", "Sent", "Replied",
                                     load.script ? "Errors" : "HTTP errors", "Late", "Lost",
                                     "-Sent late", "-Not sent", "p50", "p99", "Max"})
                          : columns({"Stage", "-Clients", "Due", "Sent", "Replied", "Late", "Lost",
                                     "-Sent late", "-Not sent", "p50", "p99", "Max"});
  for (size_t i = 0; i < std::min(load.stages.size(), kPageStages); ++i) {
    const LoadPart& part = load.stages[i];
    if (part.accounts.scheduled == 0) continue;
    table.rows.push_back(
        load_row(part.name, clients(part.clients_from, part.clients_to), part, is_http));
  }
  table.rows.push_back(load_row("all", {absent()}, load.total, is_http));
  return table;
}

Table steps_table(const LoadResult& load, const char* title) {
  Table table{title,
              columns({"Step", "Begun", "Done", "Errors", "Late", "Failed", "p50", "p99", "Max"})};
  for (const LoadPart& step : load.script->steps) {
    const LoadAccounts& a = step.accounts;
    const HistogramSummary latency = step.latency_intended.summary();
    table.rows.push_back({{words(step.name, 80), count(a.sent), count(a.replied),
                           count(a.http_errors), count(a.late_replies), count(a.lost),
                           duration(latency.p50), duration(latency.p99), duration(latency.max)}});
  }
  return table;
}

Table checks_table(const LoadResult& load, const char* title) {
  Table table{title, columns({"Check", "Passed", "Failed"})};
  for (const ScriptCheck& check : load.script->checks) {
    table.rows.push_back(
        {{words(check.name, 80), count(check.passed),
          check.failed > 0 ? Cell(toned(Tone::kBad, count(check.failed))) : Cell(count(0))}});
  }
  return table;
}

/// What failed in a script, by reason: messages, what was outside of them, and clients.
Table failures_table(const LoadResult& load, const char* title) {
  Table table{title, columns({"=What", "Times", "=Why"})};
  const auto add = [&](const char* what, const std::map<std::string, uint64_t>& reasons) {
    for (const auto& [reason, times] : reasons)
      table.rows.push_back({{words(what), count(times), words(reason, 300)}});
  };
  add("messages lost", load.script->failures);
  add("failed outside of turns and steps", load.script->outside_failures);
  add("clients ended by an error", load.script->errors);
  return table;
}

Line script_line(const LoadResult& load) {
  const ScriptAccounts& script = *load.script;
  const double wall_ns = static_cast<double>(std::max<int64_t>(1, load.own.wall_ns));
  return say(
      "{} of the time inside it; it delayed {} messages by more than the limit, p99 {}; "
      "memory of its objects {}",
      share(static_cast<double>(script.script_ns) / wall_ns), count(script.script_late),
      duration(script.script_delay.summary().p99),
      bytes(static_cast<double>(script.memory_max_bytes)));
}

Line what_was_loaded(const LoadResult& load) {
  return say("{} to {}", workload_name(load.workload), words(load.target, 120));
}

Blocks load_blocks(const LoadResult& load) {
  Line verdict = say("{}, {}", what_was_loaded(load),
                     load.valid() ? words("valid") : toned(Tone::kBad, words("invalid")));
  for (const std::string& reason : load.invalid_reasons)
    append(verdict, say("; {}", words(reason)));
  Blocks blocks{Paragraph{std::move(verdict)}};
  if (load.http) {
    const uint64_t errors = load.total.accounts.http_errors;
    blocks.emplace_back(
        Paragraph{say("HTTP statuses: {}; {} errors.", http_statuses_text(*load.http),
                      errors > 0 ? toned(Tone::kBad, count(errors)) : count(errors))});
  }
  if (load.http && load.http->malformed > 0)
    blocks.emplace_back(Paragraph{say("{}.", words(http_malformed_text(*load.http), 120))});
  if (load.http && !load.http->checks.empty())
    blocks.emplace_back(
        Paragraph{say("Answers that failed a check: {}.", words(http_checks_text(*load.http)))});
  if (load.http && !load.http->failures.empty())
    blocks.emplace_back(Paragraph{say("Failed: {}.", words(http_failures_text(*load.http)))});
  if (load.tls) {
    const HistogramSummary handshake = load.tls->handshake_latency.summary();
    blocks.emplace_back(
        Paragraph{say("TLS: {} handshakes, {} of them resumed, {} failed; median {}, p99 {}.",
                      count(load.tls->handshakes), count(load.tls->resumed),
                      count(load.tls->failed), duration(handshake.p50), duration(handshake.p99))});
  }
  if (load.tcp && load.tcp->lost() > 0) {
    const TcpAccounts& t = *load.tcp;
    blocks.emplace_back(Paragraph{
        say("Lost: {} refused, {} reset, {} truncated, {} timed out, {} failed otherwise.",
            count(t.refused), count(t.reset_before_bytes + t.reset_after_bytes), count(t.truncated),
            count(t.timeouts), count(t.failed))});
  }
  blocks.emplace_back(parts_table(load, "What became of it"));
  if (load.script) {
    blocks.emplace_back(Paragraph{say("Script: {}.", script_line(load))});
    add_table(blocks, steps_table(load, "Steps"));
    add_table(blocks, checks_table(load, "Checks"));
    add_table(blocks, failures_table(load, "Failures of the script"));
  }
  return blocks;
}

Table stages_table(const std::vector<RunStage>& stages) {
  Table table{"Stages", columns({"Stage", "=Kind", "From", "To", "Clients"})};
  for (const RunStage& stage : stages) {
    table.rows.push_back({{words(stage.name, 80), words(spaced(stage_kind_name(stage.kind))),
                           moment(stage.start_ns), stage.end_ns ? moment(*stage.end_ns) : absent(),
                           clients(stage.clients_from, stage.clients_to)}});
  }
  return table;
}

/// The stages of a search: its curve.
Table find_table(const LoadFind& find) {
  const bool by_rate = find.by == FindBy::kRate;
  const bool knows_subject = std::any_of(find.stages.begin(), find.stages.end(),
                                         [](const FindStage& stage) { return stage.subject; });
  Table table;
  table.columns =
      knows_subject
          ? columns({by_rate ? "Rate" : "Clients", by_rate ? "-Clients" : "-Rate", "Due", "Sent",
                     "Replied", "Lost", "p50", "p99", "-Own late", "-Own CPU", "CPUs", "=Verdict"})
          : columns({by_rate ? "Rate" : "Clients", by_rate ? "-Clients" : "-Rate", "Due", "Sent",
                     "Replied", "Lost", "p50", "p99", "-Own late", "-Own CPU", "=Verdict"});
  for (const FindStage& stage : find.stages) {
    Row row{
        {words(find_level_text(find.by, stage.level)),
         by_rate ? Cell(count(stage.clients)) : Cell(words(fmt::format("{:.0f}/s", stage.rate()))),
         count(stage.scheduled), count(stage.sent), count(stage.replied), count(stage.lost),
         duration(stage.latency.p50), duration(stage.latency.p99), duration(stage.own_lateness.p99),
         share(stage.own_cpu_share)}};
    if (knows_subject)
      row.cells.push_back(stage.subject ? Cell(number(Unit::kCpus, stage.subject->cpus))
                                        : Cell(absent()));
    Cell verdict(words(find_verdict_name(stage.verdict)));
    verdict.tone = stage.verdict == FindVerdict::kKept     ? Tone::kGood
                   : stage.verdict == FindVerdict::kBroken ? Tone::kBad
                                                           : Tone::kOpen;
    if (!stage.why.empty()) verdict.under = say("{}", words(stage.why));
    row.cells.push_back(std::move(verdict));
    table.rows.push_back(std::move(row));
  }
  table.unders_in_text = false;
  return table;
}

TopVerdict find_verdict(const LoadFind& find) {
  const bool is_answer = find.end == FindEnd::kBorder || find.end == FindEnd::kMost;
  const bool has_kept = find.kept.has_value();
  TopVerdict verdict{is_answer  ? Tone::kGood
                     : has_kept ? Tone::kOpen
                                : Tone::kBad,
                     has_kept ? (find.end == FindEnd::kBorder ? "Found" : "At least") : "Not found",
                     find_answer_text(find)};
  for (const std::string& limit : find.limits) verdict.reasons.push_back("The limit: " + limit);
  return verdict;
}

TopVerdict result_verdict(const LoadResult& load) {
  if (load.find && load.valid()) return find_verdict(*load.find);
  if (load.valid()) return {Tone::kGood, "Valid", "The generator was not the bottleneck."};
  return {Tone::kBad, "Invalid", "These numbers do not describe the server.", load.invalid_reasons};
}

Facts result_facts(const LoadResult& load) {
  Facts facts;
  facts.list.emplace_back("workload", what_was_loaded(load));
  facts.list.emplace_back(
      "time", say("{} from {}{}", duration(load.own.wall_ns), time_of_day(load.started_wall_ns),
                  load.stopped_early ? ", stopped early" : ""));
  facts.list.emplace_back("clients", say("{} at most at once, {} in all{}", count(load.clients_max),
                                         count(load.clients_joined),
                                         load.own.shared_sockets ? ", on shared sockets" : ""));
  return facts;
}

void add_accounts(const LoadResult& load, Facts& facts) {
  const LoadAccounts& a = load.total.accounts;
  facts.list.emplace_back(
      "scheduled",
      say("{} = sent {} + send errors {} + never scheduled {} (blocked {})", count(a.scheduled),
          count(a.sent), count(a.send_errors), count(a.never_scheduled), count(a.blocked)));
  if (!load.expects_replies) {
    const double seconds = static_cast<double>(std::max<int64_t>(1, load.own.wall_ns)) / 1e9;
    facts.list.emplace_back(
        "sent", say("{} packets/s{}", count(std::round(static_cast<double>(a.sent) / seconds)),
                    load.gso ? ", segmented by the kernel (GSO)" : ""));
    return;
  }
  facts.list.emplace_back("sent", say("{} = replied {} + late replies {} + lost {}", count(a.sent),
                                      count(a.replied), count(a.late_replies), count(a.lost)));
  facts.list.emplace_back(
      "also", say("sent late {}, duplicates {}, unexpected {}, dead clients {}", count(a.sent_late),
                  count(a.duplicates), count(a.unexpected), count(a.dead_clients)));
  if (const uint64_t waited = blocked_ns(load.total); waited > 0)
    facts.list.emplace_back(
        "blocked", say("the sent messages waited {} in all for an earlier message of their own "
                       "client",
                       duration(waited)));
}

void add_answers(const LoadResult& load, Facts& facts) {
  const LoadAccounts& a = load.total.accounts;
  if (load.tcp) {
    const TcpAccounts& t = *load.tcp;
    facts.list.emplace_back(
        "tcp",
        say("connected {}, refused {}, SYN retries {}, timeouts {}, failed {},", count(t.connected),
            count(t.refused), count(t.syn_retries), count(t.timeouts), count(t.failed)));
    facts.list.emplace_back(
        "", say("reset before bytes {}, reset after {}, truncated {}", count(t.reset_before_bytes),
                count(t.reset_after_bytes), count(t.truncated)));
  }
  if (!load.http) return;
  facts.list.emplace_back("http", say("{}; bodies {}", words(http_statuses_text(*load.http)),
                                      bytes(load.http->body_bytes)));
  if (load.http->malformed > 0)
    facts.list.emplace_back("", say("{}", words(http_malformed_text(*load.http))));
  const uint64_t answers = a.replied + a.late_replies;
  if (!load.http->checks.empty())
    facts.list.emplace_back("checks", say("failed by {}", words(http_checks_text(*load.http))));
  if (!load.http->failures.empty())
    facts.list.emplace_back("failed", say("{}", words(http_failures_text(*load.http))));
  if (load.http->sent_again > 0)
    facts.list.emplace_back("sent again", say("{} requests that the server had not touched",
                                              count(load.http->sent_again)));
  if (load.http->cookies_dropped > 0)
    facts.list.emplace_back(
        "cookies", say("{} found no room at their client", count(load.http->cookies_dropped)));
  if (load.tls) {
    std::vector<Line> versions;
    for (const auto& [version, times] : load.tls->versions)
      versions.push_back(say("{} {}", words(version), count(times)));
    facts.list.emplace_back(
        "tls", say("handshakes {}, resumed {}, failed {}{}{}", count(load.tls->handshakes),
                   count(load.tls->resumed), count(load.tls->failed), versions.empty() ? "" : "; ",
                   listed(versions)));
  }
  if (const uint64_t errors = a.http_errors; errors > 0)
    facts.list.emplace_back("",
                            say("{} of {} answers were errors ({})", count(errors), count(answers),
                                share(static_cast<double>(errors) / static_cast<double>(answers))));
}

/// Adds the kernels' errors and counters. Counters of this host that stayed at 0 are left out.
void add_kernel(const LoadResult& load, Facts& facts) {
  for (const auto& [name, errors] : load.errors)
    facts.list.emplace_back("send error", say("{} {}", words(name), count(errors)));
  if (load.port_unreachable > 0)
    facts.list.emplace_back("port unreachable",
                            say("{}: nobody listens there", count(load.port_unreachable)));
  std::vector<Line> host;
  const auto add = [&](const char* name, const std::optional<uint64_t>& value) {
    if (value && *value > 0) host.push_back(say("{} {}", name, count(*value)));
  };
  add("UDP receive buffer errors", load.kernel.udp_rcvbuf_errors);
  add("UDP no port", load.kernel.udp_no_ports);
  if (load.tcp) add("passive opens", load.kernel.tcp_passive_opens);
  add("listen overflows", load.kernel.tcp_listen_overflows);
  if (!host.empty()) facts.list.emplace_back("host", listed(host));
}

Facts accounts(const LoadResult& load) {
  Facts facts;
  add_accounts(load, facts);
  add_answers(load, facts);
  for (const auto& [reason, times] : load.never_scheduled_reasons)
    facts.list.emplace_back("not sent", say("{}: {}", count(times), words(reason)));
  add_kernel(load, facts);
  if (load.script) {
    const ScriptAccounts& script = *load.script;
    facts.list.emplace_back("clients",
                            say("returned {}, failed {}, left {}", count(script.clients_returned),
                                count(script.clients_failed), count(script.clients_left)));
    facts.list.emplace_back(
        "sockets",
        say("sends {}, receives {}, bytes {} out and {} in", count(script.messages_sent),
            count(script.messages_received), bytes(static_cast<double>(script.bytes_sent)),
            bytes(static_cast<double>(load.bytes_received))));
    facts.list.emplace_back("script", script_line(load));
  }
  const double wall_ns = static_cast<double>(std::max<int64_t>(1, load.own.wall_ns));
  facts.list.emplace_back(
      "generator",
      say("{}CPU {} of a core, memory {}",
          load.workers.empty() ? std::string()
                               : fmt::format("{} {}; ", load.workers.size(),
                                             load.are_threads ? "threads" : "workers"),
          share(static_cast<double>(load.own.cpu_ns) / wall_ns), bytes(load.own.rss_bytes)));
  return facts;
}

Table result_latencies(const LoadResult& load) {
  Table table{"", latency_columns()};
  const auto add = [&](const char* name, const Histogram& histogram) {
    if (!histogram.empty()) table.rows.push_back(latency_row(say("{}", name), histogram.summary()));
  };
  if (load.expects_replies) {
    add("From the intended moment", load.total.latency_intended);
    add("From the actual sending", load.total.latency_actual);
  }
  if (load.tcp || load.script) add("Connect", load.connect_latency);
  if (load.tls) add("TLS handshake", load.tls->handshake_latency);
  add("Lateness of the generator", load.total.own_lateness);
  if (load.script) add("Delay by the script", load.script->script_delay);
  return table;
}

/// CPU time of the thread that ran a part of the load, as a share of a core.
Cell cpu_share(const WorkerPart& part) {
  if (!part.cpu_ns || !part.wall_ns || *part.wall_ns <= 0) return Cell(absent());
  return Cell(share(static_cast<double>(*part.cpu_ns) / static_cast<double>(*part.wall_ns)));
}

Table threads_table(const LoadResult& load) {
  Table table;
  table.columns = columns({"Thread", "Due", "Sent", "Replied", "Lost", "-Sent late", "-Not sent",
                           "Late p99", "Late max", "Reply p99", "CPU"});
  for (const WorkerPart& thread : load.workers) {
    const LoadAccounts& a = thread.accounts;
    const HistogramSummary lateness = thread.own_lateness.summary();
    table.rows.push_back({{words(thread.id, 32), count(a.scheduled), count(a.sent),
                           count(a.replied), count(a.lost), count(a.sent_late),
                           count(a.never_scheduled), duration(lateness.p99), duration(lateness.max),
                           duration(thread.latency_intended.summary().p99), cpu_share(thread)}});
  }
  return table;
}

}  // namespace

Table workers_table(const LoadResult& load) {
  Table table;
  table.columns =
      columns({"Worker", "Host", "Labels", "End", "Due", "Sent", "Replied", "Lost", "-Not sent",
               "Perhaps sent", "Late p99", "Reply p99", "CPU", "Clock error"});
  for (const WorkerPart& worker : load.workers) {
    const LoadAccounts& a = worker.accounts;
    Row row{{words(worker.id, 32), words(worker.host, 64), words(worker.labels, 80),
             words(worker_end_name(worker.end)), count(a.scheduled), count(a.sent),
             count(a.replied), count(a.lost), count(a.never_scheduled), count(worker.perhaps_sent),
             duration(worker.own_lateness.summary().p99),
             duration(worker.latency_intended.summary().p99), cpu_share(worker),
             duration(worker.clock_error_ns)}};
    table.rows.push_back(std::move(row));
  }
  return table;
}

Document load_result(const LoadResult& load) {
  Document document;
  document.title = "Load";
  document.verdict = result_verdict(load);
  document.runs.push_back(result_facts(load));
  if (load.find)
    document.sections.push_back({"find", "Stages of the search", {find_table(*load.find)}});
  document.sections.push_back({"accounts", "Messages", {accounts(load)}});
  if (Table latencies = result_latencies(load); !latencies.rows.empty())
    document.sections.push_back({"latencies", "Latency", {std::move(latencies)}});
  if (load.script) {
    if (Table steps = steps_table(load, ""); !steps.rows.empty())
      document.sections.push_back({"steps", "Steps", {std::move(steps)}});
    if (Table checks = checks_table(load, ""); !checks.rows.empty())
      document.sections.push_back({"checks", "Checks", {std::move(checks)}});
    if (Table failures = failures_table(load, ""); !failures.rows.empty())
      document.sections.push_back({"failures", "Failures", {std::move(failures)}});
  }
  if (load.stages.size() > 1 && !load.find)
    document.sections.push_back({"stages", "Stages", {parts_table(load, "")}});
  if (!load.workers.empty() && load.are_threads)
    document.sections.push_back({"threads", "Threads", {threads_table(load)}});
  else if (!load.workers.empty())
    document.sections.push_back({"workers", "Workers", {workers_table(load)}});
  return document;
}

Blocks load(const ReportPage& page) {
  return blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks blocks;
    if (run.load) blocks = load_blocks(*run.load);
    add_table(blocks, stages_table(run.stages));
    return blocks;
  });
}

}  // namespace topspin::sections
