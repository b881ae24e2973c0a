// FlowTable: parsed packets in, flows and what one interval says of them out. The words are
// design.md's; core/flow.h has the fields.
//
// Decisions that the words leave open:
//  - A learned period is the median of the initiator's last 5 gaps before the one judged, known
//  from
//    the third gap on. A gap over which the initiator's stamps went backwards is no gap.
//  - Only the initiator's payload opens a request, so that a ping's pause is no latency. A reply
//    after the timeout answers nothing: the request was counted as unanswered when it ran out.
//  - A TCP flow has ended with FIN both ways or RST, and stays in the table until it is idle or
//    pushed out; a SYN on the same ends opens it again. So in files (no idle timeout) flows are
//    distinct 5-tuples.
//  - A segment from before the expected sequence is a retransmission; within 3 ms of the flow's
//    previous packet and with a hole open in its direction it is out of order instead. One byte or
//    none just before it is a keep-alive. `tcp_resets` counts RST segments.
//  - The idle timeout is at least the window, and acts within 1/256 of itself.
//  - A later fragment keeps the flow of its first fragment active and counts in nothing else.
//  - A flow that is pushed out after it ended is no loss.
//
// Memory: 176 bytes a flow, 10 to 12.5 of index, 2 of SecondsSeen; 16 more where payload is
// counted, in an array of its own, since the records have no room left and most users no need. Time
// is the packets' (monotonic live, wall in files); it is never fetched here. Lives on the capture
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "capture/flow_hash.h"
#include "capture/flow_record.h"
#include "capture/flow_tracker.h"
#include "capture/mapped_array.h"
#include "capture/packet.h"
#include "capture/seconds_seen.h"
#include "capture/silence_wheel.h"
#include "capture/sliding_count.h"
#include "core/flow.h"
#include "core/result.h"

namespace topspin {

class FlowTable {
 public:
  /// `rows_per_interval`: at most so many changed flows are handed over at a time; 0: none are
  /// tracked. Fails if the options make no sense or the kernel has no room for so many flows.
  static Result<std::unique_ptr<FlowTable>> create(const FlowTableOptions& options,
                                                   uint64_t rows_per_interval,
                                                   const HashSeed& seed);
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  /// Stamps are taken as lying between the epoch and 146 years later; beyond, they are broken.
  static int64_t clamp_stamp(int64_t stamp_ns) {
    return std::clamp<int64_t>(stamp_ns, 0, INT64_MAX / 2);
  }

  /// Where the first interval begins. Without it: at the first packet.
  void begin(int64_t begin_ns);

  /// In the order of their arrival.
  void observe(std::span<const ParsedPacket> packets);

  /// The same in three stages, for whoever can do other work between them while memory is on its
  /// way: prepare each packet, locate it some packets later, observe it some packets after that.
  /// What the first two find is a hint that the last verifies.
  struct Lookup {
    uint32_t hash = 0;
    uint32_t candidate = 0;  // a slot, or SilenceWheel::kNone
  };
  void prepare(const ParsedPacket& packet, Lookup& lookup) const {
    if (!packet.in_flow()) return;
    lookup.hash = static_cast<uint32_t>(hash_key(packet.key, seed_) >> 32);
    __builtin_prefetch(&index_[index_home(lookup.hash)]);
  }
  void locate(const ParsedPacket& packet, Lookup& lookup) const;
  void observe(std::span<const ParsedPacket> packets, std::span<const Lookup> lookups);

  /// A packet that was counted already came once more, on another interface.
  void count_duplicate() { ++interval_.duplicate_packets; }
  /// A stamp was no time at all, and whoever read it gave another.
  void count_time_step() { ++interval_.time_steps; }

  /// Time passes with no packet: silent flows leave the window, requests run out.
  void advance(int64_t now_ns);

  /// The longest packet of the interface, IP header included: a longer one is a super-packet.
  void set_mtu(uint32_t mtu);

  /// wall = packet time + offset, for the whole seconds of seen_flows_per_second_max. Files: 0.
  void set_wall_offset(int64_t offset_ns);

  /// Closes the interval at `end_ns` (or at the latest packet, whichever is later for the gauges)
  /// and begins the next one there.
  FlowInterval take_interval(int64_t end_ns);

  /// Moves the rows of changed flows to `rows`, those that left first, then longest waiting first,
  /// and says how many wait for the next time.
  uint64_t take_changed(std::vector<FlowRow>& rows) {
    return take_changed(rows, rows_per_interval_);
  }
  /// For the end, where there is no next time: at most so many. Says how many were left out.
  uint64_t take_all_changed(std::vector<FlowRow>& rows, uint64_t most = UINT64_MAX) {
    return rows_per_interval_ > 0 ? take_changed(rows, most) : 0;
  }
  /// Flows that left without their last row being handed over, since there was no room for it in
  /// their interval; since the last call.
  uint64_t take_rows_lost() { return std::exchange(departed_lost_, 0); }

  /// All flows end and leave the table: what comes next is seen from elsewhere.
  void clear();

  /// All closed intervals as one.
  const FlowInterval& totals() const { return totals_; }

  void for_each_flow(const std::function<void(const FlowRow&)>& visit) const;

  int64_t now_ns() const { return now_ns_; }
  uint64_t flow_count() const { return flow_count_; }
  uint64_t active_flows() const { return active_.count(); }

 private:
  uint64_t take_changed(std::vector<FlowRow>& rows, uint64_t most);
  static constexpr size_t kBatch = 32;
  static constexpr int64_t kNoTime = INT64_MIN;

  /// Open addressing, probing from the first entry of a cache line, line = hash * lines >> 32: an
  /// index in the order of its hashes, which grows by a quarter in one sequential pass. A whole
  /// line is compared at once (match_line), since where in it an entry lies no branch can foresee.
  struct IndexEntry {
    uint32_t hash;
    uint32_t slot_plus_one;  // 0: empty
  };
  static constexpr size_t kLineEntries = 64 / sizeof(IndexEntry);
  struct LineMatch {
    uint32_t matches;  // bit i: entry i is taken and has the hash
    uint32_t empty;    // bit i: entry i is empty
  };
  static LineMatch match_line(const IndexEntry* line, uint32_t hash);
  using PayloadRecord = std::array<uint64_t, 2>;  // bytes: of the initiator, of the responder
  struct Victim {
    int64_t last_ns;
    uint64_t id;
    uint32_t slot;
  };
  /// Flows by what is lost with them: half-open TCP and one-packet UDP go before talkers.
  enum Standing : size_t { kWeak, kTalker, kStandings };
  struct DatagramEntry {
    uint64_t datagram_id = 0;
    uint64_t flow_id = 0;
    uint32_t slot = 0;
  };

  FlowTable(const FlowTableOptions& options, uint64_t rows_per_interval, const HashSeed& seed,
            MappedArray<HotRecord> hot, MappedArray<ColdRecord> cold,
            MappedArray<PayloadRecord> payload, MappedArray<IndexEntry> index);

  void move_time(int64_t now_ns);
  /// Counts of a group of packets, kept in registers until it is through: UDP from the initiator
  /// and from the responder, then TCP.
  struct GroupCounts {
    std::array<uint64_t, 4> packets{};
    std::array<uint64_t, 4> bytes{};
  };
  void observe_flow(const ParsedPacket& packet, uint32_t hash, uint32_t candidate,
                    GroupCounts& group);
  void observe_gap(HotRecord& flow, uint32_t slot, int64_t stamp_ns);
  void observe_payload(HotRecord& flow, uint32_t slot, int64_t stamp_ns, bool from_initiator);
  bool observe_tcp(HotRecord& flow, uint32_t slot, const ParsedPacket& packet, bool from_initiator);
  bool observe_sequence(HotRecord& flow, uint32_t slot, const ParsedPacket& packet,
                        bool from_initiator, int64_t previous_ns);
  void observe_later_fragment(const ParsedPacket& packet);
  void count_super_packet(const ParsedPacket& packet, bool is_tcp);
  void remember_datagram(const ParsedPacket& packet, uint32_t slot);
  void swap_ends(HotRecord& flow, uint32_t slot);
  void touch(HotRecord& flow, int64_t stamp_ns);
  void note_changed(HotRecord& flow, uint32_t slot);
  void end_flow(HotRecord& flow);
  void answer_syn(HotRecord& flow);
  void give_up_request(HotRecord& flow, uint32_t slot);
  std::optional<int64_t> period_ns(const HotRecord& flow) const;

  uint32_t find(const PacketKey& key, uint32_t hash) const;
  uint32_t insert(const ParsedPacket& packet, uint32_t hash);
  /// The first entry of the hash's line.
  size_t index_home(uint32_t hash) const {
    return static_cast<size_t>((uint64_t{hash} * index_lines_) >> 32) * kLineEntries;
  }
  size_t index_size() const { return index_lines_ * kLineEntries; }
  void index_insert(uint32_t hash, uint32_t slot);
  void index_erase(uint32_t hash, uint32_t slot);
  void grow_index();

  static Standing standing(const HotRecord& flow);
  void start_wheels();
  bool evict_one();
  void expire(int64_t now_ns);
  void remove(uint32_t slot);
  FlowRow row(uint32_t slot) const;

  FlowTableOptions options_;
  uint64_t rows_per_interval_;
  HashSeed seed_;

  MappedArray<HotRecord> hot_;
  MappedArray<ColdRecord> cold_;
  MappedArray<PayloadRecord> payload_;  // empty: not counted
  MappedArray<IndexEntry> index_;
  size_t index_lines_;
  uint64_t flow_count_ = 0;  // in the table
  uint64_t live_count_ = 0;  // of these, not ended
  uint64_t half_open_ = 0;
  uint32_t slots_used_ = 0;  // slots below were used at least once
  uint32_t free_slot_ = SilenceWheel::kNone;
  uint64_t next_id_ = 1;
  bool slots_in_order_ = true;  // slot order is the order of first packets: none was reused

  int64_t now_ns_ = 0;
  int64_t latest_stamp_ns_ = 0;
  std::array<uint32_t, 2> segment_max_{};  // the longest payload of one: UDP, TCP
  int64_t wall_offset_ns_ = 0;
  int64_t second_begin_ns_ = 0;  // bounds, in packet time, of the second that was looked up last
  int64_t second_end_ns_ = 0;
  int64_t second_ = 0;
  SlidingCount active_;
  SlidingCount requests_;
  SecondsSeen seconds_;
  int64_t lower_bound_until_ns_ = kNoTime;

  std::array<SilenceWheel, kStandings> wheels_;
  std::array<std::vector<Victim>, kStandings> victims_;
  bool wheels_on_ = false;

  std::vector<uint32_t> changed_;  // from changed_first_ on
  size_t changed_first_ = 0;
  uint64_t changed_count_ = 0;
  std::vector<FlowRow> departed_;  // changed, and gone before they were handed over
  uint64_t departed_lost_ = 0;

  std::vector<DatagramEntry> datagrams_;
  std::vector<uint32_t> late_slots_;
  uint64_t late_flows_total_ = 0;

  FlowInterval interval_;
  FlowInterval totals_;
  bool begun_ = false;
};

}  // namespace topspin
