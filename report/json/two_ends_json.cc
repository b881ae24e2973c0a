// What `topspin ends` found, as JSON.
#include "report/json/reports.h"
#include "report/json/values.h"

namespace topspin {
namespace {

Json end_file_json(const EndFile& file) {
  return {{"file", file.file},
          {"packets", file.packets},
          {"compared_packets", file.compared_packets},
          {"other_packets", file.other_packets},
          {"duplicate_packets", file.duplicate_packets},
          {"hidden_by_vlan_tag", file.hidden_by_tag},
          {"begin_ns", file.first_ns},
          {"end_ns", file.last_ns},
          {"complete", !file.error && !file.is_cut_off},
          {"ended_at_count", file.is_cut_off},
          {"error", json_or_null(file.error)}};
}

Json clock_piece_json(const ClockPiece& piece) {
  constexpr double kMillion = 1e6;
  return {{"begin_ns", piece.begin_ns},
          {"end_ns", piece.end_ns},
          {"middle_ns", piece.middle_ns},
          {"offset_ns", piece.offset_ns},
          {"offset_error_ns", piece.offset_error_ns},
          {"offset_error_ns_max", piece.error_max_ns},
          {"drift_ppm", json_or_null(piece.drift * kMillion)},
          {"drift_error_ppm", json_or_null(piece.drift_error * kMillion)},
          {"packets_out", piece.packets[0]},
          {"packets_back", piece.packets[1]}};
}

Json end_packets_json(const EndsPackets& of) {
  return {{"packets", of.packets}, {"matched", of.matched}, {"cut_anew", of.cut_anew},
          {"missing", of.missing}, {"outside", of.outside}, {"unclear", of.unclear}};
}

Json direction_json(const EndsDirection& direction) {
  return {{"sent", end_packets_json(direction.sent)},
          {"arrived", end_packets_json(direction.arrived)},
          {"matched_by_time", direction.by_time},
          {"transit_ns", latency_json(direction.transit.summary())}};
}

Json ends_reply_json(const EndsReply& reply) {
  const Endpoint& initiator = reply.initiator_is_low ? reply.key.low : reply.key.high;
  const Endpoint& responder = reply.initiator_is_low ? reply.key.high : reply.key.low;
  return {{"protocol", format_protocol(reply.key.protocol)},
          {"initiator", format_endpoint(initiator, reply.key.ip_version)},
          {"responder", format_endpoint(responder, reply.key.ip_version)},
          {"request_ns", reply.request_ns},
          {"whole_ns", reply.whole_ns()},
          {"network_out_ns", reply.out_ns},
          {"in_server_ns", reply.server_ns},
          {"network_back_ns", reply.back_ns},
          {"network_error_ns", reply.error_ns}};
}

Json slow_part_json(const SlowestReplies& slow, size_t part) {
  return {{"mean", slow.part_mean_ns[part]},
          {"median_of_all", slow.part_usual_ns[part]},
          {"longer_by", slow.excess_ns(part)}};
}

}  // namespace

std::string two_ends_json(const TwoEnds& ends) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["client"] = end_file_json(ends.client);
  json["server"] = end_file_json(ends.server);
  json["flows"] = {{"client", ends.client_flows},
                   {"common", ends.common_flows},
                   {"opened_by_server", ends.flows_opened_by_server},
                   {"of_unknown_end", ends.flows_of_unknown_end}};
  Json pieces = Json::array();
  for (const ClockPiece& piece : ends.clock) pieces.push_back(clock_piece_json(piece));
  json["clock"] = {
      {"pieces", std::move(pieces)},
      {"reason", text_or_null(ends.why_no_clock)},
      {"shortest_way_there_and_back_ns", json_or_null(ends.shortest_way_there_and_back_ns)}};
  json["out"] = direction_json(ends.out);
  json["back"] = direction_json(ends.back);
  json["replies"] = {{"replies", ends.replies},
                     {"split", ends.split()},
                     {"request_not_matched", ends.request_not_matched},
                     {"reply_not_matched", ends.reply_not_matched},
                     {"clock_unknown", ends.clock_unknown},
                     {"contradictory", ends.contradictory},
                     {"whole_ns", latency_json(ends.whole.summary())},
                     {"network_out_ns", latency_json(ends.parts[0].summary())},
                     {"in_server_ns", latency_json(ends.parts[1].summary())},
                     {"network_back_ns", latency_json(ends.parts[2].summary())},
                     {"network_error_ns_max", ends.error_max_ns}};
  json["slowest"] = Json::array();
  for (const EndsReply& reply : ends.slowest) json["slowest"].push_back(ends_reply_json(reply));
  json["slow"] = nullptr;
  if (ends.slow) {
    json["slow"] = {
        {"replies", ends.slow->replies},
        {"whole_ns",
         {{"mean", ends.slow->whole_mean_ns}, {"median_of_all", ends.slow->whole_usual_ns}}},
        {"network_out_ns", slow_part_json(*ends.slow, 0)},
        {"in_server_ns", slow_part_json(*ends.slow, 1)},
        {"network_back_ns", slow_part_json(*ends.slow, 2)}};
  }
  return dump_json(json, 2);
}

}  // namespace topspin
