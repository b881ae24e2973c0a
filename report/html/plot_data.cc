#include "report/html/plot_data.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "core/run/source_text.h"
#include "report/json/json_object.h"

namespace topspin {
namespace {

constexpr double kNanosecondsASecond = 1e9;

std::string cut(std::string_view text) { return document::plain_text(text, 120); }

std::string seconds(int64_t ns) {
  return fmt::format("{:.9g}", static_cast<double>(ns) / kNanosecondsASecond);
}

/// Whether a bin has two points: its extremes, in the order in which they came. A bin of one moment
/// has one point.
bool has_two_points(const Timeline::Bin& bin) {
  return bin.ticks > 1 && bin.end_ns > bin.first_end_ns;
}

std::string times_json(const Timeline& timeline) {
  std::string text = "[";
  double last = -1;
  const auto point = [&](int64_t ns) {
    // Make times strictly increasing, even in a damaged file, because the plots look up values by
    // time.
    last = std::max(static_cast<double>(ns) / kNanosecondsASecond, last + 1e-6);
    if (text.size() > 1) text += ',';
    text += fmt::format("{:.10g}", last);
  };
  for (const Timeline::Bin& bin : timeline.bins()) {
    point(bin.first_end_ns);
    if (has_two_points(bin)) point(bin.end_ns);
  }
  return text + "]";
}

std::string values_json(const Timeline& timeline, size_t curve) {
  std::string text = "[";
  const auto point = [&](const CurveBin& bin, double value) {
    if (text.size() > 1) text += ',';
    text += bin.absent ? "null" : json_number(value);
  };
  for (size_t i = 0; i < timeline.bins().size(); ++i) {
    const CurveBin& bin = timeline.curve(curve)[i];
    if (has_two_points(timeline.bins()[i])) {
      point(bin, bin.max_first ? bin.max : bin.min);
      point(bin, bin.max_first ? bin.min : bin.max);
    } else {
      // A bin of several ticks at the same moment shows its greatest value.
      point(bin, bin.max);
    }
  }
  return text + "]";
}

std::string figure_json(const ReportPage& page, const Figure& figure) {
  const auto line = [&](const FigureLine& l) {
    return JsonObject()("run", l.run)
        .text("curve", curve_specs()[l.curve].name)
        .text("label", cut(l.label))
        .text("look", l.look)("dashed", l.dashed)
        .raw("values", values_json(page.runs[l.run].timeline, l.curve))
        .end();
  };
  return JsonObject()
      .text("id", figure.spec->id)
      .text("unit", unit_name(figure.spec->unit))
      .text("scale", figure.spec->scale)("small", figure.spec->small)
      .raw("lines", json_array(figure.lines, line))
      .end();
}

std::string heat_json(std::string_view id, size_t run, const HeatMap& heat) {
  std::string cells = "[";
  for (size_t c = 0; c < heat.columns().size(); ++c) {
    for (const auto& [row, count] : heat.columns()[c].counts) {
      if (cells.size() > 1) cells += ',';
      cells += fmt::format("{},{},{}", c, row, count);
    }
  }
  const auto column = [](const HeatMap::Column& c) {
    return fmt::format("[{},{}]", seconds(c.begin_ns), seconds(c.end_ns));
  };
  return JsonObject()
      .text("id", fmt::format("heat-{}-{}", id, run))
      .raw("columns", json_array(heat.columns(), column))
      .raw("cells", cells + "]")
      .end();
}

std::string lives_json(size_t run, const LifeGrid& grid) {
  const auto row = [](const std::vector<double>& shares) {
    std::string digits = "\"";
    // One digit per cell. A share above 0 is never drawn as 0.
    for (const double share : shares)
      digits += static_cast<char>('0' + static_cast<int>(std::ceil(share * 9)));
    return digits + "\"";
  };
  return JsonObject()
      .text("id", fmt::format("lives-{}", run))("flows", grid.flows)
      .raw("end_s", seconds(grid.end_ns))
      .raw("group_sizes", json_array(grid.group_sizes, fmt::to_string<size_t>))
      .raw("missed", json_array(grid.missed_ticks, fmt::to_string<uint64_t>))
      .raw("rows", json_array(grid.rows, row))
      .end();
}

std::string percentiles_json(const PercentilePlot& plot) {
  const auto at = [](const PercentilePoint& p) { return fmt::format("{:.6g}", p.at); };
  const auto value = [](const PercentilePoint& p) { return json_number(p.value); };
  const auto line = [&](const PercentilePlot::Line& l) {
    return JsonObject()
        .text("latency", l.latency)("run", l.run)
        .text("label", cut(l.label))
        .text("look", l.look)("dashed", l.dashed)
        .raw("at", json_array(l.points, at))
        .raw("values", json_array(l.points, value))
        .end();
  };
  return JsonObject().text("id", plot.id).raw("lines", json_array(plot.lines, line)).end();
}

std::string history_json(const ReportPage& page, size_t index) {
  const HistoryCurve& curve = page.history[index];
  std::vector<const HistoryChange*> changes;
  if (page.judgement) {
    for (const HistoryChange& change : page.judgement->changes) {
      if (change.metric == curve.metric.name) changes.push_back(&change);
    }
  }
  // A change's index counts only judged runs, but the page has all runs. So the change's run is
  // found by its id, with which the change's `time` ends.
  const auto change_json = [&](const HistoryChange* change) {
    size_t run = change->index;
    for (size_t i = 0; i < page.history_runs.size(); ++i) {
      const std::string& id = page.history_runs[i].info.id;
      if (!id.empty() && change->time.ends_with(id)) run = i;
    }
    return JsonObject()("index", run)
        .raw("before", json_number(change->point.before))
        .raw("after", json_number(change->point.after))("worse",
                                                        change->worse && !change->acknowledged)
        .end();
  };
  const auto value = [](const std::optional<double>& v) { return v ? json_number(*v) : "null"; };
  return JsonObject()
      .text("id", fmt::format("history-{}", index))
      .text("unit", cut(curve.metric.unit))
      .raw("values", json_array(curve.values, value))
      .raw("changes", json_array(changes, change_json))
      .end();
}

/// For each stored reply: when its request was ready, how long it took, the numbers of three texts
/// (server, client, thread), the threads that sent and read, and its parts as (number, time).
std::string slow_replies_json(const RunPage& run) {
  std::map<std::string, size_t> numbers;
  std::vector<std::string> texts;
  const auto text = [&](const std::string& one) {
    const auto [found, fresh] = numbers.try_emplace(one, texts.size());
    if (fresh) texts.push_back(one);
    return found->second;
  };
  const auto reply = [&](const SlowReply& r) {
    std::string parts;
    for (size_t i = 0; i < kReplyPartCount; ++i) {
      if (r.parts[i] > 0) parts += fmt::format("{}{},{}", parts.empty() ? "" : ",", i, r.parts[i]);
    }
    const std::string server =
        format_protocol(r.protocol) + " " + format_endpoint(r.local, r.ip_version);
    const std::string client =
        r.remote.port == 0 ? std::string() : format_endpoint(r.remote, r.ip_version);
    const auto since_start = static_cast<int64_t>(
        static_cast<uint64_t>(r.ready_ns) -
        static_cast<uint64_t>(run.run.info.started_monotonic_ns));  // wraps in a damaged file
    return fmt::format("[{},{},{},{},{},{},{},[{}]]", seconds(since_start), r.total_ns,
                       text(server), text(client), text(cut(r.sender)), r.sender_tid, r.reader_tid,
                       parts);
  };
  std::string replies = json_array(run.slowest_replies, reply);
  const auto quoted = [](const std::string& one) { return json_line(one); };
  return JsonObject()("most", kSlowRepliesARun)
      .raw("texts", json_array(texts, quoted))
      .raw("replies", replies)
      .end();
}

/// Each name once, and for each frame its caller, its name, and for each side its weight and the
/// part that is in none of its callees.
std::string flame_json(const Flame& flame) {
  std::map<std::string_view, size_t> numbers;
  std::vector<std::string_view> names;
  std::string frames = "[";
  for (const FlameFrame& frame : flame.frames) {
    const auto [name, fresh] = numbers.try_emplace(frame.name, names.size());
    if (fresh) names.push_back(frame.name);
    frames += fmt::format("{}{},{}", frames.size() > 1 ? "," : "", frame.parent, name->second);
    for (size_t side = 0; side < flame.sides; ++side)
      frames += "," + json_number(frame.weight[side]) + "," + json_number(frame.self[side]);
  }
  const auto name = [](std::string_view text) { return json_line(cut(text)); };
  return JsonObject()
      .text("id", flame.id)("sleep", flame.is_sleep)("sides", flame.sides)
      .raw("names", json_array(names, name))
      .raw("frames", frames + "]")
      .end();
}

std::string times_of_run_json(const ReportPage& page, size_t r) {
  const RunPage& run = page.runs[r];
  return JsonObject()
      .text("id", cut(run.run.info.id))
      .text("side", side_name(page, r))("ticks_per_bin", run.timeline.ticks_per_bin())
      .raw("time_s", times_json(run.timeline))
      .end();
}

std::string stage_json(const RunStage& stage, int64_t run_end_ns) {
  return JsonObject()
      .text("name", cut(stage.name))
      .raw("begin_s", seconds(stage.start_ns))
      .raw("end_s", seconds(stage.end_ns.value_or(run_end_ns)))
      .end();
}

}  // namespace

std::string json_for_script(std::string_view json) {
  std::string escaped;
  escaped.reserve(json.size());
  for (const char c : json) {
    switch (c) {
      case '&': escaped += "\\u0026"; break;
      case '<': escaped += "\\u003c"; break;
      case '>': escaped += "\\u003e"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  if (value == std::floor(value) && std::fabs(value) < 9e15)
    return fmt::format("{}", static_cast<int64_t>(value));
  return fmt::format("{:.6g}", value);
}

std::string page_data_json(const ReportPage& page) {
  std::string runs, figures, heats, lives, events, stages, percentiles, history, flames, slow;
  const auto append = [](std::string& list, const std::string& element) {
    if (!list.empty()) list += ',';
    list += element;
  };
  int64_t end_ns = 0;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    end_ns = std::max(end_ns, run.elapsed_ns);
    append(runs, times_of_run_json(page, r));
    append(slow, slow_replies_json(run));
    for (const LatencyCurve& d : distributions(run)) {
      if (d.heat != nullptr && !d.heat->empty()) append(heats, heat_json(d.id, r, *d.heat));
    }
    if (!run.lives.rows.empty()) append(lives, lives_json(r, run.lives));
    for (const StoredEvent& event : run.events) {
      append(events, JsonObject()
                         .raw("at_s", seconds(event.elapsed_ns))("run", r)
                         .text("text", cut(event.text))
                         .end());
    }
  }
  // A and B of one plan have the same stages, so those of A are drawn.
  for (const RunStage& stage : page.runs.front().stages) {
    append(stages, stage_json(stage, page.runs.front().elapsed_ns));
  }
  for (const Figure& figure : page_figures(page)) append(figures, figure_json(page, figure));
  for (const PercentilePlot& plot : percentile_plots(page))
    append(percentiles, percentiles_json(plot));
  for (size_t i = 0; i < page.history.size(); ++i) append(history, history_json(page, i));
  for (const Flame& flame : page.flames) append(flames, flame_json(flame));
  const auto run_label = [](const StoredRun& run) {
    return json_line(cut(run.info.source.commit.empty() ? run.info.id.substr(0, 8)
                                                        : short_commit(run.info.source, 10)));
  };
  const auto part_label = [](const ReplyPartNames& part) {
    return json_line(std::string(part.label));
  };
  const auto list = [](const std::string& elements) { return "[" + elements + "]"; };
  return JsonObject()("schema_version", 1)
      .raw("end_s", seconds(end_ns))
      .raw("runs", list(runs))
      .raw("figures", list(figures))
      .raw("heats", list(heats))
      .raw("lives", list(lives))
      .raw("percentiles", list(percentiles))
      .raw("events", list(events))
      .raw("stages", list(stages))
      .raw("history", list(history))
      .raw("flames", list(flames))
      .raw("slow", list(slow))
      .raw("reply_parts", json_array(reply_part_names(), part_label))("slow_replies_a_tick",
                                                                      kSlowRepliesATick)
      .raw("history_runs", json_array(page.history_runs, run_label))
      .end();
}

}  // namespace topspin
