#include "report/sections/all.h"

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/flow/periods.h"
#include "report/sections/parts.h"
#include "report/sections/sections.h"

namespace topspin::sections {

using namespace document;

namespace {

struct Entry {
  const char* id;
  const char* title;
  Blocks (*make)(const ReportPage& page);
  Fold fold = Fold::kOpen;
};

/// In the order of all formats. The least important ones are last, because Markdown leaves those
/// out if there is no room.
constexpr Entry kSections[] = {
    {"comparison", "Comparison", comparison},
    {"changed", "What changed", changed},
    {"history", "History", history},
    {"rules", "Rules", rules},
    {"timeline", "Over time", over_time, Fold::kWhereShort},
    {"distributions", "Latencies", latencies},
    {"load", "Load", load},
    {"flames", "Where the time went", flames, Fold::kWhereShort},
    {"flows", "Flows", flows, Fold::kWhereShort},
    {"threads", "Threads", threads, Fold::kWhereShort},
    {"instead", "Who had the CPUs instead", instead, Fold::kWhereShort},
    {"blocked", "Off the CPU, by reason", blocked, Fold::kWhereShort},
    {"scheduling", "Scheduling", scheduling, Fold::kWhereShort},
    {"sockets", "Sockets and replies", sockets, Fold::kWhereShort},
    {"calls", "What it called", calls, Fold::kWhereShort},
    {"syscalls", "System calls", syscalls, Fold::kWhereShort},
    {"limits", "Resources and limits", resources, Fold::kWhereShort},
    {"provenance", "How it was measured", provenance, Fold::kWhereShort},
    {"numbers", "All numbers", all_numbers, Fold::kAlways},
};

void add(Document& document, const char* id, const char* title, Blocks blocks,
         Fold fold = Fold::kOpen) {
  if (!blocks.empty()) document.sections.push_back({id, title, std::move(blocks), fold});
}

}  // namespace

Document report(const ReportPage& page) {
  CHECK(page.runs.size() == 1 || page.runs.size() == 2);
  Document document;
  document.title = report_title(page);
  document.runs = run_facts(page);
  document.verdict = top_verdict(page);
  document.causes = causes(page);
  // A fault of the server is more important than the run's usability, and a judgement is more
  // important than both.
  const bool is_incident = page.runs.front().run.end.status == RunStatus::kIncident;
  document.causes_lead = !page.judgement && !document.causes.empty() &&
                         (is_incident || document.causes.front().tone == Tone::kBad);
  document.headlines = headlines(page);
  for (const Entry& entry : kSections)
    add(document, entry.id, entry.title, entry.make(page), entry.fold);
  return document;
}

Document findings(const std::vector<Finding>& findings) {
  Document document;
  document.causes = causes_of(findings, {});
  document.causes_lead = true;
  return document;
}

Document judgement(const Judgement& judgement, bool with_bars) {
  Document document;
  document.verdict = judgement_verdict(judgement);
  if (judgement.mode == "history") {
    add(document, "history", "Changes of level", changes_of(judgement));
  } else {
    add(document, "comparison", "Comparison", comparison_of(judgement));
    add(document, "changed", "What changed", causes_of_change(judgement));
    add(document, "distributions", "Distributions", distributions_of(judgement, with_bars),
        Fold::kWhereShort);
  }
  return document;
}

namespace {

Facts file_facts(const FlowInterval& t) {
  const auto protocol = [](const ProtocolCounts& c) {
    return say("{} flows, {} packets, {}", count(c.flows), count(c.packets), bytes(c.bytes));
  };
  return {"",
          {{"packets", say("{}, {}, from {} to {}", count(t.packets), bytes(t.bytes),
                           time_of_day(t.begin_ns), time_of_day(t.end_ns))},
           {"tcp", protocol(t.tcp)},
           {"udp", protocol(t.udp)},
           {"active", say("at most {}{} flows within the window; at most {} in one second",
                          t.active_is_lower_bound ? "at least " : "", count(t.active_flows_max),
                          count(t.seen_flows_per_second_max))}}};
}

}  // namespace

Document file_reading(const FileReading& reading) {
  RunFold fold;
  fold.ticks = 1;
  fold.merged.flows = fold.greatest.flows = reading.totals;
  const FlowInterval& t = reading.totals;
  Document document;
  document.title = fmt::format("{} ({})", reading.file, reading.link_type);
  std::vector<std::string>& reasons = document.verdict.reasons;
  if (reading.error) reasons.push_back("INCOMPLETE: " + *reading.error);
  for (const std::string& doubt : reading.doubts) reasons.push_back("DOUBTFUL: " + doubt);
  if (reading.hidden_by_tag > 0) {
    reasons.push_back(fmt::format(
        "HIDDEN: {} frames match the filter but for their VLAN tag; write FILTER or (vlan and "
        "(FILTER)) to see them too",
        reading.hidden_by_tag));
  }
  document.runs.push_back(file_facts(t));
  const bool periods = topspin::has_lateness(t, reading.period_ns);
  Table latency{"", latency_columns()};
  if (periods) latency.rows.push_back(latency_row(say("Lateness"), t.lateness.summary()));
  latency.rows.push_back(reply_latency_row(say("Reply latency"), t, reading.reply_timeout_ns));
  if (!t.tcp_handshake.empty())
    latency.rows.push_back(latency_row(say("TCP handshake"), t.tcp_handshake.summary()));
  Blocks traffic;
  add_table(traffic, traffic_table(fold, 0));
  if (periods) {
    traffic.emplace_back(Facts{
        "",
        {{"periods", say("{} ticks missed; silent at the end {} of {} flows", count(t.missed_ticks),
                         count(t.silent_flows), count(t.periodic_flows))}}});
  }
  Blocks latencies;
  add_table(latencies, std::move(latency));
  add(document, "distributions", "Latencies", std::move(latencies));
  add(document, "flows", "Traffic", std::move(traffic));
  return document;
}

}  // namespace topspin::sections
