#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/thread_wait.h"
#include "report/html/sections.h"
#include "report/html/table.h"
#include "report/model/headlines.h"

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

/// What became of the traffic, as far as it is more than nothing.
std::string traffic_table(const RunPage& run) {
  const FlowInterval& f = run.summary.flows;
  std::string rows;
  const auto row = [&](std::string_view what, std::string_view path, uint64_t count) {
    if (count == 0) return;
    rows += fmt::format(
        "<tr>{}<td class=\"n\"><data value=\"{}\" data-path=\"summary.{}\">{}</data></td></tr>\n",
        row_head(std::string(what)), count, path, page_count(count));
  };
  row("Requests", "requests", f.requests);
  row("Not answered within the timeout", "unanswered", f.unanswered);
  row("Of these, answered later", "late_replies", f.late_replies);
  row("Not measured: others were open on their flow", "overlapping_requests",
      f.overlapping_requests);
  row("Turns of TLS handshakes, which are no replies", "handshake_turns", f.handshake_turns);
  row("Turns of multiplexed connections (HTTP/2), likewise", "multiplexed_turns",
      f.multiplexed_turns);
  row("TCP handshakes", "tcp_handshakes", f.tcp_handshakes);
  row("TCP segments sent again", "tcp_retransmissions", f.tcp_retransmissions);
  row("TCP segments out of order", "tcp_out_of_order", f.tcp_out_of_order);
  row("TCP resets", "tcp_resets", f.tcp_resets);
  row("TCP connections refused", "tcp_refused", f.tcp_refused);
  row("TCP connections never completed", "tcp_half_open", f.tcp_half_open);
  row("Packets seen again on another interface, counted once", "duplicate_packets",
      f.duplicate_packets);
  row("Packets stamped before one that came earlier", "time_went_backwards", f.time_went_backwards);
  row("Steps of the packets' clock", "time_steps", f.time_steps);
  if (rows.empty()) return {};
  return scrolling("Traffic", "<table><tbody>" + rows + "</tbody></table>");
}

}  // namespace

std::string flows_section(const ReportPage& page) {
  std::string html = "<section id=\"flows\"><h2>Flows</h2>\n";
  bool any = false;
  const bool periods = has_lateness(page);
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    if (!run.lives.rows.empty()) {
      any = true;
      const size_t group = run.lives.group_sizes.front();
      html +=
          figure_open(fmt::format("lives-{}", r), side_prefix(page, r) + "When flows were there");
      html += fmt::format(
          "<p class=\"noplot\">{} flows in the order of their first packets{}; each is there from "
          "its first packet to its last.{}</p>\n",
          page_count(run.lives.flows),
          group > 1 ? fmt::format(", some {} to a row", page_count(group)) : "",
          periods ? " Orange rows missed ticks." : "");
      html += details(lives_table(run.lives)) + "</figure>\n";
    }
    const std::string counts = traffic_table(run);
    any = any || !counts.empty();
    html += counts;
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
      if (periods) {
        rows += duration_cell(flow.lateness_max_ns) +
                number_cell(page_count(flow.missed_ticks) + (flow.silent ? ", silent" : ""));
      }
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
                          (periods ? table_head({"", "Initiator", "Responder", "#Packets", "#Bytes",
                                                 "#Latest", "#Missed", "#Reply, mean",
                                                 "#Reply, max", "#Unanswered"})
                                   : table_head({"", "Initiator", "Responder", "#Packets", "#Bytes",
                                                 "#Reply, mean", "#Reply, max", "#Unanswered"})) +
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
      rows += duration_cell(t.cpu_ns) + duration_cell(waited_ns(t)) +
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
