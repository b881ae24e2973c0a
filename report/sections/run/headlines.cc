// The numbers that reports show first.
#include <algorithm>

#include <fmt/format.h>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

using Value = Headline::Value;

Value nothing() { return {absent()}; }

Headline headline(const ReportPage& page, std::string label, const std::string& path,
                  const auto& value_of) {
  Headline h{std::move(label)};
  for (size_t r = 0; r < page.runs.size(); ++r) {
    Value value = value_of(page.runs[r]);
    if (value.number.kind == Span::Kind::kNumber)
      value.number = at_path(std::move(value.number), path, r);
    h.of_run.push_back(std::move(value));
  }
  return h;
}

bool any_run_has(const Headline& h) {
  return std::any_of(h.of_run.begin(), h.of_run.end(),
                     [](const Value& v) { return v.number.kind == Span::Kind::kNumber; });
}

/// A latency at the highest percentile for which all runs have enough samples.
struct Percentile {
  std::string_view name;
  std::optional<int64_t> HistogramSummary::*field;
};
constexpr Percentile kPercentiles[] = {{"p99", &HistogramSummary::p99},
                                       {"p90", &HistogramSummary::p90},
                                       {"p50", &HistogramSummary::p50},
                                       {"max", &HistogramSummary::max}};

Percentile best_percentile(const std::vector<HistogramSummary>& summaries) {
  for (const Percentile& p : kPercentiles) {
    if (std::all_of(summaries.begin(), summaries.end(), [&](const HistogramSummary& s) {
          return s.count == 0 || (s.*p.field).has_value();
        }))
      return p;
  }
  return kPercentiles[3];
}

/// Adds nothing if no run measured it. `name` is the registry's name without "_ns".
void add_latency(std::vector<Headline>& list, const ReportPage& page, std::string_view name) {
  const RegisteredNumber& number = *find_number(name);
  const auto summary_of = [&](const RunPage& run) {
    if (number.signed_histogram) return number.signed_histogram(run.fold.merged)->summary();
    const Histogram* values = number.histogram(run.fold.merged);
    return values != nullptr ? values->summary() : HistogramSummary{};
  };
  std::vector<HistogramSummary> summaries;
  for (const RunPage& run : page.runs) summaries.push_back(summary_of(run));
  if (std::all_of(summaries.begin(), summaries.end(),
                  [](const HistogramSummary& s) { return s.count == 0; }))
    return;
  const Percentile best = best_percentile(summaries);
  const bool of_replies = number.name == "reply_latency_ns";
  list.push_back(headline(
      page, fmt::format("{} {}", capitalized(number.label), best.name),
      fmt::format("summary.{}.{}", number.name, best.name), [&](const RunPage& run) {
        const HistogramSummary s = summary_of(run);
        const auto& value = s.*best.field;
        if (!value) return nothing();
        const FlowInterval& flows = run.fold.merged.flows;
        const int64_t timeout_ns = run.run.info.settings.reply_timeout_ns;
        const auto written = [&](int64_t ns) {
          return of_replies ? reply_latency(flows, timeout_ns, ns) : duration(ns);
        };
        Line extra;
        if (best.field != &HistogramSummary::max) {
          if (s.p50 && best.field != &HistogramSummary::p50)
            append(extra, say("median {}, ", written(*s.p50)));
          append(extra, say("max {}", written(*s.max)));
        }
        if (of_replies)
          append(extra, say("{}{}", extra.empty() ? "" : "; ", unanswered(flows, timeout_ns)));
        return Value{written(*value), std::move(extra)};
      }));
}

/// Always true for a load. Without one, true if the wire shows failures.
bool has_failed_work_to_tell(const RunPage& run) {
  const auto share = failed_share(run.measured);
  return share && (run.measured.load || *share > 0);
}

/// Adds a count of TCP connections if it is not 0.
void add_if_it_occurs(std::vector<Headline>& list, const ReportPage& page, std::string label,
                      const std::string& path, const auto& count_of) {
  Headline h = headline(page, std::move(label), path, [&](const RunPage& run) {
    return Value{count(count_of(run)), say("TCP connections")};
  });
  if (std::any_of(h.of_run.begin(), h.of_run.end(),
                  [](const Value& v) { return v.number.value > 0; }))
    list.push_back(std::move(h));
}

void add_flows(std::vector<Headline>& list, const ReportPage& page) {
  list.push_back(headline(page, "Active flows", "summary.active_flows.max", [](const RunPage& run) {
    const FlowInterval& f = run.fold.merged.flows;
    Value value{count(f.active_flows_max), say("at once; {} seen", count(f.new_flows))};
    value.number.at_least = f.active_is_lower_bound;
    return value;
  }));
  if (!has_lateness(page)) return;
  list.push_back(headline(page, "Missed ticks", "summary.missed_ticks", [](const RunPage& run) {
    return Value{count(run.fold.merged.flows.missed_ticks),
                 say("of {} with a period",
                     plural(run.fold.greatest.flows.periodic_flows, "flow", "flows"))};
  }));
  list.push_back(headline(page, "Silent flows", "summary.silent_flows.max", [](const RunPage& run) {
    const FlowInterval& most = run.fold.greatest.flows;
    return Value{count(most.silent_flows),
                 say("of {} at most; {} at the end", count(most.periodic_flows),
                     count(run.fold.merged.flows.silent_flows))};
  }));
  add_latency(list, page, "lateness");
}

void add_failed_work(std::vector<Headline>& list, const ReportPage& page) {
  if (std::any_of(page.runs.begin(), page.runs.end(), has_failed_work_to_tell)) {
    list.push_back(headline(page, "Work not done", "", [](const RunPage& run) {
      const auto failed = failed_share(run.measured);
      if (!failed) return nothing();
      if (!run.measured.load) return Value{share(*failed), say("of what was asked for")};
      const LoadAccounts& a = run.measured.load->accounts;
      const uint64_t asked = a.asked();
      return Value{share(*failed), say("{} of {} asked for",
                                       count(asked - std::min(a.done(), asked)), count(asked))};
    }));
  }
  if (std::any_of(page.runs.begin(), page.runs.end(), is_http_load)) {
    list.push_back(headline(page, "HTTP errors", "", [](const RunPage& run) {
      if (!is_http_load(run)) return nothing();
      const LoadAccounts& a = run.measured.load->accounts;
      return Value{count(a.http_errors), say("of {}", plural(a.replied, "answer", "answers"))};
    }));
  }
  // If there is no latency, requests without an answer get a headline of their own.
  const auto asked = [](const RunPage& run) {
    return run.fold.merged.flows.unanswered > 0 || run.fold.merged.flows.requests > 0;
  };
  if (std::any_of(page.runs.begin(), page.runs.end(), asked)) {
    list.push_back(headline(page, "Unanswered", "summary.unanswered", [](const RunPage& run) {
      const FlowInterval& f = run.fold.merged.flows;
      return Value{count(f.unanswered),
                   f.requests > 0 ? say("of {} requests", count(f.requests)) : say("requests")};
    }));
  }
  add_if_it_occurs(list, page, "Refused connections", "summary.tcp_refused",
                   [](const RunPage& run) { return run.fold.merged.flows.tcp_refused; });
  add_if_it_occurs(list, page, "Never completed", "summary.tcp_never_completed", never_completed);
}

void add_cost(std::vector<Headline>& list, const ReportPage& page) {
  const auto add = [&](Headline h) {
    if (any_run_has(h)) list.push_back(std::move(h));
  };
  add(headline(page, "CPU", "", [](const RunPage& run) {
    const auto& s = run.fold.merged.scheduler;
    if (!s || !s->cpu_ns || run.elapsed_ns <= 0) return nothing();
    return Value{share(static_cast<double>(*s->cpu_ns) / static_cast<double>(run.elapsed_ns)),
                 say("of one CPU; {}", duration(s->cpu_ns))};
  }));
  add(headline(page, "CPU per packet", "", [](const RunPage& run) {
    // Like the gate: from the first stage of the load on, without start and warm-up.
    const RunTotals& t = run.measured;
    if (!t.cpu_ns || t.flows.packets == 0) return nothing();
    const auto cpu_ns = static_cast<double>(*t.cpu_ns);
    Value value{duration(cpu_ns / static_cast<double>(t.flows.packets))};
    if (t.flows.new_flows > 0)
      value.extra = say("{} a flow", duration(cpu_ns / static_cast<double>(t.flows.new_flows)));
    return value;
  }));
  add(headline(page, "Resident memory", "summary.rss_bytes.max", [](const RunPage& run) {
    const auto& most = run.fold.greatest.resources;
    if (!most || !most->rss_bytes) return nothing();
    return Value{bytes(most->rss_bytes), say("at most")};
  }));
}

bool is_compared(const ReportPage& page) {
  return page.runs.size() == 2 && page.judgement && !page.judgement->metrics.empty();
}

/// For two sides, the headlines are those of the table below: over all judged runs, with the gate's
/// definitions. Only the newest run of each side would give a different number under the same name.
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
    const auto c = std::find_if(judgement.metrics.begin(), judgement.metrics.end(),
                                [&, &wanted = name](const Comparison& candidate) {
                                  return candidate.metric.name == wanted;
                                });
    if (c == judgement.metrics.end() || !c->a || !c->b) continue;
    Headline h{std::string(label)};
    for (const auto& value : {c->a, c->b})
      h.of_run.push_back({metric_value(c->metric.unit, value)});
    h.change = say("{}", change_text(*c, c->change));
    list.push_back(std::move(h));
  }
  return list;
}

}  // namespace

std::vector<Headline> headlines(const ReportPage& page) {
  if (is_compared(page)) return compared_headlines(*page.judgement);
  std::vector<Headline> list;
  add_flows(list, page);
  add_latency(list, page, "reply_latency");
  add_failed_work(list, page);
  add_latency(list, page, "run_queue_latency");
  add_cost(list, page);
  if (list.size() < 7) {
    list.push_back(headline(page, "Packets", "summary.packets", [](const RunPage& run) {
      const FlowInterval& f = run.fold.merged.flows;
      return Value{count(f.packets), say("{}", bytes(f.bytes))};
    }));
  }
  return list;
}

}  // namespace topspin::sections
