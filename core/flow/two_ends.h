// TwoEnds: what two recordings of the same flows say together, one made on the client's host and
// one on the server's (docs/two-ends.md).
//
// The client's host is the one of the first file. All times are on the client's clock, unless their
// name says otherwise. What depends on the offset between the clocks is off by at most the error
// beside it. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/flow/flow.h"
#include "core/number/histogram.h"

namespace topspin {

/// One of the two files.
struct EndFile {
  std::string file;
  uint64_t packets = 0;           // that matched the filter
  uint64_t compared_packets = 0;  // of these, those of flows that are in both files
  uint64_t other_packets = 0;     // of these, in flows that only this file has
  int64_t first_ns = 0;           // the file's own clock
  int64_t last_ns = 0;
  bool is_cut_off = false;           // reading ended at the limit of packets
  std::optional<std::string> error;  // why the file was not read to its end
  uint64_t hidden_by_tag = 0;        // frames that the filter hid because of their VLAN tag
  uint64_t duplicate_packets = 0;    // seen again on another interface; in no other count
};

/// A stretch of time in which one straight line fits the difference of the clocks:
/// server = client + offset + drift * (client's time - middle).
struct ClockPiece {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t middle_ns = 0;        // between the first and the last packet that bound it
  int64_t offset_ns = 0;        // then
  int64_t offset_error_ns = 0;  // then
  int64_t error_max_ns = 0;     // the largest in the piece, at one of its ends
  double drift = 0;             // 1e-6 is a microsecond per second (ppm)
  double drift_error = 0;
  std::array<uint64_t, 2> packets{};  // that bound it: out, back
};

/// Packets of one direction in one of the files. Each packet is in one of the other counts.
struct EndsPackets {
  uint64_t packets = 0;
  uint64_t matched = 0;   // with one of the other file
  uint64_t cut_anew = 0;  // the other file has its bytes in a segment with other bounds (offload)
  uint64_t missing = 0;   // not in the other file, which was recorded at that time
  uint64_t outside = 0;   // not in the other file, which was not recorded at that time
  uint64_t unclear = 0;   // sent several times with the same bytes, and not told apart

  bool operator==(const EndsPackets&) const = default;
};

/// One direction, of flows that are in both files.
struct EndsDirection {
  EndsPackets sent;         // in the file of the host that sent them
  EndsPackets arrived;      // in the file of the other host
  uint64_t by_time = 0;     // of those matched: alike ones that were told apart by their time
  SignedHistogram transit;  // from one file to the other, where the clocks are known
};

struct EndsReply {
  FlowKey key;
  bool initiator_is_low = true;
  int64_t request_ns = 0;
  int64_t out_ns = 0;
  int64_t server_ns = 0;
  int64_t back_ns = 0;
  int64_t error_ns = 0;  // of out and of back, in opposite directions

  int64_t whole_ns() const { return out_ns + server_ns + back_ns; }
};

/// The parts of a reply.
inline constexpr std::array<const char*, 3> kEndsPartNames = {"network out", "in the server",
                                                              "network back"};

/// What is longer in the slowest replies than usually. A part's usual length is its median.
struct SlowestReplies {
  uint64_t replies = 0;
  int64_t whole_mean_ns = 0;
  int64_t whole_usual_ns = 0;
  std::array<int64_t, 3> part_mean_ns{};
  std::array<int64_t, 3> part_usual_ns{};

  int64_t excess_ns(size_t part) const { return part_mean_ns[part] - part_usual_ns[part]; }
};

struct TwoEnds {
  EndFile client;
  EndFile server;

  uint64_t client_flows = 0;
  uint64_t common_flows = 0;
  uint64_t flows_opened_by_server = 0;  // of the common ones: their replies are not split
  uint64_t flows_of_unknown_end = 0;    // of the common ones: which end is where is not known

  std::vector<ClockPiece> clock;  // in order; empty: the clocks cannot be related
  std::string why_no_clock;
  std::optional<int64_t> shortest_way_there_and_back_ns;  // the sum of the two shortest times

  EndsDirection out;
  EndsDirection back;

  // Replies of flows that the client's host opened. The client's file decides what a reply is.
  uint64_t replies = 0;
  uint64_t request_not_matched = 0;  // of the replies that are not split
  uint64_t reply_not_matched = 0;
  uint64_t clock_unknown = 0;  // they came while the clocks could not be related
  uint64_t contradictory = 0;  // a part would be below zero by more than the error
  Histogram whole;             // of those that are split
  std::array<SignedHistogram, 3> parts;
  int64_t error_max_ns = 0;        // of the parts on the network: of the reply where it is largest
  std::vector<EndsReply> slowest;  // the slowest first
  std::optional<SlowestReplies> slow;

  uint64_t split() const { return whole.count(); }
};

}  // namespace topspin
