// OpenMetrics text 1.0: the totals of each run, with one point per metric and run, stamped with the
// run's end.
//
// The format demands that all points of a family are together. So the totals of all runs are
// gathered first; their size does not depend on the length of the runs. Names and units are those
// of report/metrics/metric_families.h (dots become underscores, the unit a suffix, counters end in
// _total). Durations are in seconds.
// Histograms are classic buckets that end at powers of two of nanoseconds minus one. The stored
// buckets end there too, so each count is exact. Absent metrics are left out.
//
// live_metrics() writes the same families of a recording that is under way: its totals so far,
// without a label of the run and without a time, since whoever scrapes it adds both.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/run/source_text.h"
#include "report/export/export.h"
#include "report/export/rows.h"
#include "report/metrics/metric_families.h"

namespace topspin {
namespace {

struct MeasuredTotals {
  const StoredRun* run = nullptr;
  RunFold fold;
  std::optional<LoadResult> load;
};

/// A value with as many digits as it needs.
std::string number(double value) { return fmt::format("{}", value); }
std::string seconds(double ns) { return fmt::format("{:.9g}", ns / 1e9); }
/// Exact: moves the decimal point of nanoseconds by nine places.
std::string exact_seconds(int64_t ns) {
  const uint64_t magnitude = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  return fmt::format("{}{}.{:09}", ns < 0 ? "-" : "", magnitude / 1'000'000'000,
                     magnitude % 1'000'000'000);
}

std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : replace_unprintable(text)) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (c == '\r' || c == '\t')
      out += ' ';
    else
      out += c;
  }
  return out;
}

/// A label's name with only the characters that OpenMetrics allows.
std::string label_name(std::string_view text) {
  std::string out = "label_";
  for (const char c : text) {
    const bool allowed =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    out += allowed ? c : '_';
  }
  return out;
}

class Exposition {
 public:
  Exposition(const std::vector<MeasuredTotals>& runs, ExportOutput& output,
             std::optional<LiveFormat> live)
      : runs_(runs),
        output_(output),
        is_live_(live.has_value()),
        is_classic_(live == LiveFormat::kPrometheus) {}

  void family(std::string_view name, std::string_view type, std::string_view unit,
              std::string_view help) {
    name_ = name;
    if (is_classic_) {  // it knows neither units nor infos, and names a counter by its sample
      const bool is_info = type == "info";
      const std::string full = fmt::format("{}{}", name,
                                           type == "counter" ? "_total"
                                           : is_info         ? "_info"
                                                             : "");
      head_ = fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", full, is_info ? "gauge" : type, help);
      return;
    }
    head_ = fmt::format("# TYPE {} {}\n", name, type);
    if (!unit.empty()) head_ += fmt::format("# UNIT {} {}\n", name, unit);
    head_ += fmt::format("# HELP {} {}\n", name, help);
  }
  /// value(totals) -> optional double, in the family's unit.
  template <typename Value>
  void points(std::string_view name, std::string_view suffix, std::string_view labels,
              Value value) {
    for (const MeasuredTotals& run : runs_) {
      const std::optional<double> v = value(run);
      if (v) sample(run, fmt::format("{}{}", name, suffix), labels, number(*v));
    }
  }
  template <typename Of>
  void histogram(std::string_view name, std::string_view help, Of of) {
    family(name, "histogram", "seconds", help);
    for (const MeasuredTotals& run : runs_) {
      if (const Histogram* h = of(run)) add_histogram(run, name, *h);
    }
  }
  template <typename Of>
  void signed_histogram(std::string_view name, std::string_view help, Of of) {
    family(name, "histogram", "seconds", help);
    for (const MeasuredTotals& run : runs_) {
      if (const SignedHistogram* h = of(run)) add_signed(run, name, *h);
    }
  }
  void info() {
    family("topspin_run", "info", "", "Where and of what a run was recorded.");
    for (const MeasuredTotals& run : runs_) {
      const RunInfo& i = run.run->info;
      std::string labels = fmt::format(
          "status=\"{}\",commit=\"{}\",commit_state=\"{}\",branch=\"{}\",hostname=\"{}\",kernel=\"{"
          "}\","
          "topspin_version=\"{}\"",
          run_status_name(run.run->end.status), label_value(i.source.commit),
          commit_state_name(i.source), label_value(i.source.branch), label_value(i.host.hostname),
          label_value(i.host.kernel), label_value(i.topspin_version));
      if (is_live_) labels += fmt::format(",run=\"{}\"", label_value(i.id));
      // Two keys may give the same name. The first one is kept, because a name may occur only once.
      std::vector<std::string> taken;
      for (const auto& [key, value] : i.labels) {
        const std::string label = label_name(key);
        if (std::find(taken.begin(), taken.end(), label) != taken.end()) continue;
        if (is_live_ && taken.size() >= kLiveLabels) break;
        taken.push_back(label);
        labels += fmt::format(",{}=\"{}\"", label, label_value(value));
      }
      sample(run, "topspin_run_info", labels, "1");
    }
  }
  void end() {
    if (!is_classic_) output_.write("# EOF\n");
  }

 private:
  static constexpr int kFirstOctave = 10;  // 1 us
  static constexpr int kLastOctave = 35;   // 34 s

  /// Writes a sample. The family's head is written before its first sample, so a family without
  /// samples is left out.
  void sample(const MeasuredTotals& run, std::string_view name, std::string_view labels,
              std::string_view value) {
    if (!head_.empty()) output_.write(head_);
    head_.clear();
    if (is_live_) {
      output_.write(labels.empty() ? fmt::format("{} {}\n", name, value)
                                   : fmt::format("{}{{{}}} {}\n", name, labels, value));
      return;
    }
    const int64_t end_ns = run.run->info.started_wall_ns + run.run->end.duration_ns;
    output_.write(fmt::format("{}{{run=\"{}\"{}{}}} {} {}\n", name, label_value(run.run->info.id),
                              labels.empty() ? "" : ",", labels, value, exact_seconds(end_ns)));
  }
  void bucket(const MeasuredTotals& run, std::string_view name, std::string_view le,
              uint64_t count) {
    sample(run, fmt::format("{}_bucket", name), fmt::format("le=\"{}\"", le),
           fmt::format("{}", count));
  }
  void add_histogram(const MeasuredTotals& run, std::string_view name, const Histogram& h) {
    add_octaves(run, name, h, 0);
    bucket(run, name, "+Inf", h.count());
    sample(run, fmt::format("{}_count", name), "", fmt::format("{}", h.count()));
    sample(run, fmt::format("{}_sum", name), "", seconds(static_cast<double>(h.sum())));
  }
  /// With negative buckets neither sum nor count may be given.
  void add_signed(const MeasuredTotals& run, std::string_view name, const SignedHistogram& h) {
    constexpr int kStep = 5;  // early ones matter less: every fifth octave
    uint64_t below = 0;
    uint32_t index = kHistogramBuckets;
    for (int octave = kLastOctave; octave >= kFirstOctave; octave -= kStep) {
      const int64_t edge = int64_t{1} << octave;  // a magnitude's lower edge
      while (index > 0 && histogram_bucket_min(index - 1) >= static_cast<uint64_t>(edge))
        below += h.negative().cell(--index);
      bucket(run, name, exact_seconds(-edge), below);
    }
    add_octaves(run, name, h.non_negative(), h.negative().count());
    bucket(run, name, "+Inf", h.count());
  }
  void add_octaves(const MeasuredTotals& run, std::string_view name, const Histogram& h,
                   uint64_t below) {
    uint32_t index = 0;
    for (int octave = kFirstOctave; octave <= kLastOctave; ++octave) {
      const int64_t edge = (int64_t{1} << octave) - 1;
      while (index < kHistogramBuckets &&
             histogram_bucket_max(index) <= static_cast<uint64_t>(edge))
        below += h.cell(index++);
      bucket(run, name, exact_seconds(edge), below);
    }
  }

  const std::vector<MeasuredTotals>& runs_;
  ExportOutput& output_;
  const bool is_live_;
  const bool is_classic_;
  std::string name_;
  std::string head_;  // the head of a family that has no sample yet
};

std::string_view type_of(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
    case MetricType::kTotal: return "counter";
    case MetricType::kHistogram: return "histogram";
    case MetricType::kGauge:
    case MetricType::kUpDownCounter: break;
  }
  return "gauge";
}

void write_family(Exposition& e, const MetricFamily& family) {
  const RegisteredNumber& first = *family.points.front().number;
  const std::string name = openmetrics_name(family.name, family.unit);
  if (first.signed_histogram) {
    e.signed_histogram(name, family.help, [&](const MeasuredTotals& run) {
      return first.signed_histogram(run.fold.merged);
    });
    return;
  }
  if (first.histogram) {
    e.histogram(name, family.help,
                [&](const MeasuredTotals& run) { return first.histogram(run.fold.merged); });
    return;
  }
  const std::string_view type = type_of(family.type);
  e.family(name, type, openmetrics_unit(family.unit), family.help);
  for (const MetricPoint& point : family.points) {
    const std::string labels =
        point.label_key.empty()
            ? ""
            : fmt::format("{}=\"{}\"", openmetrics_label(point.label_key), point.label_value);
    e.points(name, type == "counter" ? "_total" : "", labels,
             [&](const MeasuredTotals& run) { return point.value(run.fold); });
  }
}

/// Writes what the load generator saw over the whole load of each run.
void write_load(Exposition& e) {
  e.family("topspin_load_messages", "counter", "",
           "Messages of the load: pings, requests or connections, by what became of them.");
  LoadAccounts::for_each_field([&](std::string_view name, auto field) {
    e.points("topspin_load_messages", "_total", fmt::format("state=\"{}\"", name),
             [&](const MeasuredTotals& run) {
               return run.load ? std::optional(static_cast<double>(run.load->total.accounts.*field))
                               : std::nullopt;
             });
  });
  e.family("topspin_load_http_answers", "counter", "", "Answers of HTTP by the class of status.");
  HttpAccounts{}.for_each_class([&](std::string_view name, uint64_t) {
    e.points("topspin_load_http_answers", "_total",
             fmt::format("class=\"{}\"", name.substr(std::string_view("http_").size())),
             [&](const MeasuredTotals& run) -> std::optional<double> {
               std::optional<double> value;
               if (!run.load || !run.load->http) return value;
               run.load->http->for_each_class([&](std::string_view candidate, uint64_t count) {
                 if (candidate == name) value = static_cast<double>(count);
               });
               return value;
             });
  });
  const auto histogram = [&](std::string_view name, std::string_view help, auto member) {
    e.histogram(name, help, [member](const MeasuredTotals& run) -> const Histogram* {
      return run.load ? &member(*run.load) : nullptr;
    });
  };
  histogram("topspin_load_latency_intended_seconds", "From the moment a message was due.",
            [](const LoadResult& load) -> const Histogram& { return load.total.latency_intended; });
  histogram("topspin_load_latency_actual_seconds", "From the moment a message was sent.",
            [](const LoadResult& load) -> const Histogram& { return load.total.latency_actual; });
  histogram("topspin_load_own_lateness_seconds", "How late the generator itself was.",
            [](const LoadResult& load) -> const Histogram& { return load.total.own_lateness; });
}

}  // namespace

Status export_openmetrics(RunStore& store, const std::vector<StoredRun>& runs,
                          ExportOutput& output) {
  std::vector<MeasuredTotals> totals(runs.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    totals[i].run = &runs[i];
    TOPSPIN_ASSIGN(totals[i].fold, store.fold(runs[i].info.id, RunPart::kWhole));
    TOPSPIN_ASSIGN(totals[i].load, store.load_load(runs[i].info.id));
  }
  Exposition exposition(totals, output, std::nullopt);
  exposition.info();
  for (const MetricFamily& family : metric_families()) write_family(exposition, family);
  write_load(exposition);
  exposition.end();
  return output.finish();
}

std::string live_metrics(const RunInfo& run, const RunFold& fold, const LiveFacts& facts,
                         LiveFormat format) {
  std::string text;
  ExportOutput output([&](std::string_view bytes) -> Status {
    text += bytes;
    return {};
  });
  StoredRun stored;
  stored.info = run;
  stored.end.status = RunStatus::kRunning;
  const std::vector<MeasuredTotals> totals = {{&stored, fold, std::nullopt}};
  Exposition exposition(totals, output, format);
  exposition.info();
  for (const MetricFamily& family : metric_families()) write_family(exposition, family);
  for (const FactMetric& fact : fact_metrics(run, fold, facts)) {
    const std::string name = openmetrics_name(fact.name, "");
    exposition.family(name, fact.is_counter ? "counter" : "gauge", "", fact.help);
    exposition.points(name, fact.is_counter ? "_total" : "", "", [&](const MeasuredTotals&) {
      return fact.value ? std::optional(static_cast<double>(*fact.value)) : std::nullopt;
    });
  }
  exposition.end();
  (void)output.finish().ok();  // the sink cannot fail
  return text;
}

}  // namespace topspin
