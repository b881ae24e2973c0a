#include "app/commands/run_output.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "ci/metrics/run_metrics.h"
#include "ci/statistics/statistics.h"
#include "report/json/values.h"

namespace topspin {
namespace {

/// A row of the table: a number of the gate, or after those a number of the load.
struct Row {
  std::string name;
  std::string unit;
  std::function<std::optional<double>(const SessionRun&)> take;
};

template <typename T>
std::optional<double> number(const std::optional<T>& value) {
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const RunMetric& metric : run_metrics()) {
    // Without a declared period they are about gaps within connections, which were not scheduled.
    const bool of_period =
        metric.metric.name == "missed_ticks" || metric.metric.name.starts_with("lateness_");
    all.push_back({metric.metric.name, metric.metric.unit,
                   [&metric, of_period](const SessionRun& run) -> std::optional<double> {
                     if (of_period && !run.measured.run.info.settings.period_ns)
                       return std::nullopt;
                     return metric.take(run.measured.totals);
                   }});
  }
  const auto of_load = [&](std::string name, std::string unit,
                           std::function<std::optional<double>(const LoadResult&)> take) {
    all.push_back(
        {std::move(name), std::move(unit), [take = std::move(take)](const SessionRun& run) {
           return run.load ? take(*run.load) : std::nullopt;
         }});
  };
  for (const double quantile : {0.5, 0.99}) {
    of_load(fmt::format("load_latency_ns_p{:.0f}", 100 * quantile), "ns",
            [quantile](const LoadResult& l) {
              return l.expects_replies ? number(l.total.latency_intended.percentile(quantile))
                                       : std::nullopt;
            });
  }
  of_load("load_sent", "1",
          [](const LoadResult& l) { return std::optional<double>(l.total.accounts.sent); });
  of_load("load_lost", "1", [](const LoadResult& l) {
    return l.expects_replies ? std::optional<double>(l.total.accounts.lost) : std::nullopt;
  });
  HttpAccounts{}.for_each_class([&](const char* name, uint64_t) {
    of_load(name, "1", [name](const LoadResult& l) {
      std::optional<double> value;
      if (!l.http) return value;
      l.http->for_each_class([&](std::string_view candidate, uint64_t count) {
        if (candidate == name) value = static_cast<double>(count);
      });
      return value;
    });
  });
  of_load("load_send_errors", "1",
          [](const LoadResult& l) { return std::optional<double>(l.total.accounts.send_errors); });
  of_load("connect_latency_ns_p99", "ns",
          [](const LoadResult& l) { return number(l.connect_latency.percentile(0.99)); });
  of_load("refused", "1", [](const LoadResult& l) {
    return l.tcp ? std::optional<double>(l.tcp->refused) : std::nullopt;
  });
  of_load("listen_overflows", "1", [](const LoadResult& l) {
    return l.tcp ? number(l.kernel.tcp_listen_overflows) : std::nullopt;
  });
  of_load("udp_receive_buffer_drops", "1", [](const LoadResult& l) {
    return l.tcp ? std::nullopt : number(l.kernel.udp_rcvbuf_errors);
  });
  // With UDP, each read is a datagram. So load_sent is this plus udp_receive_buffer_drops, if none
  // was lost elsewhere.
  all.push_back({"datagrams_read", "1", [](const SessionRun& run) {
                   const bool udp = run.load && !run.load->tcp;
                   return udp ? number(run.measured.totals.socket_reads) : std::nullopt;
                 }});
  all.push_back({"capture_drops", "1", [](const SessionRun& run) {
                   return std::optional<double>(run.measured.totals.capture_drops);
                 }});
  return all;
}

bool any_run(const SessionRun&) { return true; }
/// Whether the run is complete and usable.
bool is_whole(const SessionRun& run) {
  const RunStanding standing = run.standing();
  return standing.complete && standing.usable;
}
bool is_held_to_rules(const SessionRun& run) { return run.judged(); }

std::vector<const SessionRun*> runs_of(const SessionResult& result, size_t subject,
                                       bool (*wanted)(const SessionRun&)) {
  std::vector<const SessionRun*> runs;
  for (const SessionRun& run : result.runs) {
    if (run.planned.subject == subject && wanted(run)) runs.push_back(&run);
  }
  return runs;
}

/// The median over the runs that have the number.
std::optional<double> median_of(const std::vector<const SessionRun*>& runs, const Row& row) {
  std::vector<double> values;
  for (const SessionRun* run : runs) {
    if (const auto value = row.take(*run)) values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  return median(values);
}

struct RuleCounts {
  size_t kept = 0;
  size_t broken = 0;
  size_t unknown = 0;
  const SloResult* told = nullptr;  // a broken one, else an unknown one, else a kept one
};

RuleCounts count_rule(const std::vector<const SessionRun*>& runs, size_t rule) {
  RuleCounts counts;
  const auto rank = [](const SloResult& r) {
    return r.verdict == SloVerdict::kBroken ? 2 : r.verdict == SloVerdict::kUnknown ? 1 : 0;
  };
  for (const SessionRun* run : runs) {
    const SloResult& result = run->slos[rule];
    if (result.verdict == SloVerdict::kKept) ++counts.kept;
    if (result.verdict == SloVerdict::kBroken) ++counts.broken;
    if (result.verdict == SloVerdict::kUnknown) ++counts.unknown;
    if (counts.told == nullptr || rank(result) > rank(*counts.told)) counts.told = &result;
  }
  return counts;
}

document::Facts session_facts(const Plan& plan, const SessionOptions& options,
                              const SessionResult& result) {
  return {"",
          {{"plan", document::say("{}", plan.name)},
           {"seed", document::say("{}", fmt::format("{}", options.seed))},
           {"runs", document::say("{} in {}", document::count(result.runs.size()),
                                  document::code(options.database))}}};
}

document::TopVerdict session_verdict(const Plan& plan, const SessionResult& result) {
  using document::Tone;
  if (result.stop_signal != 0)
    return {Tone::kOpen, "Interrupted", "Not every run of the plan was made."};
  switch (session_exit_code(plan, result, false)) {
    case 0: break;
    case 1: return {Tone::kBad, "Rules broken", "A run broke a rule of the plan."};
    default: return {Tone::kOpen, "Not judged", "A subject has no run that may be judged."};
  }
  return plan.rules.empty()
             ? document::TopVerdict{Tone::kGood, "Recorded", "The plan has no rules."}
             : document::TopVerdict{Tone::kGood, "Rules kept", "Each run kept the plan's rules."};
}

document::Table numbers_table(const Plan& plan, const SessionResult& result) {
  document::Table table{"", {{"median of the usable, complete runs", false}}};
  std::vector<document::Row> standing = {{{"complete"}}, {{"usable"}}, {{"may be judged"}}};
  for (size_t subject = 0; subject < plan.subjects.size(); ++subject) {
    table.columns.push_back({plan.subjects[subject].name});
    const auto all = runs_of(result, subject, any_run);
    const auto count = [&](bool RunStanding::*word) {
      const auto with = std::count_if(all.begin(), all.end(),
                                      [&](const SessionRun* run) { return run->standing().*word; });
      return document::say("{} of {}", document::count(with), document::count(all.size()));
    };
    standing[0].cells.emplace_back(count(&RunStanding::complete));
    standing[1].cells.emplace_back(count(&RunStanding::usable));
    standing[2].cells.emplace_back(count(&RunStanding::may_be_judged));
  }
  table.rows = std::move(standing);
  for (const Row& row : rows()) {
    document::Row line{{document::words(row.name)}};
    bool any = false;
    for (size_t subject = 0; subject < plan.subjects.size(); ++subject) {
      const auto value = median_of(runs_of(result, subject, is_whole), row);
      any = any || value;
      line.cells.emplace_back(document::metric_value(row.unit, value));
    }
    if (any) table.rows.push_back(std::move(line));
  }
  return table;
}

document::Table rules_table(const Plan& plan, const SessionResult& result) {
  using document::ours;
  document::Table table{"", {{"", false}, {"subject", false}, {"rule", false}, {"", false}}};
  for (size_t rule = 0; rule < plan.rules.size(); ++rule) {
    for (size_t subject = 0; subject < plan.subjects.size(); ++subject) {
      const RuleCounts counts = count_rule(runs_of(result, subject, is_held_to_rules), rule);
      const document::Span verdict = counts.broken > 0
                                         ? document::toned(document::Tone::kBad, ours("broken"))
                                     : counts.unknown > 0 ? ours("unknown")
                                     : counts.kept > 0    ? ours("kept")
                                                          : ours("not judged");
      table.rows.push_back(
          {{verdict, document::words(plan.subjects[subject].name),
            document::code(plan.rules[rule].text),
            document::words(counts.told != nullptr ? counts.told->explanation : "")}});
    }
  }
  return table;
}

/// Why runs, or some of their numbers, may not be judged.
document::Table standing_table(const SessionResult& result) {
  document::Table table{"", {{"", false}, {"subject", false}, {"repeat"}, {"", false}}};
  for (const SessionRun& run : result.runs) {
    const RunStanding standing = run.standing();
    const auto add = [&](const char* word, const std::string& sentence) {
      table.rows.push_back({{word, document::words(run.subject),
                             document::count(run.planned.repeat), document::words(sentence)}});
    };
    const char* word = !standing.usable     ? "not usable"
                       : !standing.complete ? "not complete"
                                            : "may not be judged";
    for (const std::string& reason : standing.reasons) add(word, reason);
    for (const std::string& note : standing.notes) add("doubtful", note);
  }
  return table;
}

}  // namespace

document::Document session_document(const Plan& plan, const SessionOptions& options,
                                    const SessionResult& result) {
  document::Document document;
  document.title = plan.name;
  document.runs.push_back(session_facts(plan, options, result));
  document.verdict = session_verdict(plan, result);
  document.sections.push_back({"numbers", "Numbers", {numbers_table(plan, result)}});
  document.sections.push_back({"rules", "Rules", {rules_table(plan, result)}});
  document.sections.push_back({"standing", "What may be wrong", {standing_table(result)}});
  std::erase_if(document.sections, [](const document::Section& section) {
    return std::get<document::Table>(section.blocks.front().body).rows.empty();
  });
  return document;
}

std::string session_json(const Plan& plan, const SessionOptions& options,
                         const SessionResult& result) {
  Json json;
  json["schema_version"] = kRunSchemaVersion;
  json["plan"] = plan.name;
  json["session"] = result.session;
  json["seed"] = options.seed;
  json["database"] = options.database;
  json["interrupted"] = result.stop_signal != 0;
  json["runs"] = Json::array();
  for (const SessionRun& run : result.runs) {
    const StoredRun& stored = run.measured.run;
    Json one;
    one["id"] = stored.info.id;
    one["subject"] = run.subject;
    one["repeat"] = run.planned.repeat;
    one["labels"] = stored.info.labels;
    one["status"] = run_status_name(stored.end.status);
    const RunStanding standing = run.standing();
    one["complete"] = standing.complete;
    one["usable"] = standing.usable;
    one["may_be_judged"] = standing.may_be_judged;
    one["judged"] = run.judged();  // whether its rules were judged
    one["reasons"] = standing.reasons;
    one["not_judged_numbers"] = standing.notes;
    one["metrics"] = Json::object();
    for (const Row& row : rows()) {
      const auto value = row.take(run);
      one["metrics"][row.name] = value ? Json(*value) : Json(nullptr);
    }
    one["rules"] = Json::array();
    for (const SloResult& slo : run.slos) {
      one["rules"].push_back({{"rule", slo.rule},
                              {"verdict", slo_verdict_name(slo.verdict)},
                              {"value", slo.value ? Json(*slo.value) : Json(nullptr)},
                              {"bound", slo.bound ? Json(*slo.bound) : Json(nullptr)},
                              {"explanation", slo.explanation}});
    }
    json["runs"].push_back(std::move(one));
  }
  json["exit_code"] = session_exit_code(plan, result, false);
  return dump_json(json, 2);
}

int session_exit_code(const Plan& plan, const SessionResult& result, bool strict) {
  if (result.stop_signal != 0) return 128 + result.stop_signal;
  bool broken = false, unknown = false, left_out = false, none_left = false;
  for (const SessionRun& run : result.runs) {
    if (!run.judged()) {
      left_out = true;
      continue;
    }
    for (const SloResult& slo : run.slos) {
      broken = broken || slo.verdict == SloVerdict::kBroken;
      unknown = unknown || (slo.verdict == SloVerdict::kUnknown && !plan.lenient);
    }
  }
  for (size_t subject = 0; subject < plan.subjects.size(); ++subject)
    none_left = none_left || runs_of(result, subject, is_held_to_rules).empty();
  if (broken) return 1;
  if (none_left || unknown || (strict && left_out)) return exit_code(ErrorCode::kInvalidRun);
  return 0;
}

}  // namespace topspin
