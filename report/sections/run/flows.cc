// The flows: what happened to the traffic, when the flows were alive, and the busiest of them.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

Table lives_table(const LifeGrid& grid) {
  constexpr size_t kSlices = 24;
  const size_t slices = std::min(kSlices, grid.columns);
  Table table{"", {{"From", true}, {"Flows there", true}}};
  for (size_t s = 0; s < slices; ++s) {
    const size_t column = s * grid.columns / slices;
    double there = 0;
    for (size_t row = 0; row < grid.rows.size(); ++row)
      there += grid.rows[row][column] * static_cast<double>(grid.group_sizes[row]);
    const auto at =
        static_cast<int64_t>(static_cast<double>(grid.end_ns) * static_cast<double>(column) /
                             static_cast<double>(grid.columns));
    table.rows.push_back({{moment(at), count(std::llround(there))}});
  }
  return table;
}

Plot lives_plot(const ReportPage& page, size_t r) {
  const LifeGrid& lives = page.runs[r].lives;
  Plot plot{fmt::format("lives-{}", r), say("When flows were there")};
  plot.tables.push_back(lives_table(lives));
  return plot;
}

Paragraph lives_note(const ReportPage& page, size_t r) {
  const LifeGrid& lives = page.runs[r].lives;
  const size_t group = lives.group_sizes.front();
  return {say("{} flows in the order of their first packets{}; each is there from its first packet "
              "to its last.{}",
              count(lives.flows), group > 1 ? say(", some {} to a row", count(group)) : Line(),
              has_lateness(page) ? " Orange rows missed ticks." : ""),
          true};
}

/// "server 4242 and others"; "–" if no owner is known.
Line owner_line(const FlowOwner* owner) {
  if (owner == nullptr) return {absent()};
  return say("{} {}{}", words(owner->name, 60), id(owner->pid),
             owner->quality == OwnerQuality::kShared ? " and others" : "");
}

Cell ends_cell(const RunPage& run, const FlowRow& flow) {
  Cell cell = words(fmt::format("{} {} > {}", format_protocol(flow.key.protocol),
                                format_endpoint(flow.initiator(), flow.key.ip_version),
                                format_endpoint(flow.responder(), flow.key.ip_version)));
  const FlowOwner* owners[] = {run.owners.find(flow.owners[0]), run.owners.find(flow.owners[1])};
  if (owners[0] != nullptr || owners[1] != nullptr)
    cell.under = say("{} > {}", owner_line(owners[0]), owner_line(owners[1]));
  return cell;
}

Span mean_reply(const FlowRow& flow) {
  if (flow.replies == 0) return absent();
  return duration(flow.reply_latency_sum_ns /
                  static_cast<int64_t>(std::clamp<uint64_t>(flow.replies, 1, INT64_MAX)));
}

Table busiest_table(const RunPage& run, bool periods) {
  Table table{"Busiest flows"};
  table.columns =
      periods ? columns({"", "Packets", "-Bytes", "Latest", "Missed", "-Reply, mean", "Reply, max",
                         "Unanswered"})
              : columns({"", "Packets", "-Bytes", "Reply, mean", "Reply, max", "Unanswered"});
  for (const FlowRow& flow : run.busiest_flows) {
    Row row{{ends_cell(run, flow), count(flow.packets[0] + flow.packets[1]),
             bytes(flow.bytes[0] + flow.bytes[1])}};
    if (periods) {
      row.cells.push_back(duration(flow.lateness_max_ns));
      Line missed = say("{}", count(flow.missed_ticks));
      if (flow.silent) append(missed, say(", {}", toned(Tone::kBad, words("silent"))));
      row.cells.push_back(std::move(missed));
    }
    row.cells.push_back(mean_reply(flow));
    row.cells.push_back(duration(flow.reply_latency_max_ns));
    row.cells.push_back(count(flow.unanswered));
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

Blocks flows(const ReportPage& page) {
  const bool periods = has_lateness(page);
  return blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks blocks;
    if (!run.lives.rows.empty()) {
      blocks.emplace_back(lives_plot(page, r));
      blocks.emplace_back(lives_note(page, r));
    }
    Table traffic = traffic_table(run.fold, r);
    traffic.title = "Traffic";
    add_table(blocks, std::move(traffic));
    add_table(blocks, busiest_table(run, periods));
    return blocks;
  });
}

}  // namespace topspin::sections
