#include "capture/ends/two_recordings.h"

#include <algorithm>
#include <array>
#include <vector>

#include "capture/ends/end_recording.h"
#include "capture/ends/packet_matching.h"

namespace topspin {
namespace {

/// A percentile of fewer replies says little.
constexpr size_t kRepliesForSlowest = 10;

class ReplySplitter {
 public:
  ReplySplitter(const EndRecording& client, const FlowNumbers& flows,
                const PacketMatching& matching, int64_t step_ns, TwoEnds& ends)
      : client_(client), flows_(flows), matching_(matching), step_ns_(step_ns), ends_(ends) {}

  void split_all() {
    for (const RecordedReply& reply : client_.replies) {
      if (reply.flow == FlowNumbers::kNone || !matching_.is_common(reply.flow)) continue;
      const auto client_end = matching_.client_end(reply.flow);
      const auto initiator_end = reply.initiator_is_low ? PacketMatching::ClientEnd::kLow
                                                        : PacketMatching::ClientEnd::kHigh;
      if (client_end != initiator_end) continue;
      ++ends_.replies;
      split(reply);
    }
    list_slowest();
    compare_slowest();
  }

 private:
  void split(const RecordedReply& reply) {
    const int64_t request_at = server_stamp(reply, true), reply_at = server_stamp(reply, false);
    if (request_at == PacketMatching::kNone) return void(++ends_.request_not_matched);
    if (reply_at == PacketMatching::kNone) return void(++ends_.reply_not_matched);
    const auto& clock = matching_.clock();
    const auto piece = clock ? clock->piece_at(reply.request_ns) : std::nullopt;
    if (!piece || clock->piece_at(reply.reply_ns) != piece) return void(++ends_.clock_unknown);
    const auto arrival = clock->client_time(request_at, *piece);
    const auto departure = clock->client_time(reply_at, *piece);
    EndsReply parts;
    parts.request_ns = reply.request_ns;
    parts.out_ns = arrival.ns - reply.request_ns;
    parts.server_ns = departure.ns - arrival.ns;
    parts.back_ns = reply.reply_ns - departure.ns;
    parts.error_ns = std::max(arrival.error_ns, departure.error_ns);
    const int64_t least_ns = -(parts.error_ns + step_ns_);
    if (parts.out_ns < least_ns || parts.back_ns < least_ns || parts.server_ns < -step_ns_)
      return void(++ends_.contradictory);
    parts.key = flows_.keys()[reply.flow].to_flow_key();
    parts.initiator_is_low = reply.initiator_is_low;
    ends_.whole.record(static_cast<uint64_t>(std::max<int64_t>(parts.whole_ns(), 0)));
    ends_.parts[0].record(parts.out_ns);
    ends_.parts[1].record(parts.server_ns);
    ends_.parts[2].record(parts.back_ns);
    ends_.error_max_ns = std::max(ends_.error_max_ns, parts.error_ns);
    times_.push_back({parts.out_ns, parts.server_ns, parts.back_ns});
    keep_if_slow(parts);
  }

  /// When the request arrived at the server, or the reply left it, on its clock.
  int64_t server_stamp(const RecordedReply& reply, bool is_request) const {
    const bool from_low = is_request == reply.initiator_is_low;
    const size_t side = size_t{reply.flow} * 2 + (from_low ? 0 : 1);
    const int64_t stamp_ns = is_request ? reply.request_ns : reply.reply_ns;
    const auto begin = client_.packets.begin();
    const auto end = begin + static_cast<std::ptrdiff_t>(client_.sides[side + 1]);
    auto at =
        std::lower_bound(begin + static_cast<std::ptrdiff_t>(client_.sides[side]), end, stamp_ns,
                         [](const EndPacket& packet, int64_t ns) { return packet.stamp_ns < ns; });
    for (; at != end && at->stamp_ns == stamp_ns; ++at)
      if (at->payload_bytes > 0) return matching_.server_stamp(static_cast<size_t>(at - begin));
    return PacketMatching::kNone;
  }

  void keep_if_slow(const EndsReply& parts) {
    auto& slowest = ends_.slowest;
    const auto is_slower = [](const EndsReply& a, const EndsReply& b) {
      return a.whole_ns() > b.whole_ns();
    };
    if (slowest.size() == kSlowestListed && !is_slower(parts, slowest.front())) return;
    // A heap, the least slow in front.
    slowest.push_back(parts);
    std::push_heap(slowest.begin(), slowest.end(), is_slower);
    if (slowest.size() <= kSlowestListed) return;
    std::pop_heap(slowest.begin(), slowest.end(), is_slower);
    slowest.pop_back();
  }
  void list_slowest() {
    std::stable_sort(
        ends_.slowest.begin(), ends_.slowest.end(),
        [](const EndsReply& a, const EndsReply& b) { return a.whole_ns() > b.whole_ns(); });
  }

  using Times = std::array<int64_t, 3>;
  static int64_t whole_of(const Times& times) { return times[0] + times[1] + times[2]; }

  template <typename Value>
  int64_t median_of(Value value) const {
    std::vector<int64_t> values;
    values.reserve(times_.size());
    for (const Times& times : times_) values.push_back(value(times));
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }

  void compare_slowest() {
    if (times_.size() < kRepliesForSlowest) return;
    SlowestReplies slow;
    slow.whole_usual_ns = median_of(whole_of);
    for (size_t part = 0; part < 3; ++part)
      slow.part_usual_ns[part] = median_of([&](const Times& times) { return times[part]; });
    const size_t count = std::max<size_t>(times_.size() / 100, 1);
    const auto last = times_.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(times_.begin(), last - 1, times_.end(),
                     [](const Times& a, const Times& b) { return whole_of(a) > whole_of(b); });
    std::array<double, 3> sums{};
    for (auto at = times_.begin(); at != last; ++at)
      for (size_t part = 0; part < 3; ++part) sums[part] += static_cast<double>((*at)[part]);
    slow.replies = count;
    for (size_t part = 0; part < 3; ++part) {
      slow.part_mean_ns[part] = static_cast<int64_t>(sums[part] / static_cast<double>(count));
      slow.whole_mean_ns += slow.part_mean_ns[part];
    }
    ends_.slow = slow;
  }

  const EndRecording& client_;
  const FlowNumbers& flows_;
  const PacketMatching& matching_;
  int64_t step_ns_;
  TwoEnds& ends_;
  std::vector<Times> times_;
};

Error no_common_flows(const EndRecording& client, const EndRecording& server) {
  if (client.packets.empty()) {
    return make_error(
        ErrorCode::kInput,
        client.file.file + " has no packets of TCP or UDP flows that pass the filter");
  }
  if (server.file.packets == 0) {
    return make_error(ErrorCode::kInput, server.file.file + " has no packets that pass the filter");
  }
  return make_error(
      ErrorCode::kInput,
      "the two files have no flow in common. Were both recorded at the same time, of the same "
      "traffic? If addresses or ports are translated between the hosts (NAT, a proxy, a load "
      "balancer), record on the client's side of it and give that file as the client's");
}

}  // namespace

Result<TwoEnds> compare_two_ends(const TwoRecordings& recordings) {
  const HashSeed seed =
      recordings.client.seed ? HashSeed::fixed(*recordings.client.seed) : HashSeed::random();
  FlowNumbers flows(seed);
  TOPSPIN_ASSIGN(EndRecording client,
                 read_clients_end(recordings.client, recordings.table, seed, flows));
  TOPSPIN_ASSIGN(EndRecording server,
                 read_servers_end(recordings.server, recordings.table.key, seed, flows));

  PacketMatching matching(client, server, flows);
  TwoEnds ends;
  ends.client_flows = flows.keys().size();
  for (uint32_t flow = 0; flow < flows.keys().size(); ++flow) {
    if (matching.is_common(flow)) {
      ++ends.common_flows;
      client.file.compared_packets += client.sides[flow * 2 + 2] - client.sides[flow * 2];
      server.file.compared_packets += server.sides[flow * 2 + 2] - server.sides[flow * 2];
    } else {
      client.file.other_packets += client.sides[flow * 2 + 2] - client.sides[flow * 2];
    }
  }
  if (ends.common_flows == 0) return no_common_flows(client, server);

  matching.relate_clocks();
  matching.match();
  for (uint32_t flow = 0; flow < flows.keys().size(); ++flow) {
    if (!matching.is_common(flow)) continue;
    const auto end = matching.client_end(flow);
    ends.flows_of_unknown_end += end == PacketMatching::ClientEnd::kUnknown;
    ends.flows_opened_by_server +=
        end == (client.initiator_is_low[flow] ? PacketMatching::ClientEnd::kHigh
                                              : PacketMatching::ClientEnd::kLow);
  }
  ends.why_no_clock = matching.why_no_clock();
  if (matching.clock()) ends.clock = matching.clock()->pieces();
  ends.shortest_way_there_and_back_ns = matching.shortest_round_ns();
  ends.out = matching.direction(0);
  ends.back = matching.direction(1);
  ReplySplitter(client, flows, matching, client.step_ns + server.step_ns, ends).split_all();
  ends.client = std::move(client.file);
  ends.server = std::move(server.file);
  return ends;
}

}  // namespace topspin
