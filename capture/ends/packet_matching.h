// PacketMatching finds the packets of one recording in the other.
//
// First those that can be told from all others of their flow and direction in both files. They
// bound the clocks. With the clocks known, packets that came several times with the same identity:
//  - Of a TCP segment with payload that was sent several times, the first that was sent belongs to
//    the first that arrived, so a time in which it was lost and sent again is a time on the way.
//  - Of alike datagrams, and alike segments without payload, one that arrived belongs to the latest
//    that was sent before, if the one sent before that is older than twice the longest known way.
//    Otherwise they are not told apart.
// Last, segments that begin in the middle of a segment of the other file, as offloads cut them.
//
// Which end of a flow is at the client's host follows from the times: a packet from there has a
// greater difference of stamps (by the time of the way there and back) than one to there. Each flow
// with packets both ways votes with its medians for its two addresses.
//
// Memory: 8 bytes per packet of the client's file, 24 per packet that bounds the clocks, and 8 per
// packet of the largest flow. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "capture/ends/clock_bounds.h"
#include "capture/ends/end_recording.h"

namespace topspin {

class PacketMatching {
 public:
  /// The references must outlive it.
  PacketMatching(const EndRecording& client, const EndRecording& server, const FlowNumbers& flows);

  /// Finds the packets that bound the clocks, and with these the clocks.
  void relate_clocks();
  const std::optional<ClockBounds>& clock() const { return clock_; }
  const std::string& why_no_clock() const { return why_no_clock_; }
  /// The shortest way there plus the shortest way back.
  std::optional<int64_t> shortest_round_ns() const;

  /// Matches the other packets, and counts all.
  void match();
  /// 0: client to server.
  const EndsDirection& direction(size_t way) const { return directions_[way]; }

  enum class ClientEnd : uint8_t { kUnknown, kLow, kHigh };
  ClientEnd client_end(uint32_t flow) const { return client_ends_[flow]; }

  bool is_common(uint32_t flow) const { return of_flow(client_, flow) && of_flow(server_, flow); }

  static constexpr int64_t kNone = INT64_MIN;
  /// For a packet of the client's file: the time on the server's clock when it arrived there, or
  /// left there; kNone: not known.
  int64_t server_stamp(size_t client_packet) const { return matched_[client_packet]; }

 private:
  struct Anchor {
    int64_t client_ns = 0;
    int64_t difference_ns = 0;
    uint32_t side = 0;
  };
  /// Packets of one side with the same identity, by their places in the recordings, oldest first.
  struct Alike {
    std::vector<size_t> client;
    std::vector<size_t> server;
  };
  /// What the counting of one side needs.
  struct Way;

  static bool of_flow(const EndRecording& recording, uint32_t flow) {
    return recording.sides[flow * 2] < recording.sides[flow * 2 + 2];
  }
  template <typename Visit>
  void for_each_alike(uint32_t side, Visit visit) const;
  std::vector<size_t> by_identity(const EndRecording& recording, uint32_t side) const;
  uint32_t tail(const EndPacket& packet) const { return has_tails_ ? packet.tail : 0; }

  void vote(uint32_t flow, std::vector<int64_t>& from_low, std::vector<int64_t>& from_high);
  void settle_ends();
  void match_side(uint32_t side);
  void match_alike(Way& way, const Alike& alike);
  void match_segments(Way& way, std::vector<size_t>& sent, std::vector<size_t>& arrived);
  void match_by_time(Way& way, std::vector<size_t>& sent, std::vector<size_t>& arrived);
  void take_unclear(Way& way, std::vector<size_t>& sent, std::vector<size_t>& arrived,
                    int64_t longest_ns);
  void match_cut_anew(Way& way, std::vector<size_t>& sent, std::vector<size_t>& arrived);
  void count_unmatched(Way& way, const std::vector<size_t>& places, bool is_sent);
  void pair(Way& way, size_t sent, size_t arrived);
  /// The time on the way, by the line of the clocks, and its error.
  struct Transit {
    int64_t ns = 0;
    int64_t error_ns = 0;
    /// It would be below zero with every possible offset.
    bool is_impossible() const { return ns < -error_ns; }
  };
  std::optional<Transit> transit(bool is_out, int64_t client_ns, int64_t server_ns) const;
  /// If the packet of this number that was sent is the one that arrived.
  std::optional<Transit> transit(const Way& way, size_t sent, size_t arrived) const;

  const EndRecording& client_;
  const EndRecording& server_;
  const FlowNumbers& flows_;
  bool has_tails_;

  std::vector<Anchor> anchors_;
  std::map<std::array<uint8_t, 17>, int64_t> votes_;  // by address; above 0: at the client's host
  std::vector<int8_t> own_votes_;                     // by flow
  uint64_t undecided_ = 0;  // flows whose packets both ways have the same differences
  std::vector<ClientEnd> client_ends_;

  std::optional<ClockBounds> clock_;
  std::string why_no_clock_;
  std::array<std::optional<int64_t>, 2> transit_min_;
  std::array<int64_t, 2> transit_max_{};

  std::vector<int64_t> matched_;  // by packet of the client's file
  std::array<EndsDirection, 2> directions_;
};

}  // namespace topspin
