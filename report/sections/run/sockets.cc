// The parts of replies, and the subject's sockets.
#include <algorithm>
#include <limits>
#include <span>

#include <fmt/format.h>

#include "core/base/text.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"
#include "report/sections/sections.h"

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

std::string_view part_label(ReplyPart part) { return names_of(part).label; }

/// The parts of the slowest replies, and how fast replies would be without each.
Table tail_table(const RunPage& run) {
  Table table;
  const auto& sockets = run.fold.merged.sockets;
  const auto tail = sockets ? tail_blame(sockets->reply, sockets->reply_parts) : std::nullopt;
  if (!tail) return table;
  const std::string percentile(tail->percentile);
  table.title = fmt::format("What the slowest replies were made of: {} of {} and more",
                            format_exact(tail->replies),
                            format_duration(static_cast<int64_t>(tail->limit_ns)));
  table.columns = columns({"Mostly", "Replies", "Share"});
  table.columns.push_back({percentile + " now"});
  table.columns.push_back({percentile + " without it"});
  for (const TailBlame::Part& part : tail->parts) {
    table.rows.push_back(
        {{words(part_label(part.part)), count(part.mostly),
          share(static_cast<double>(part.mostly) / static_cast<double>(tail->replies)),
          duration(tail->percentile_ns), duration(part.without_ns)}});
  }
  return table;
}

/// The parts that make up nine tenths of a reply, the longest first.
std::string parts_in_words(const SlowReply& reply) {
  std::vector<size_t> order(kReplyPartCount);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return reply.parts[a] > reply.parts[b]; });
  std::string text;
  uint64_t told_ns = 0;
  for (const size_t part : order) {
    if (told_ns * 10 >= reply.total_ns * 9) break;
    told_ns += reply.parts[part];
    text += (text.empty() ? "" : "; ") + std::string(reply_part_names()[part].label) + " " +
            format_duration(static_cast<int64_t>(reply.parts[part]));
  }
  return text;
}

/// The first `most` of them.
Table slowest_table(const RunInfo& run, std::span<const SlowReply> replies, size_t most) {
  Table table{"Slowest replies", columns({"At", "Took", "=Made of", "=Server", "=Client", "=Thread",
                                          "Sent by", "Read by"})};
  for (const SlowReply& r : replies.first(std::min(replies.size(), most))) {
    table.rows.push_back(
        {{moment(r.ready_ns - run.started_monotonic_ns), duration(r.total_ns),
          words(parts_in_words(r)),
          words(format_protocol(r.protocol) + " " + format_endpoint(r.local, r.ip_version)),
          words(r.remote.port == 0 ? "" : format_endpoint(r.remote, r.ip_version)), words(r.sender),
          id(r.sender_tid), id(r.reader_tid)}});
  }
  return table;
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
    add_table(blocks, tail_table(run));
    add_table(blocks, slowest_table(run.run.info, run.slowest_replies, kPageSlowReplies));
    Table counts{"", columns({"", ""})};
    counts.rows = number_rows(run.fold, r, false,
                              [](const Number& number) { return number.probe == "sockets"; });
    add_table(blocks, std::move(counts));
    add_table(blocks, sockets_table(run));
    return blocks;
  });
}

Document slow_moment(const SlowMoment& moment) {
  Blocks blocks;
  const auto kept = static_cast<uint64_t>(moment.slowest.size());
  const bool any_length =
      moment.took.from_ns <= 0 && moment.took.to_ns == std::numeric_limits<int64_t>::max();
  Line line = say("From {} to {} of the run, {} were split", duration(moment.elapsed.from_ns),
                  duration(moment.elapsed.to_ns), plural(moment.replies, "reply", "replies"));
  append(line, say(any_length ? "; {} of them {} kept one by one"
                              : "; {} of them that took so long {} kept one by one",
                   count(kept), words(kept == 1 ? "is" : "are")));
  append(line, say(". Of a tick the {} slowest are kept, and of a run the {} slowest.",
                   count(kSlowRepliesATick), count(kSlowRepliesARun)));
  blocks.emplace_back(Paragraph{std::move(line)});
  add_table(blocks, slowest_table(moment.run.info, moment.slowest, moment.slowest.size()));
  Document document;
  document.sections.push_back({"slow", "Slow replies", std::move(blocks)});
  return document;
}

}  // namespace topspin::sections
