// Of what replies were made, and the subject's sockets.
#include <algorithm>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

/// The three parts of a mean reply.
Parts reply_parts(const SocketInterval& s) {
  const std::pair<const char*, const std::optional<Histogram>&> parts[] = {
      {"in the socket", s.reply_socket},
      {"waiting for a CPU", s.reply_cpu_queue},
      {"in the runtime", s.reply_runtime}};
  const auto mean = [](const std::optional<Histogram>& histogram) {
    return !histogram || histogram->empty()
               ? 0.0
               : static_cast<double>(histogram->sum()) / static_cast<double>(histogram->count());
  };
  double whole = 0;
  for (const auto& [name, histogram] : parts) whole += mean(histogram);
  Parts all;
  if (whole <= 0) return all;
  all.title = say("Inside a mean reply of {}", duration(whole));
  for (const auto& [name, histogram] : parts)
    all.parts.push_back({name, duration(mean(histogram)), mean(histogram) / whole});
  return all;
}

Table sockets_table(const RunPage& run) {
  Table table{"Listening and UDP sockets",
              columns({"", "Process", "Queue, last", "Queue, max", "Limit", "Dropped"})};
  for (const SocketRow& s : run.socket_rows) {
    const bool listens = s.accept_queue_limit.has_value();
    const auto queue = [&](const auto& connections, const auto& data) {
      return listens ? count(connections) : bytes(data);
    };
    table.rows.push_back(
        {{words(format_protocol(s.protocol) + " " + format_endpoint(s.local, s.ip_version)),
          id(s.pid), queue(s.accept_queue, s.receive_queue_bytes),
          queue(s.accept_queue_max, s.receive_queue_bytes_max),
          queue(s.accept_queue_limit, s.receive_queue_bytes_limit), count(s.drops)}});
  }
  table.more = run.sockets_in_all - run.socket_rows.size();
  table.most_in_text = 8;
  return table;
}

}  // namespace

Blocks sockets(const ReportPage& page) {
  return blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks blocks;
    if (run.fold.merged.sockets) {
      if (Parts parts = reply_parts(*run.fold.merged.sockets); !parts.parts.empty())
        blocks.emplace_back(std::move(parts));
    }
    Table counts{"", columns({"", ""})};
    counts.rows = number_rows(run.fold, r, false,
                              [](const Number& number) { return number.probe == "sockets"; });
    add_table(blocks, std::move(counts));
    add_table(blocks, sockets_table(run));
    return blocks;
  });
}

}  // namespace topspin::sections
