#include "app/commands/run_output.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "ci/run_metrics.h"
#include "ci/statistics.h"
#include "core/text.h"
#include "report/json/values.h"
#include "report/markdown/markdown_report.h"

namespace topspin {
namespace {

/// A number of a run for the table: those that the gate knows, then those of the load.
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
    // Without a declared period they are of gaps within connections, which nobody scheduled.
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
  // Of UDP each read is a datagram: load_sent is this and udp_receive_buffer_drops, if none was
  // lost elsewhere.
  all.push_back({"datagrams_read", "1", [](const SessionRun& run) {
                   const bool udp = run.load && !run.load->tcp;
                   return udp ? number(run.measured.totals.socket_reads) : std::nullopt;
                 }});
  all.push_back({"capture_drops", "1", [](const SessionRun& run) {
                   return std::optional<double>(run.measured.totals.capture_drops);
                 }});
  return all;
}

std::string show(double value, const std::string& unit) {
  if (unit == "ns") return format_duration(static_cast<int64_t>(value));
  if (unit == "bytes") return format_bytes(static_cast<int64_t>(value));
  if (unit == kUnitOfShares) return fmt::format("{:.4g}%", 100 * value);
  const char* suffix = unit == "1/s" ? "/s" : "";
  return value == std::floor(value) || std::abs(value) >= 1000
             ? fmt::format("{:.0f}{}", value, suffix)
             : fmt::format("{:.4g}{}", value, suffix);
}

bool any_run(const SessionRun&) { return true; }
/// What it was meant to be, and worth reading.
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

using Cells = std::vector<std::vector<std::string>>;

std::string lay_out(const Cells& cells, bool markdown) {
  std::vector<size_t> widths;
  for (const auto& line : cells) {
    widths.resize(std::max(widths.size(), line.size()));
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string out;
  for (size_t row = 0; row < cells.size(); ++row) {
    std::string line = markdown ? "|" : "";
    for (size_t i = 0; i < cells[row].size(); ++i) {
      const std::string cell = i == 0 ? fmt::format("{:<{}}", cells[row][i], widths[i])
                                      : fmt::format("{:>{}}", cells[row][i], widths[i]);
      line += markdown ? fmt::format(" {} |", cell) : (i == 0 ? "" : "  ") + cell;
    }
    out += line + "\n";
    if (markdown && row == 0) {
      out += "|";
      for (size_t i = 0; i < cells[row].size(); ++i) out += i == 0 ? " --- |" : " ---: |";
      out += "\n";
    }
  }
  return out;
}

struct RuleCounts {
  size_t kept = 0;
  size_t broken = 0;
  size_t unknown = 0;
  const SloResult* told = nullptr;  // of a broken one, else of an unknown, else of a kept one
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

}  // namespace

std::string session_text(const Plan& plan, const SessionOptions& options,
                         const SessionResult& result, bool markdown) {
  // Every name is hostile: it stays on its line, and is no markup. Lines that are indented by four
  // are code in Markdown, where nothing is markup.
  const auto inline_text = [markdown](const std::string& text) {
    return markdown ? markdown_text(text) : sanitize_for_terminal(text);
  };
  const auto code = [](const std::string& text) { return sanitize_for_terminal(text); };
  std::string out = fmt::format("plan {}, seed {}, {} runs in {}\n", inline_text(plan.name),
                                options.seed, result.runs.size(), inline_text(options.database));
  if (markdown) out += "\n";
  Cells cells = {
      {"median of the usable, complete runs"}, {"complete"}, {"usable"}, {"may be judged"}};
  for (size_t subject = 0; subject < plan.subjects.size(); ++subject) {
    cells[0].push_back(inline_text(plan.subjects[subject].name));
    const auto all = runs_of(result, subject, any_run);
    const auto count = [&](bool RunStanding::*word) {
      const auto with = std::count_if(all.begin(), all.end(),
                                      [&](const SessionRun* run) { return run->standing().*word; });
      return fmt::format("{} of {}", with, all.size());
    };
    cells[1].push_back(count(&RunStanding::complete));
    cells[2].push_back(count(&RunStanding::usable));
    cells[3].push_back(count(&RunStanding::may_be_judged));
  }
  for (const Row& row : rows()) {
    std::vector<std::string> line = {row.name};
    bool any = false;
    for (size_t subject = 0; subject < plan.subjects.size(); ++subject) {
      const auto value = median_of(runs_of(result, subject, is_whole), row);
      any = any || value;
      line.push_back(value ? show(*value, row.unit) : "-");
    }
    if (any) cells.push_back(std::move(line));
  }
  out += lay_out(cells, markdown);
  for (size_t rule = 0; rule < plan.rules.size(); ++rule) {
    if (rule == 0) out += "\n";
    for (size_t subject = 0; subject < plan.subjects.size(); ++subject) {
      const auto runs = runs_of(result, subject, is_held_to_rules);
      const RuleCounts counts = count_rule(runs, rule);
      const char* verdict = counts.broken > 0    ? "BROKEN"
                            : counts.unknown > 0 ? "unknown"
                            : counts.kept > 0    ? "kept"
                                                 : "not judged";
      out += fmt::format("{}{:<10} {:<12} {}{}\n", markdown ? "    " : "", verdict,
                         code(plan.subjects[subject].name), code(plan.rules[rule].text),
                         counts.told != nullptr ? ": " + code(counts.told->explanation) : "");
    }
  }
  bool code_begun = !plan.rules.empty();
  for (const SessionRun& run : result.runs) {
    const RunStanding standing = run.standing();
    const auto add = [&](const char* word, const std::string& sentence) {
      if (markdown && !code_begun) out += "\n";
      code_begun = true;
      out += fmt::format("{}{}: {}, repeat {}: {}\n", markdown ? "    " : "", word,
                         code(run.subject), run.planned.repeat, code(sentence));
    };
    const char* word = !standing.usable     ? "not usable"
                       : !standing.complete ? "not complete"
                                            : "may not be judged";
    for (const std::string& reason : standing.reasons) add(word, reason);
    for (const std::string& note : standing.notes) add("doubtful", note);
  }
  return out;
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
    one["judged"] = run.judged();  // its rules were
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
