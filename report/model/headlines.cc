#include "report/model/headlines.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/periods.h"
#include "report/document/readable.h"

namespace topspin {
namespace {

using Value = Headline::Value;

Value absent() { return {std::nullopt, std::string(kNotMeasured), {}}; }

Headline headline(const ReportPage& page, std::string path, std::string label,
                  const auto& value_of) {
  Headline h{std::move(path), std::move(label), {}};
  for (const RunPage& run : page.runs) h.of_run.push_back(value_of(run));
  return h;
}

/// A latency at the highest percentile that all runs have samples enough for.
struct Percentile {
  std::string_view name;
  std::optional<int64_t> HistogramSummary::*field;
};
constexpr Percentile kPercentiles[] = {{"p99", &HistogramSummary::p99},
                                       {"p90", &HistogramSummary::p90},
                                       {"p50", &HistogramSummary::p50},
                                       {"max", &HistogramSummary::max}};

/// Adds nothing where no run measured it.
void add_latency(std::vector<Headline>& list, const ReportPage& page, std::string_view json_name,
                 std::string_view label, const auto& summary_of, const auto& text_of,
                 const auto& more_of) {
  std::vector<HistogramSummary> summaries;
  for (const RunPage& run : page.runs) summaries.push_back(summary_of(run));
  if (std::all_of(summaries.begin(), summaries.end(),
                  [](const HistogramSummary& s) { return s.count == 0; }))
    return;
  const Percentile* best = &kPercentiles[3];
  for (const Percentile& p : kPercentiles) {
    const bool all = std::all_of(
        summaries.begin(), summaries.end(),
        [&](const HistogramSummary& s) { return s.count == 0 || (s.*p.field).has_value(); });
    if (all) {
      best = &p;
      break;
    }
  }
  Headline h{
      fmt::format("{}.{}", json_name, best->name), fmt::format("{} {}", label, best->name), {}};
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    const HistogramSummary& s = summaries[r];
    const auto& value = s.*best->field;
    if (!value) {
      h.of_run.push_back(absent());
      continue;
    }
    std::string extra;
    if (best->field != &HistogramSummary::max) {
      extra = s.p50 && best->field != &HistogramSummary::p50
                  ? fmt::format("median {}, max {}", text_of(run, *s.p50), text_of(run, *s.max))
                  : fmt::format("max {}", text_of(run, *s.max));
    }
    if (const std::string more = more_of(run); !more.empty())
      extra += (extra.empty() ? "" : "; ") + more;
    h.of_run.push_back({static_cast<double>(*value), text_of(run, *value), std::move(extra)});
  }
  list.push_back(std::move(h));
}

bool any_run_has(const Headline& h) {
  return std::any_of(h.of_run.begin(), h.of_run.end(), [](const Value& v) { return v.raw; });
}

std::string plural(uint64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", page_count(count), count == 1 ? one : many);
}

bool is_http_load(const RunPage& run) { return run.measured.load && run.measured.load->is_http; }

/// Of a load always; of what only the wire tells where something failed.
bool has_failed_work_to_tell(const RunPage& run) {
  const auto share = failed_share(run.measured);
  return share && (run.measured.load || *share > 0);
}

/// A count of TCP connections that is told where it is not 0.
void add_if_it_occurs(std::vector<Headline>& list, const ReportPage& page, std::string path,
                      std::string label, uint64_t FlowInterval::*count) {
  const auto occurs = [&](const RunPage& r) { return r.summary.flows.*count > 0; };
  if (std::none_of(page.runs.begin(), page.runs.end(), occurs)) return;
  list.push_back(headline(page, std::move(path), std::move(label), [&](const RunPage& r) {
    return Value{static_cast<double>(r.summary.flows.*count), page_count(r.summary.flows.*count),
                 "TCP connections"};
  }));
}

/// What was asked for and not done, as sentences; empty: all was done.
std::string failed_work_sentences(const RunPage& run) {
  std::string text;
  if (const auto share = failed_share(run.measured); share && *share > 0)
    text += fmt::format(" {} of the work that was asked for was not done.", page_percent(*share));
  if (is_http_load(run) && run.measured.load->accounts.http_errors > 0) {
    text += fmt::format(" {} an HTTP error.", plural(run.measured.load->accounts.http_errors,
                                                     "answer was", "answers were"));
  }
  if (const uint64_t refused = run.summary.flows.tcp_refused; refused > 0) {
    text +=
        fmt::format(" {} refused.", plural(refused, "TCP connection was", "TCP connections were"));
  }
  if (const uint64_t half_open = run.summary.flows.tcp_half_open; half_open > 0) {
    text += fmt::format(" {} never completed.",
                        plural(half_open, "TCP connection was", "TCP connections were"));
  }
  return text;
}

bool is_compared(const ReportPage& page) {
  return page.runs.size() == 2 && page.judgement && !page.judgement->metrics.empty();
}

/// Of two sides the headlines are those of the table below them: over all judged runs, by the
/// definitions of the gate. The newest run of each side alone would be another number under the
/// same name.
std::vector<Headline> compared_headlines(const Judgement& judgement) {
  constexpr std::pair<std::string_view, std::string_view> kShown[] = {
      {"failed_share", "Work not done"},
      {"reply_latency_ns_p50", "Reply latency p50"},
      {"reply_latency_ns_p99", "Reply latency p99"},
      {"run_queue_latency_ns_p99", "Run-queue latency p99"},
      {"cpu_ns_per_flow", "CPU per flow"},
      {"cpu_ns_per_packet", "CPU per packet"},
      {"rss_bytes_max", "Resident memory"},
      {"packets_per_second", "Packets per second"},
  };
  std::vector<Headline> list;
  for (const auto& [name, label] : kShown) {
    const auto c =
        std::find_if(judgement.metrics.begin(), judgement.metrics.end(),
                     [&](const Comparison& candidate) { return candidate.metric.name == name; });
    if (c == judgement.metrics.end() || !c->a || !c->b) continue;
    Headline h{"", std::string(label), {}};
    for (const auto& value : {c->a, c->b})
      h.of_run.push_back({value, metric_value(c->metric.unit, value), {}});
    h.change = page_change(*c, c->change);
    list.push_back(std::move(h));
  }
  return list;
}

}  // namespace

std::vector<Headline> headlines(const ReportPage& page) {
  if (is_compared(page)) return compared_headlines(*page.judgement);
  std::vector<Headline> list;
  list.push_back(headline(page, "summary.active_flows.max", "Active flows", [](const RunPage& r) {
    const FlowInterval& f = r.summary.flows;
    return Value{static_cast<double>(f.active_flows_max),
                 (f.active_is_lower_bound ? "≥ " : "") + page_count(f.active_flows_max),
                 fmt::format("at once; {} seen", page_count(f.new_flows))};
  }));
  const auto plain = [](const RunPage&, int64_t ns) { return page_duration(ns); };
  const auto nothing = [](const RunPage&) { return std::string(); };
  if (has_lateness(page)) {
    list.push_back(headline(page, "summary.missed_ticks", "Missed ticks", [](const RunPage& r) {
      const FlowInterval& f = r.summary.flows;
      return Value{static_cast<double>(f.missed_ticks), page_count(f.missed_ticks),
                   fmt::format("of {} with a period",
                               plural(r.summary.periodic_flows_max, "flow", "flows"))};
    }));
    list.push_back(headline(page, "summary.silent_flows.max", "Silent flows", [](const RunPage& r) {
      return Value{
          static_cast<double>(r.summary.silent_flows_max), page_count(r.summary.silent_flows_max),
          fmt::format("of {} at most; {} at the end", page_count(r.summary.periodic_flows_max),
                      page_count(r.summary.flows.silent_flows))};
    }));
    add_latency(
        list, page, "summary.lateness_ns", "Lateness",
        [](const RunPage& r) { return r.summary.flows.lateness.summary(); }, plain, nothing);
  }
  add_latency(
      list, page, "summary.reply_latency_ns", "Reply latency",
      [](const RunPage& r) { return r.summary.flows.reply_latency.summary(); }, reply_latency_text,
      unanswered_text);
  if (std::any_of(page.runs.begin(), page.runs.end(), has_failed_work_to_tell)) {
    list.push_back(headline(page, "", "Work not done", [](const RunPage& r) {
      const auto share = failed_share(r.measured);
      if (!share) return absent();
      if (!r.measured.load) return Value{*share, page_percent(*share), "of what was asked for"};
      const LoadAccounts& a = r.measured.load->accounts;
      const uint64_t asked = a.asked();
      return Value{*share, page_percent(*share),
                   fmt::format("{} of {} asked for", page_count(asked - std::min(a.done(), asked)),
                               page_count(asked))};
    }));
  }
  if (std::any_of(page.runs.begin(), page.runs.end(), is_http_load)) {
    list.push_back(headline(page, "", "HTTP errors", [](const RunPage& r) {
      if (!is_http_load(r)) return absent();
      const LoadAccounts& a = r.measured.load->accounts;
      return Value{static_cast<double>(a.http_errors), page_count(a.http_errors),
                   fmt::format("of {}", plural(a.replied, "answer", "answers"))};
    }));
  }
  // Where there is no latency to stand beside, requests without an answer stand alone.
  if (std::any_of(page.runs.begin(), page.runs.end(), [](const RunPage& r) {
        return r.summary.flows.unanswered > 0 || r.summary.flows.requests > 0;
      })) {
    list.push_back(headline(page, "summary.unanswered", "Unanswered", [](const RunPage& r) {
      return Value{static_cast<double>(r.summary.flows.unanswered),
                   page_count(r.summary.flows.unanswered),
                   r.summary.flows.requests > 0
                       ? fmt::format("of {} requests", page_count(r.summary.flows.requests))
                       : std::string("requests")};
    }));
  }
  add_if_it_occurs(list, page, "summary.tcp_refused", "Refused connections",
                   &FlowInterval::tcp_refused);
  add_if_it_occurs(list, page, "summary.tcp_half_open", "Never completed",
                   &FlowInterval::tcp_half_open);
  add_latency(
      list, page, "summary.run_queue_latency_ns", "Run-queue latency",
      [](const RunPage& r) {
        const auto& s = r.summary.scheduler;
        return s && s->run_queue_latency ? s->run_queue_latency->summary() : HistogramSummary{};
      },
      plain, nothing);
  Headline cpu = headline(page, "summary.cpu_ns", "CPU", [](const RunPage& r) {
    const auto& s = r.summary.scheduler;
    if (!s || !s->cpu_ns || r.elapsed_ns <= 0) return absent();
    const auto ns = static_cast<double>(*s->cpu_ns);
    return Value{ns, page_percent(ns / static_cast<double>(r.elapsed_ns)),
                 fmt::format("of one CPU; {}", page_duration(static_cast<int64_t>(
                                                   std::min<uint64_t>(*s->cpu_ns, INT64_MAX))))};
  });
  if (any_run_has(cpu)) list.push_back(std::move(cpu));
  Headline per_packet = headline(page, "", "CPU per packet", [](const RunPage& r) {
    // As the gate takes it: from the first stage of the load on, without start and warm-up.
    const RunTotals& t = r.measured;
    if (!t.cpu_ns || t.flows.packets == 0) return absent();
    const double ns = static_cast<double>(*t.cpu_ns) / static_cast<double>(t.flows.packets);
    std::string extra;
    if (t.flows.new_flows > 0) {
      extra = fmt::format(
          "{} a flow", page_duration(static_cast<int64_t>(static_cast<double>(*t.cpu_ns) /
                                                          static_cast<double>(t.flows.new_flows))));
    }
    return Value{ns, page_duration(static_cast<int64_t>(ns)), std::move(extra)};
  });
  if (any_run_has(per_packet)) list.push_back(std::move(per_packet));
  Headline memory =
      headline(page, "summary.rss_bytes.max", "Resident memory", [](const RunPage& r) {
        const auto& rss = r.summary.rss_bytes;
        if (!rss.max) return absent();
        return Value{static_cast<double>(*rss.max), page_bytes(*rss.max), "at most"};
      });
  if (any_run_has(memory)) list.push_back(std::move(memory));
  if (list.size() < 7) {
    list.push_back(headline(page, "summary.packets", "Packets", [](const RunPage& r) {
      const FlowInterval& f = r.summary.flows;
      return Value{static_cast<double>(f.packets), page_count(f.packets),
                   page_bytes(static_cast<int64_t>(std::min<uint64_t>(f.bytes, INT64_MAX)))};
    }));
  }
  return list;
}

TopVerdict judgement_verdict(const Judgement& judgement) {
  TopVerdict top;
  const bool history = judgement.mode == "history";
  switch (judgement.verdict) {
    case Verdict::kPass:
      top.word = "Pass";
      top.tone = Tone::kGood;
      top.sentence = history ? "No gating metric stands on a level that is worse than before."
                             : "No gating metric is worse by more than its margin.";
      break;
    case Verdict::kFail:
      top.word = "Fail";
      top.tone = Tone::kBad;
      top.sentence = history ? "A gating metric stands on a worse level than before."
                             : "A gating metric is worse by more than its margin.";
      break;
    case Verdict::kInconclusive:
      top.word = "Inconclusive";
      top.tone = Tone::kOpen;
      top.sentence = "The evidence decides neither way.";
      break;
    case Verdict::kInvalid:
      top.word = "Invalid";
      top.tone = Tone::kBad;
      top.sentence = "These runs must not be judged.";
      break;
  }
  top.reasons = judgement.reasons;
  return top;
}

namespace {

void add_doubts(const StoredRun& run, TopVerdict& top) {
  for (const std::string& doubt : run.end.doubts)
    top.reasons.push_back("may not be judged: " + doubt);
}

}  // namespace

bool has_lateness(const ReportPage& page) {
  return std::any_of(page.runs.begin(), page.runs.end(), [](const RunPage& run) {
    return has_lateness(run.summary, run.run.info.settings);
  });
}

std::string unanswered_text(const RunPage& run) {
  const FlowInterval& f = run.summary.flows;
  std::string text = page_count(f.unanswered);
  if (f.requests > 0) text += " of " + page_count(f.requests);
  text += " requests not answered";
  if (run.run.info.settings.reply_timeout_ns > 0)
    text += " within " + page_duration(run.run.info.settings.reply_timeout_ns);
  if (f.late_replies > 0) text += fmt::format(", {} of them later", page_count(f.late_replies));
  if (f.overlapping_requests > 0)
    text += fmt::format("; {} overlapped and are not measured", page_count(f.overlapping_requests));
  return text;
}

std::string reply_latency_text(const RunPage& run, int64_t ns) {
  const bool at_least =
      is_at_least(ns, never_answered(run.summary.flows), run.run.info.settings.reply_timeout_ns);
  return (at_least ? "≥ " : "") + page_duration(ns);
}

TopVerdict top_verdict(const ReportPage& page) {
  if (page.judgement) return judgement_verdict(*page.judgement);
  TopVerdict top;
  const RunPage& run = page.runs.front();
  if (!run.standing.usable || !run.standing.complete) {
    top.reasons = invalid_reasons(run.run);
    top.tone = Tone::kBad;
    top.word = "Not usable";
    top.sentence = "This run is kept, and judges nothing.";
    add_doubts(run.run, top);
    return top;
  }
  top.word = "Usable";
  top.sentence = losses_that_occurred(run.summary.losses).empty()
                     ? "The recording ended as it should, and nothing was lost."
                     : "The recording ended as it should, and what was lost stays within limits.";
  top.sentence += run.standing.may_be_judged ? " It may be judged." : " It may not be judged.";
  if (!run.standing.may_be_judged) top.tone = Tone::kOpen;
  top.reasons = run.standing.reasons;
  top.reasons.insert(top.reasons.end(), run.standing.notes.begin(), run.standing.notes.end());
  if (run.summary.silent_flows_max > 0) {
    // A good recording of clients that went dead: nothing green stands over it.
    top.tone = Tone::kOpen;
    top.sentence += fmt::format(" Of {} with a period, {} fell silent.",
                                plural(run.summary.periodic_flows_max, "flow", "flows"),
                                page_count(run.summary.silent_flows_max));
  }
  if (const std::string failed = failed_work_sentences(run); !failed.empty()) {
    // Likewise a good recording of a server that failed.
    top.tone = Tone::kOpen;
    top.sentence += failed;
  }
  size_t broken = 0, unknown = 0;
  for (const SloResult& slo : run.slos) {
    if (slo.verdict == SloVerdict::kKept) continue;
    ++(slo.verdict == SloVerdict::kBroken ? broken : unknown);
    top.reasons.push_back(
        fmt::format("{}: {} ({})", slo_verdict_name(slo.verdict), slo.rule, slo.explanation));
  }
  if (broken > 0) {
    top.tone = Tone::kBad;
    top.word = "Rules broken";
    top.sentence =
        fmt::format("{} of the {} rules that this run is held to.", broken, run.slos.size());
  } else if (unknown > 0) {
    top.tone = Tone::kOpen;
    top.sentence +=
        fmt::format(" Of its {} rules {} could not be judged.", run.slos.size(), unknown);
  } else if (!run.slos.empty()) {
    top.sentence += fmt::format(" All {} rules were kept.", run.slos.size());
  }
  return top;
}

std::string run_title(const StoredRun& run) {
  if (!run.info.command.empty()) return fmt::format("{}", fmt::join(run.info.command, " "));
  const RunSettings& s = run.info.settings;
  const std::string where = s.interface.empty() ? "Traffic" : "Traffic on " + s.interface;
  return s.subject.empty() || s.subject == "none" ? where : where + " of " + s.subject;
}

std::string report_title(const ReportPage& page) {
  if (page.runs.size() > 1) {
    // Two subjects of one plan have names of their own.
    const auto& a = page.runs[0].run.info.plan;
    const auto& b = page.runs[1].run.info.plan;
    if (a && b && a->session == b->session && a->subject != b->subject)
      return fmt::format("{}: {} against {}", b->name, a->subject, b->subject);
    return "A against B";
  }
  if (page.history_runs.size() > 1)
    return fmt::format("History of {} runs", page.history_runs.size());
  return run_title(page.runs.front().run);
}

std::string metric_value(const std::string& unit, const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return std::string(kNotMeasured);
  if (unit == "ns") return page_number(Unit::kNanoseconds, *value);
  if (unit == "bytes") return page_number(Unit::kBytes, *value);
  if (unit == kUnitOfShares) return page_percent(*value);
  const std::string number = page_number(Unit::kCount, *value);
  if (unit == "1/s") return number + "/s";
  return unit.empty() || unit == "1" ? number : fmt::format("{} {}", number, unit);
}

std::string page_change(const Comparison& comparison, const std::optional<double>& change) {
  return change && std::isfinite(*change) ? change_text(comparison, change)
                                          : std::string(kNotMeasured);
}

std::string page_interval(const Comparison& c) {
  if (!c.ci_low || !c.ci_high) return std::string(kNotMeasured);
  return page_change(c, c.ci_low) + " to " + page_change(c, c.ci_high);
}

std::string page_amount(const Comparison& c, const std::optional<double>& amount) {
  if (!amount) return std::string(kNotMeasured);
  return c.absolute ? amount_text(c, amount) : page_percent(*amount);
}

std::string probability_text(const std::optional<double>& p) {
  if (!p) return std::string(kNotMeasured);
  return *p < 0.0001 ? "< 0.0001" : fmt::format("{:.4f}", *p);
}

std::vector<LossCount> losses_that_occurred(const LossInterval& losses) {
  std::vector<LossCount> list;
  LossInterval::for_each_field([&](std::string_view name, auto field) {
    const uint64_t raw = losses.*field;
    if (raw == 0) return;
    list.push_back({std::string(name),
                    name.ends_with("_ns")
                        ? page_duration(static_cast<int64_t>(std::min<uint64_t>(raw, INT64_MAX)))
                        : page_count(raw),
                    raw});
  });
  return list;
}

}  // namespace topspin
