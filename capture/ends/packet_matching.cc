#include "capture/ends/packet_matching.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "core/base/check.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

/// No packet is on its way for longer: TCP gives up.
constexpr int64_t kTransitMaxNs = 120 * kNanosPerSecond;

std::array<uint8_t, 17> address_of(const PacketKey& key, bool low) {
  std::array<uint8_t, 17> address{};
  const auto& bytes = low ? key.low : key.high;
  std::copy(bytes.begin(), bytes.end(), address.begin());
  address[16] = key.ip_version();
  return address;
}

int64_t median(std::vector<int64_t>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

/// One side of a flow, from the sender's file to the other one's.
struct PacketMatching::Way {
  bool is_out = false;
  bool is_tcp = false;
  EndsDirection& counts;
  std::vector<size_t> only_sent = {};  // places of those without a match
  std::vector<size_t> only_arrived = {};
  std::vector<size_t> again_sent = {};  // likewise, alike to ones with a match
  std::vector<size_t> again_arrived = {};
};

PacketMatching::PacketMatching(const EndRecording& client, const EndRecording& server,
                               const FlowNumbers& flows)
    : client_(client),
      server_(server),
      flows_(flows),
      has_tails_(!client.has_short_payloads && !server.has_short_payloads),
      own_votes_(flows.keys().size(), 0),
      client_ends_(flows.keys().size(), ClientEnd::kUnknown),
      matched_(client.packets.size(), kNone) {}

std::vector<size_t> PacketMatching::by_identity(const EndRecording& recording,
                                                uint32_t side) const {
  std::vector<size_t> places(recording.sides[side + 1] - recording.sides[side]);
  std::iota(places.begin(), places.end(), recording.sides[side]);
  std::stable_sort(places.begin(), places.end(), [&](size_t a, size_t b) {
    const EndPacket& x = recording.packets[a];
    const EndPacket& y = recording.packets[b];
    return std::pair(x.identity, tail(x)) < std::pair(y.identity, tail(y));
  });
  return places;
}

/// Visits each identity of the side that either file has.
template <typename Visit>
void PacketMatching::for_each_alike(uint32_t side, Visit visit) const {
  const std::vector<size_t> of_client = by_identity(client_, side);
  const std::vector<size_t> of_server = by_identity(server_, side);
  const auto name = [&](const EndPacket& packet) {
    return std::pair(packet.identity, tail(packet));
  };
  Alike alike;
  size_t c = 0, s = 0;
  while (c < of_client.size() || s < of_server.size()) {
    alike.client.clear();
    alike.server.clear();
    std::pair<uint64_t, uint32_t> next{UINT64_MAX, UINT32_MAX};
    if (c < of_client.size()) next = std::min(next, name(client_.packets[of_client[c]]));
    if (s < of_server.size()) next = std::min(next, name(server_.packets[of_server[s]]));
    for (; c < of_client.size() && name(client_.packets[of_client[c]]) == next; ++c)
      alike.client.push_back(of_client[c]);
    for (; s < of_server.size() && name(server_.packets[of_server[s]]) == next; ++s)
      alike.server.push_back(of_server[s]);
    visit(std::as_const(alike));
  }
}

// --- the clocks ---

void PacketMatching::relate_clocks() {
  const auto flow_count = static_cast<uint32_t>(flows_.keys().size());
  std::array<std::vector<int64_t>, 2> differences;
  for (uint32_t flow = 0; flow < flow_count; ++flow) {
    if (!is_common(flow)) continue;
    for (uint32_t end = 0; end < 2; ++end) {
      differences[end].clear();
      for_each_alike(flow * 2 + end, [&](const Alike& alike) {
        if (alike.client.size() != 1 || alike.server.size() != 1) return;
        const int64_t client_ns = client_.packets[alike.client[0]].stamp_ns;
        const int64_t difference_ns = server_.packets[alike.server[0]].stamp_ns - client_ns;
        anchors_.push_back({client_ns, difference_ns, flow * 2 + end});
        differences[end].push_back(difference_ns);
      });
    }
    vote(flow, differences[0], differences[1]);
  }
  settle_ends();

  std::vector<ClockPoint> points;
  points.reserve(anchors_.size());
  for (const Anchor& anchor : anchors_) {
    const ClientEnd end = client_ends_[anchor.side / 2];
    if (end == ClientEnd::kUnknown) continue;
    const bool from_low = anchor.side % 2 == 0;
    points.push_back(
        {anchor.client_ns, anchor.difference_ns, from_low == (end == ClientEnd::kLow)});
  }
  if (points.empty() && !anchors_.empty()) {
    why_no_clock_ =
        undecided_ > 0
            ? "packets of both directions have the same times in both files, as in two recordings "
              "of one host"
            : "which end of the flows is on which host is not known: no flow has packets of both "
              "directions that can be told from all others";
    return;
  }
  std::sort(points.begin(), points.end(),
            [](const ClockPoint& a, const ClockPoint& b) { return a.client_ns < b.client_ns; });
  anchors_ = {};
  auto clock = ClockBounds::find(points, client_.step_ns, server_.step_ns, client_.file.first_ns,
                                 client_.file.last_ns);
  if (!clock.ok()) {
    why_no_clock_ = clock.error().message;
    return;
  }
  clock_ = std::move(*clock);
  for (const ClockPoint& point : points) {
    const auto way_ns =
        transit(point.is_out, point.client_ns, point.client_ns + point.difference_ns);
    if (!way_ns) continue;
    const size_t way = point.is_out ? 0 : 1;
    transit_max_[way] =
        std::max(transit_max_[way], std::min(way_ns->ns + way_ns->error_ns, kTransitMaxNs));
    transit_min_[way] = std::min(transit_min_[way].value_or(way_ns->ns), way_ns->ns);
  }
}

void PacketMatching::vote(uint32_t flow, std::vector<int64_t>& from_low,
                          std::vector<int64_t>& from_high) {
  if (from_low.empty() || from_high.empty()) return;
  const int64_t low = median(from_low), high = median(from_high);
  undecided_ += low == high;
  own_votes_[flow] = static_cast<int8_t>(low > high ? 1 : low < high ? -1 : 0);
  votes_[address_of(flows_.keys()[flow], true)] += own_votes_[flow];
  votes_[address_of(flows_.keys()[flow], false)] -= own_votes_[flow];
}

void PacketMatching::settle_ends() {
  const auto votes_for = [&](const PacketKey& key, bool low) {
    const auto found = votes_.find(address_of(key, low));
    return found == votes_.end() ? 0 : found->second;
  };
  for (size_t flow = 0; flow < client_ends_.size(); ++flow) {
    const PacketKey& key = flows_.keys()[flow];
    int64_t for_low = votes_for(key, true) - votes_for(key, false);
    if (for_low == 0) for_low = own_votes_[flow];  // both ends have one address
    if (for_low != 0) client_ends_[flow] = for_low > 0 ? ClientEnd::kLow : ClientEnd::kHigh;
  }
}

std::optional<int64_t> PacketMatching::shortest_round_ns() const {
  if (!transit_min_[0] || !transit_min_[1]) return std::nullopt;
  return *transit_min_[0] + *transit_min_[1];
}

/// nullopt: the clocks are not known at that time.
std::optional<PacketMatching::Transit> PacketMatching::transit(bool is_out, int64_t client_ns,
                                                               int64_t server_ns) const {
  const auto offset = clock_ ? clock_->at(client_ns) : std::nullopt;
  if (!offset) return std::nullopt;
  const int64_t out_ns = server_ns - client_ns - offset->ns;
  return Transit{is_out ? out_ns : -out_ns, offset->error_ns + client_.step_ns + server_.step_ns};
}

// --- matching ---

void PacketMatching::match() {
  for (uint32_t flow = 0; flow < flows_.keys().size(); ++flow) {
    if (!is_common(flow) || client_ends_[flow] == ClientEnd::kUnknown) continue;
    match_side(flow * 2);
    match_side(flow * 2 + 1);
  }
}

void PacketMatching::match_side(uint32_t side) {
  const bool is_out = (side % 2 == 0) == (client_ends_[side / 2] == ClientEnd::kLow);
  Way way{is_out, flows_.keys()[side / 2].protocol() == kProtocolTcp, directions_[is_out ? 0 : 1]};
  for_each_alike(side, [&](const Alike& alike) { match_alike(way, alike); });
  if (way.is_tcp) match_cut_anew(way, way.only_sent, way.only_arrived);
  for (const auto* sent : {&way.only_sent, &way.again_sent}) count_unmatched(way, *sent, true);
  for (const auto* arrived : {&way.only_arrived, &way.again_arrived})
    count_unmatched(way, *arrived, false);
}

void PacketMatching::match_alike(Way& way, const Alike& alike) {
  std::vector<size_t> sent = way.is_out ? alike.client : alike.server;
  std::vector<size_t> arrived = way.is_out ? alike.server : alike.client;
  way.counts.sent.packets += sent.size();
  way.counts.arrived.packets += arrived.size();
  if (sent.size() == 1 && arrived.size() == 1) {
    return pair(way, sent[0], arrived[0]);
  } else if (!sent.empty() && !arrived.empty()) {
    if (client_.packets[alike.client[0]].is_data) {
      match_segments(way, sent, arrived);
      take_unclear(way, sent, arrived, kTransitMaxNs);
    } else {
      match_by_time(way, sent, arrived);
      take_unclear(way, sent, arrived, transit_max_[way.is_out ? 0 : 1]);
    }
    // The rest is no segment cut anew: the same one was sent again.
    way.again_sent.insert(way.again_sent.end(), sent.begin(), sent.end());
    way.again_arrived.insert(way.again_arrived.end(), arrived.begin(), arrived.end());
    return;
  }
  way.only_sent.insert(way.only_sent.end(), sent.begin(), sent.end());
  way.only_arrived.insert(way.only_arrived.end(), arrived.begin(), arrived.end());
}

std::optional<PacketMatching::Transit> PacketMatching::transit(const Way& way, size_t sent,
                                                               size_t arrived) const {
  const size_t client = way.is_out ? sent : arrived, server = way.is_out ? arrived : sent;
  return transit(way.is_out, client_.packets[client].stamp_ns, server_.packets[server].stamp_ns);
}

/// Notes that the two are one packet.
void PacketMatching::pair(Way& way, size_t sent, size_t arrived) {
  const size_t client = way.is_out ? sent : arrived;
  if (const auto way_ns = transit(way, sent, arrived)) way.counts.transit.record(way_ns->ns);
  matched_[client] = server_.packets[way.is_out ? arrived : sent].stamp_ns;
  ++way.counts.sent.matched;
  ++way.counts.arrived.matched;
}

/// Leaves in `sent` and `arrived` what is not matched.
void PacketMatching::match_segments(Way& way, std::vector<size_t>& sent,
                                    std::vector<size_t>& arrived) {
  std::vector<size_t> sent_left, arrived_left;
  size_t next = 0;
  for (const size_t at : arrived) {
    const auto is_before = [&](size_t place) {
      const auto way_ns = transit(way, place, at);
      return way_ns && !way_ns->is_impossible();
    };
    if (next == sent.size() || !is_before(sent[next])) {
      arrived_left.push_back(at);
      continue;
    }
    pair(way, sent[next], at);
    for (++next; next < sent.size() && is_before(sent[next]); ++next)
      sent_left.push_back(sent[next]);
  }
  sent_left.insert(sent_left.end(), sent.begin() + static_cast<std::ptrdiff_t>(next), sent.end());
  sent = std::move(sent_left);
  arrived = std::move(arrived_left);
}

/// Likewise.
void PacketMatching::match_by_time(Way& way, std::vector<size_t>& sent,
                                   std::vector<size_t>& arrived) {
  const EndRecording& from = way.is_out ? client_ : server_;
  const int64_t longest_ns = transit_max_[way.is_out ? 0 : 1];
  std::vector<bool> is_taken(sent.size(), false);
  std::vector<size_t> arrived_left;
  size_t next = 0;  // the first that was sent after `at` arrived
  for (const size_t at : arrived) {
    for (; next < sent.size(); ++next) {
      const auto way_ns = transit(way, sent[next], at);
      if (!way_ns || way_ns->is_impossible()) break;
    }
    const auto stamp = [&](size_t i) { return from.packets[sent[i]].stamp_ns; };
    bool is_plain = next > 0 && !is_taken[next - 1];
    if (is_plain) {
      const auto way_ns = transit(way, sent[next - 1], at);
      is_plain = way_ns && way_ns->ns - way_ns->error_ns <= longest_ns &&
                 (next < 2 || stamp(next - 1) - stamp(next - 2) > 2 * longest_ns);
    }
    if (is_plain) {
      pair(way, sent[next - 1], at);
      is_taken[next - 1] = true;
      ++way.counts.by_time;
    } else {
      arrived_left.push_back(at);
    }
  }
  std::vector<size_t> sent_left;
  for (size_t i = 0; i < sent.size(); ++i)
    if (!is_taken[i]) sent_left.push_back(sent[i]);
  sent = std::move(sent_left);
  arrived = std::move(arrived_left);
}

/// Takes out of `sent` and `arrived` as many of each as may be the same ones.
void PacketMatching::take_unclear(Way& way, std::vector<size_t>& sent, std::vector<size_t>& arrived,
                                  int64_t longest_ns) {
  std::vector<size_t> sent_left, arrived_left;
  size_t next = 0;
  for (const size_t at : arrived) {
    for (; next < sent.size(); ++next) {
      const auto way_ns = transit(way, sent[next], at);
      if (!way_ns || way_ns->ns - way_ns->error_ns <= longest_ns) break;
      sent_left.push_back(sent[next]);
    }
    const auto way_ns = next < sent.size() ? transit(way, sent[next], at) : std::nullopt;
    if (next == sent.size() || (way_ns && way_ns->is_impossible())) {
      arrived_left.push_back(at);
      continue;
    }
    ++next;
    ++way.counts.sent.unclear;
    ++way.counts.arrived.unclear;
  }
  sent_left.insert(sent_left.end(), sent.begin() + static_cast<std::ptrdiff_t>(next), sent.end());
  sent = std::move(sent_left);
  arrived = std::move(arrived_left);
}

/// Takes out of `sent` and `arrived` the segments whose first byte is within a segment of the other
/// file, and notes when that one passed.
void PacketMatching::match_cut_anew(Way& way, std::vector<size_t>& sent,
                                    std::vector<size_t>& arrived) {
  const auto take = [&](std::vector<size_t>& places, const EndRecording& own,
                        const EndRecording& other, EndsPackets& counts) {
    // In order of sequence: places come that way from for_each_alike().
    std::vector<size_t> left;
    if (places.empty()) return;
    const std::vector<size_t> others = by_identity(other, own.packets[places[0]].side);
    size_t next = 0;
    uint64_t covered_to = 0;
    size_t by = 0;
    for (const size_t place : places) {
      const EndPacket& packet = own.packets[place];
      if (!packet.is_data) {
        left.push_back(place);
        continue;
      }
      for (; next < others.size(); ++next) {
        const EndPacket& candidate = other.packets[others[next]];
        if (!candidate.is_data || candidate.identity > packet.identity) break;
        const uint64_t end = candidate.identity + candidate.payload_bytes;
        if (end > covered_to) {
          covered_to = end;
          by = others[next];
        }
      }
      if (covered_to <= packet.identity) {
        left.push_back(place);
        continue;
      }
      ++counts.cut_anew;
      if (&own != &client_) continue;
      const int64_t server_ns = other.packets[by].stamp_ns;
      const auto way_ns = transit(way.is_out, packet.stamp_ns, server_ns);
      if (way_ns && !way_ns->is_impossible() && way_ns->ns <= kTransitMaxNs)
        matched_[place] = server_ns;
    }
    places = std::move(left);
  };
  const EndRecording& from = way.is_out ? client_ : server_;
  const EndRecording& to = way.is_out ? server_ : client_;
  take(sent, from, to, way.counts.sent);
  take(arrived, to, from, way.counts.arrived);
}

/// Counts packets that only one file has as missing in the other, or as outside of its time.
void PacketMatching::count_unmatched(Way& way, const std::vector<size_t>& places, bool is_sent) {
  const bool is_of_client = way.is_out == is_sent;
  EndsPackets& counts = is_sent ? way.counts.sent : way.counts.arrived;
  if (!clock_) {
    counts.outside += places.size();
    return;
  }
  // When the other file was recorded, on the client's clock.
  const EndRecording& own = is_of_client ? client_ : server_;
  const EndFile& other = is_of_client ? server_.file : client_.file;
  int64_t begin_ns = other.first_ns, end_ns = other.last_ns;
  if (is_of_client) {
    begin_ns = clock_->client_time(begin_ns, 0).ns;
    end_ns = clock_->client_time(end_ns, clock_->pieces().size() - 1).ns;
  }
  // What was sent may arrive as much later, and what arrived was sent as much earlier. (An error of
  // the offset changes both sides of the comparison below alike.)
  const int64_t longest_ns = transit_max_[way.is_out ? 0 : 1];
  (is_sent ? end_ns : begin_ns) += is_sent ? -longest_ns : longest_ns;
  for (const size_t place : places) {
    int64_t at_ns = own.packets[place].stamp_ns;
    const auto time = is_of_client ? std::nullopt : clock_->client_time(at_ns);
    if (time) at_ns = time->ns;
    const bool is_known = is_of_client ? clock_->piece_at(at_ns).has_value() : time.has_value();
    const bool is_inside = is_known && at_ns >= begin_ns && at_ns <= end_ns;
    ++(is_inside ? counts.missing : counts.outside);
  }
}

}  // namespace topspin
