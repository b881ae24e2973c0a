// What a load asked for and what became of it, stage by stage.
#include <algorithm>

#include "core/run/load_result.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

Line clients(const std::optional<uint32_t>& from, const std::optional<uint32_t>& to) {
  if (!from || !to) return {absent()};
  return *from == *to ? say("{}", count(*to)) : say("{} to {}", count(*from), count(*to));
}

Row load_row(const std::string& name, const LoadPart& part, bool is_http) {
  const LoadAccounts& a = part.accounts;
  const HistogramSummary latency = part.latency_intended.summary();
  Row row{{words(name, 80), clients(part.clients_from, part.clients_to), count(a.scheduled),
           count(a.sent), count(a.replied)}};
  if (is_http) row.cells.push_back(count(a.http_errors));
  for (Cell cell : {Cell(count(a.late_replies)), Cell(count(a.lost)), Cell(count(a.sent_late)),
                    Cell(count(a.never_scheduled)), Cell(duration(latency.p50)),
                    Cell(duration(latency.p99)), Cell(duration(latency.max))})
    row.cells.push_back(std::move(cell));
  return row;
}

Table parts_table(const LoadResult& load) {
  const bool is_http = load.http.has_value();
  Table table{"What became of it"};
  table.columns = is_http
                      ? columns({"Stage", "-Clients", "Due", "Sent", "Replied", "HTTP errors",
                                 "Late", "Lost", "-Sent late", "-Not sent", "p50", "p99", "Max"})
                      : columns({"Stage", "-Clients", "Due", "Sent", "Replied", "Late", "Lost",
                                 "-Sent late", "-Not sent", "p50", "p99", "Max"});
  for (size_t i = 0; i < std::min(load.stages.size(), kPageStages); ++i)
    table.rows.push_back(load_row(load.stages[i].name, load.stages[i], is_http));
  table.rows.push_back(load_row("all", load.total, is_http));
  return table;
}

Blocks load_blocks(const LoadResult& load) {
  Line verdict = say("{} to {}, {}", workload_name(load.workload), words(load.target, 120),
                     load.valid() ? words("valid") : toned(Tone::kBad, words("invalid")));
  for (const std::string& reason : load.invalid_reasons)
    append(verdict, say("; {}", words(reason)));
  Blocks blocks{Paragraph{std::move(verdict)}};
  if (load.http) {
    const uint64_t errors = load.http->errors();
    blocks.emplace_back(
        Paragraph{say("HTTP statuses: {}; {} errors.", http_statuses_text(*load.http),
                      errors > 0 ? toned(Tone::kBad, count(errors)) : count(errors))});
  }
  if (load.http && load.http->malformed > 0)
    blocks.emplace_back(Paragraph{say("{}.", words(http_malformed_text(*load.http), 120))});
  if (load.tcp && load.tcp->lost() > 0) {
    const TcpAccounts& t = *load.tcp;
    blocks.emplace_back(Paragraph{
        say("Lost: {} refused, {} reset, {} truncated, {} timed out, {} failed otherwise.",
            count(t.refused), count(t.reset_before_bytes + t.reset_after_bytes), count(t.truncated),
            count(t.timeouts), count(t.failed))});
  }
  blocks.emplace_back(parts_table(load));
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

}  // namespace

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
