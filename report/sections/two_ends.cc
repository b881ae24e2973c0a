// What `topspin ends` found, as a document.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "report/sections/parts.h"
#include "report/sections/sections.h"

namespace topspin::sections {
namespace {

using namespace document;

/// An offset between clocks, which is often much larger than its error.
std::string offset_text(int64_t ns, int64_t error_ns) {
  const int64_t magnitude = std::abs(ns);
  if (magnitude < 10 * kNanosPerSecond) {
    return fmt::format("{:.{}f}ms", static_cast<double>(magnitude) / kNanosPerMilli,
                       error_ns < 1000 ? 6 : 3);
  }
  return fmt::format("{:.6f}s", static_cast<double>(magnitude) / kNanosPerSecond);
}

Line offset_line(const ClockPiece& piece) {
  return say("{} {} ± {}", words(offset_text(piece.offset_ns, piece.offset_error_ns)),
             ours(piece.offset_ns < 0 ? "behind" : "ahead"), duration(piece.offset_error_ns));
}

/// A short recording says little about the drift, or nothing.
Line drift_line(const ClockPiece& piece) {
  constexpr double kUnknown = 999e-6;  // nearly all that is assumed to be possible
  if (piece.drift_error > kUnknown) return say("not known (too short)");
  return say("{} ppm", words(fmt::format("{:+.2f} ± {:.2f}", piece.drift * 1e6,
                                         std::max(piece.drift_error * 1e6, 0.005))));
}

Line end_file_line(const EndFile& file) {
  return say("{}: {} packets, {} of them in flows of both files; from {} to {}", words(file.file),
             count(file.packets), count(file.compared_packets), time_of_day(file.first_ns),
             time_of_day(file.last_ns));
}

Facts ends_facts(const TwoEnds& ends) {
  Facts facts;
  facts.list.emplace_back("client", end_file_line(ends.client));
  facts.list.emplace_back("server", end_file_line(ends.server));
  Line flows = say("{} in both files, {} only in the client's", count(ends.common_flows),
                   count(ends.client_flows - ends.common_flows));
  if (ends.flows_opened_by_server > 0) {
    append(flows, say("; the server's host opened {} (their replies: with the files exchanged)",
                      count(ends.flows_opened_by_server)));
  }
  if (ends.flows_of_unknown_end > 0) {
    append(flows, say("; of {} it is not known which end is where, and they are left out",
                      count(ends.flows_of_unknown_end)));
  }
  facts.list.emplace_back("flows", std::move(flows));
  if (ends.clock.size() == 1) {
    facts.list.emplace_back("clocks", say("the server's is {} in the middle; its drift: {}",
                                          offset_line(ends.clock[0]), drift_line(ends.clock[0])));
  } else if (ends.clock.size() > 1) {
    facts.list.emplace_back(
        "clocks", say("one was set, or its drift changed: {} pieces fit a line each (below)",
                      count(ends.clock.size())));
  } else {
    facts.list.emplace_back("clocks",
                            say("not known, so no reply is split: {}", ends.why_no_clock));
  }
  if (ends.shortest_way_there_and_back_ns) {
    facts.list.emplace_back(
        "shortest", say("{} there and back together; how they share it cannot be known, which is "
                        "the error",
                        duration(*ends.shortest_way_there_and_back_ns)));
  }
  return facts;
}

std::vector<std::string> ends_reasons(const TwoEnds& ends) {
  std::vector<std::string> reasons;
  for (const EndFile* file : {&ends.client, &ends.server}) {
    if (file->error) reasons.push_back("INCOMPLETE: " + *file->error);
    if (file->is_cut_off) {
      reasons.push_back(fmt::format("CUT OFF: only the first {} packets of {} were read (--count)",
                                    plain_number(Unit::kCount, static_cast<double>(file->packets)),
                                    file->file));
    }
    if (file->hidden_by_tag > 0) {
      reasons.push_back(fmt::format(
          "HIDDEN: {} frames of {} match the filter but for their VLAN tag; write FILTER or (vlan "
          "and (FILTER)) to see them too",
          file->hidden_by_tag, file->file));
    }
  }
  if (ends.replies == 0 && ends.flows_opened_by_server > 0 &&
      ends.flows_opened_by_server == ends.common_flows) {
    reasons.emplace_back(
        "EXCHANGED: the host of the second file opened all flows; give the client's file first");
  }
  return reasons;
}

/// "In the slowest 21 of 2,100 replies, ..."
std::vector<Cause> slow_cause(const TwoEnds& ends) {
  if (!ends.slow) return {};
  const SlowestReplies& slow = *ends.slow;
  size_t longest = 0;
  for (size_t part = 1; part < 3; ++part)
    if (slow.excess_ns(part) > slow.excess_ns(longest)) longest = part;
  Cause cause;
  cause.tone = Tone::kPlain;
  const int64_t excess_ns = slow.whole_mean_ns - slow.whole_usual_ns;
  cause.sentence =
      say("The slowest {} of {} replies took {} on average, {} more than the median. "
          "Most of that was {}: {} more than its own median.",
          count(slow.replies), count(ends.split()), duration(slow.whole_mean_ns),
          duration(excess_ns), ours(kEndsPartNames[longest]), duration(slow.excess_ns(longest)));
  std::vector<Line> parts;
  for (size_t part = 0; part < 3; ++part) {
    parts.push_back(say("{} {}, median of all {}", ours(kEndsPartNames[part]),
                        duration(slow.part_mean_ns[part]), duration(slow.part_usual_ns[part])));
  }
  cause.evidence = listed(parts, "; ");
  return {std::move(cause)};
}

Section replies_section(const TwoEnds& ends) {
  Section section{"replies", "Replies, on the client's clock"};
  if (ends.split() > 0) {
    Table table{"", latency_columns()};
    table.rows.push_back(latency_row(say("Whole, as the client saw it"), ends.whole.summary()));
    for (size_t part = 0; part < 3; ++part) {
      Line name{words(capitalized(kEndsPartNames[part]))};
      if (part != 1) append(name, say(" (± {})", duration(ends.error_max_ns)));
      table.rows.push_back(latency_row(std::move(name), ends.parts[part].summary()));
    }
    section.blocks.emplace_back(std::move(table));
  }
  Facts facts;
  facts.list.emplace_back("split", say("{} of {} replies; in each, the three parts add up to the "
                                       "whole",
                                       count(ends.split()), count(ends.replies)));
  const auto add = [&](uint64_t replies, const char* why) {
    if (replies > 0) facts.list.emplace_back("not split", say("{}: {}", count(replies), ours(why)));
  };
  add(ends.request_not_matched, "the request was not found in the server's file");
  add(ends.reply_not_matched, "the reply was not found in the server's file");
  add(ends.clock_unknown, "the clocks are not known at that time");
  add(ends.contradictory, "a part would be below zero");
  section.blocks.emplace_back(std::move(facts));
  return section;
}

void add_packet_rows(Table& table, std::string_view direction, const EndsDirection& counts) {
  const auto add = [&](const char* what, const EndsPackets& of) {
    table.rows.push_back(
        {{say("{}, {}", words(direction), ours(what)), count(of.packets), count(of.matched),
          count(of.cut_anew), count(of.missing), count(of.unclear), count(of.outside)}});
  };
  add("sent", counts.sent);
  add("arrived", counts.arrived);
}

Section packets_section(const TwoEnds& ends) {
  Table table{"", columns({"", "packets", "in both", "cut anew", "only here", "unclear",
                           "other file off"})};
  add_packet_rows(table, "client to server", ends.out);
  add_packet_rows(table, "server to client", ends.back);
  Section section{"packets", "Packets of these flows"};
  section.blocks.emplace_back(std::move(table));
  Facts facts;
  const auto lost = [&](const char* name, const EndsDirection& way) {
    if (way.sent.missing > 0) {
      facts.list.emplace_back(
          name, say("{} left and are not in the other file: lost on the way, or by its capture",
                    count(way.sent.missing)));
    }
    if (way.arrived.missing > 0) {
      facts.list.emplace_back(
          name, say("{} arrived and are not in the sender's file: its capture lost them, or they "
                    "were doubled on the way",
                    count(way.arrived.missing)));
    }
  };
  lost("out", ends.out);
  lost("back", ends.back);
  if (!facts.list.empty()) section.blocks.emplace_back(std::move(facts));
  return section;
}

Section clocks_section(const TwoEnds& ends) {
  Table table{"", columns({"=from", "=to", "=the server's clock", "=drift", "packets out",
                           "packets back"})};
  table.most_in_text = 20;
  for (const ClockPiece& piece : ends.clock) {
    table.rows.push_back(
        {{Span(time_of_day(piece.begin_ns)), Span(time_of_day(piece.end_ns)), offset_line(piece),
          drift_line(piece), count(piece.packets[0]), count(piece.packets[1])}});
  }
  Section section{"clocks", "Clocks"};
  section.blocks.emplace_back(std::move(table));
  return section;
}

Section slowest_section(const TwoEnds& ends) {
  Table table{"", columns({"=flow", "=request sent at", "whole", "out", "in server", "back", "±"})};
  for (const EndsReply& reply : ends.slowest) {
    const Endpoint& from = reply.initiator_is_low ? reply.key.low : reply.key.high;
    const Endpoint& to = reply.initiator_is_low ? reply.key.high : reply.key.low;
    const std::string flow = fmt::format("{} {} > {}", format_protocol(reply.key.protocol),
                                         format_endpoint(from, reply.key.ip_version),
                                         format_endpoint(to, reply.key.ip_version));
    table.rows.push_back(
        {{Span(words(flow)), Span(time_of_day(reply.request_ns)), duration(reply.whole_ns()),
          duration(reply.out_ns), duration(reply.server_ns), duration(reply.back_ns),
          duration(reply.error_ns)}});
  }
  Section section{"slowest", "Slowest replies"};
  section.blocks.emplace_back(std::move(table));
  return section;
}

}  // namespace

Document two_ends(const TwoEnds& ends) {
  Document document;
  document.title = "Two ends of the same flows";
  document.verdict.reasons = ends_reasons(ends);
  document.causes = slow_cause(ends);
  document.runs.push_back(ends_facts(ends));
  document.sections.push_back(replies_section(ends));
  document.sections.push_back(packets_section(ends));
  if (ends.clock.size() > 1) document.sections.push_back(clocks_section(ends));
  if (!ends.slowest.empty()) document.sections.push_back(slowest_section(ends));
  return document;
}

}  // namespace topspin::sections
