#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/headlines.h"
#include "report/html_sections.h"
#include "report/html_table.h"

namespace topspin {
namespace {

std::string owner_html(const FlowOwner* owner) {
  if (owner == nullptr) return {};
  return fmt::format(R"(<span class="under">{} {}{}</span>)", html_text(owner->name, 60),
                     owner->pid, owner->quality == OwnerQuality::kShared ? " and others" : "");
}

std::string lives_table(const LifeGrid& grid) {
  constexpr size_t kSlices = 24;
  const size_t slices = std::min(kSlices, grid.columns);
  std::string rows;
  for (size_t s = 0; s < slices; ++s) {
    const size_t column = s * grid.columns / slices;
    double there = 0;
    for (size_t row = 0; row < grid.rows.size(); ++row)
      there += grid.rows[row][column] * static_cast<double>(grid.group_sizes[row]);
    const auto at =
        static_cast<int64_t>(static_cast<double>(grid.end_ns) * static_cast<double>(column) /
                             static_cast<double>(grid.columns));
    rows += "<tr>" + number_cell(elapsed_text(at)) +
            number_cell(page_count(static_cast<uint64_t>(std::llround(there)))) + "</tr>\n";
  }
  return "<table>" + table_head({"#From", "#Flows there"}) + "<tbody>" + rows + "</tbody></table>";
}

}  // namespace

std::string flows_section(const ReportPage& page) {
  std::string html = "<section id=\"flows\"><h2>Flows</h2>\n";
  bool any = false;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    if (!run.lives.rows.empty()) {
      any = true;
      const size_t group = run.lives.group_sizes.front();
      html +=
          figure_open(fmt::format("lives-{}", r), side_prefix(page, r) + "When flows were there");
      html += fmt::format(
          "<p class=\"noplot\">{} flows in the order of their first packets{}; each is there from "
          "its first packet to its last. Orange rows missed ticks.</p>\n",
          page_count(run.lives.flows),
          group > 1 ? fmt::format(", some {} to a row", page_count(group)) : "");
      html += details(lives_table(run.lives)) + "</figure>\n";
    }
    if (run.busiest_flows.empty()) continue;
    any = true;
    std::string rows;
    for (const FlowRow& flow : run.busiest_flows) {
      const auto end = [&](const Endpoint& endpoint, size_t side) {
        return text_cell(html_text(format_endpoint(endpoint, flow.key.ip_version)) +
                         owner_html(run.owners.find(flow.owners[side])));
      };
      rows += "<tr>" + row_head(html_text(format_protocol(flow.key.protocol)));
      rows += end(flow.initiator(), 0) + end(flow.responder(), 1);
      rows += number_cell(page_count(flow.packets[0] + flow.packets[1]));
      rows += number_cell(page_bytes(clamped(flow.bytes[0] + flow.bytes[1])));
      rows += duration_cell(flow.lateness_max_ns) + number_cell(page_count(flow.missed_ticks));
      rows += flow.replies > 0
                  ? number_cell(page_duration(
                        flow.reply_latency_sum_ns /
                        static_cast<int64_t>(std::clamp<uint64_t>(flow.replies, 1, INT64_MAX))))
                  : absent_cell();
      rows += duration_cell(flow.reply_latency_max_ns) + number_cell(page_count(flow.unanswered)) +
              "</tr>\n";
    }
    html += fmt::format("<h3>{}Busiest flows</h3>\n", side_prefix(page, r)) +
            scrolling("Busiest flows",
                      "<table>" +
                          table_head({"", "Initiator", "Responder", "#Packets", "#Bytes", "#Latest",
                                      "#Missed", "#Reply, mean", "#Reply, max", "#Unanswered"}) +
                          "<tbody>" + rows + "</tbody></table>");
  }
  return any ? html + "</section>\n" : std::string();
}

std::string threads_section(const ReportPage& page) {
  std::string html = "<section id=\"threads\"><h2>Threads</h2>\n";
  bool any = false;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    if (run.threads.empty()) continue;
    any = true;
    if (page.runs.size() > 1) html += fmt::format("<h3>{}</h3>\n", side_mark(page, r));
    std::string rows;
    for (const ThreadRow& t : run.threads) {
      rows += "<tr>" + row_head(html_text(t.name.empty() ? "–" : t.name, 60));
      rows += number_cell(fmt::format("{}", t.pid)) + number_cell(fmt::format("{}", t.tid));
      rows += duration_cell(t.cpu_ns) + duration_cell(t.run_queue_wait_ns) +
              duration_cell(t.run_queue_wait_max_ns);
      rows += count_cell(t.voluntary_switches) + count_cell(t.involuntary_switches) +
              count_cell(t.migrations) + "</tr>\n";
    }
    html += scrolling(
        "Threads", "<table>" +
                       table_head({"Thread", "#Process", "#Id", "#CPU", "#Waited", "#Longest wait",
                                   "#Voluntary", "#Involuntary", "#Migrations"}) +
                       "<tbody>" + rows + "</tbody></table>");
    if (run.threads_in_all > run.threads.size()) {
      html += fmt::format("<p class=\"note\">The {} with the most CPU time, of {}.</p>\n",
                          run.threads.size(), page_count(run.threads_in_all));
    }
  }
  return any ? html + "</section>\n" : std::string();
}

}  // namespace topspin
