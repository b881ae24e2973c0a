// FlowTable: parsed packets in, flows and what one interval says of them out. core/flow/flow.h has
// the fields.
//
// Decisions that the words leave open:
//
// Messages and periods
//  - A message is payload of the initiator: no pure ACK, FIN or RST, no retransmission, no
//    keep-alive probe, no TLS handshake or alert, no empty datagram. Segments and datagrams within
//    1 ms of the message's latest one belong to it (within an eighth of the period, if that is
//    shorter), but never for longer than a period. So does all that follows a request line of HTTP
//    and begins with no other: it is one request, however slowly it is sent.
//  - A period is learned from 10 gaps in a row: each at least 1 ms and within a fifth of their
//    mean, with a mean deviation of at most a tenth. A message that
//    follows the flow's previous packet within a quarter of the gap begins the row anew: that is a
//    client that sends when its reply has come. So does a message that lasted for more than a
//    quarter of the gap and held several requests, each after a reply: such a client was held up.
//    Once learned, the period follows slowly. Missed ticks and lateness do not end it; 8 gaps in a
//    row that lie more than a quarter of it off every multiple do.
//  - Missed ticks grow with the clock: take_interval() adds those of flows that are silent.
//
// Requests and replies
//  - Only the initiator's payload opens a request, so that a ping's pause is no latency.
//  - TCP has one request open at a time: a turn, until the responder's next payload. A message that
//    comes a quarter of the timeout or more after the one before is the next request, if the turn
//    is open for a timeout, or the flow is periodic. Such requests wait as those of UDP do, and
//    payload of the responder that follows its last within 1 ms answers none of them. Any other
//    message of a periodic flow whose turn is open counts as an overlapping request.
//  - UDP has up to 64 open, also after their timeout. A reply belongs to the request that begins
//    with the same bytes, if just one does (DNS, echoed pings). Else to the one that then waited
//    about as long as the flow's last reply took (up to 4 times that and 5 ms), or else to the
//    oldest. Where the oldest have timed out, they are lost or the server is slow: choose_request()
//    says how they are told apart. A request that a later one's reply passed over is given up at
//    the flow's next request once its timeout has passed (four timeouts, where replies name their
//    requests).
//  - A request counts as unanswered when its timeout passes, once. A reply that comes after that
//    counts in late_replies, with its real latency. A request that is given up (its connection
//    ended, its flow left, the run ended) enters the latency as the timeout.
//  - A goodbye, known by its bytes, is no request if the responder closes upon it. So is what went
//    one way: the responder sends nothing but its FIN, after the initiator's, which follows within
//    20 ms of the payload; a request of HTTP never is. If an answer comes it was a request after
//    all. Any other request that ends with its connection is unanswered. Commands of memcached
//    with "noreply" are none.
//  - A turn of a TLS handshake, and the first of application data in TLS 1.3 (session tickets may
//    come before the reply), is no reply but a handshake turn. If the first is not answered in
//    time it counts as a request that was not. HTTP/2 without TLS, QUIC, WireGuard, SSH, AMQP,
//    MQTT, NATS and BitTorrent are multiplexed, and what is sent to the ports of tunnels and of
//    one-way reports (syslog, statsd, ...) is treated alike, and so is what follows the reply
//    "HTTP/1.1 101" (WebSocket): their turns are counted, and measured as nothing.
//
// Which end asks
//  - A SYN, or the answer to one, says it. Of a flow that was joined midway, which is TCP without
//    a SYN, and UDP first seen within 10 s of the capture's begin, this says it, the first that
//    does: the payload's first bytes, an end that answers on other flows, the ports, an end that
//    several flows share. Else the first sender is the initiator, as in UDP later on. The packets
//    after that are asked too, until the flow enters a number; then it counts as a guess. In UDP
//    only one that was first seen within a reply timeout of the begin does, and not in files:
//    theirs is their first packet.
//
// TCP
//  - A connection has ended with FIN both ways or RST, and its flow stays in the table until it is
//    idle or pushed out. A SYN on the same ends opens another connection of the same flow: it
//    counts in new_flows again, and period, requests and sequence start anew. So in files (no idle
//    timeout) flows are distinct 5-tuples, and new_flows may be more.
//  - A SYN that was seen before, also after it was refused, is a retransmission, and no connection
//    of its own.
//  - A segment from before the expected sequence is a retransmission. It is out of order instead if
//    it fills a hole, within 3 ms of the flow's previous packet, unless two duplicate ACKs of the
//    other end asked for it, or the hole is older than the handshake took: then it can have been
//    sent again. One byte just before the expected is a keep-alive. `tcp_resets` counts RST
//    segments.
//
// The table
//  - The idle timeout is at least the window, and acts within 1/256 of itself. A half-open flow
//    stays for 130 s at least, since its SYN may be sent again; but it gives way to new flows once
//    it is idle, which is no loss.
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
#include <unordered_map>
#include <utility>
#include <vector>

#include "capture/flow_tracker.h"
#include "capture/flows/call_book.h"
#include "capture/flows/flow_ends.h"
#include "capture/flows/flow_hash.h"
#include "capture/flows/flow_record.h"
#include "capture/flows/mapped_array.h"
#include "capture/flows/open_requests.h"
#include "capture/flows/seconds_seen.h"
#include "capture/flows/silence_wheel.h"
#include "capture/flows/sliding_count.h"
#include "capture/packet/packet.h"
#include "core/base/result.h"
#include "core/flow/flow.h"

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

  /// The capture began there, and not just with its first packet: what comes right after that may
  /// have been under way. A file does not say.
  void note_capture_began() { begin_is_known_ = true; }

  /// In the order of their arrival.
  void observe(std::span<const ParsedPacket> packets);

  /// The same in three stages, for callers that can overlap other work with the prefetches: prepare
  /// each packet, locate it some packets later, observe it some packets after that. What the first
  /// two find is a hint that the last verifies.
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

  /// Time passes with no packet: silent flows leave the window, requests run out.
  void advance(int64_t now_ns);

  /// The longest packet of the interface, IP header included: a longer one is a super-packet.
  void set_mtu(uint32_t mtu);

  /// wall = packet time + offset, for the whole seconds of seen_flows_per_second_max. Files: 0.
  void set_wall_offset(int64_t offset_ns);

  /// The source's clock was set, or a stamp was no time at all and whoever read it gave another:
  /// counted, and nothing else.
  void note_time_step() {
    ++interval_.time_steps;
    ++interval_.time_went_backwards;
  }

  /// The source's clock jumped ahead by more than a silence explains: counted, and nothing else.
  void note_jump_ahead() { ++interval_.time_steps; }

  /// Nothing comes any more: requests whose timeout has passed are given up. Call before the last
  /// take_interval(), with its end.
  void finish(int64_t end_ns);

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

  /// Flows that have entered a number though nothing said which end asks, less those of earlier
  /// calls that other flows have shown to be right; since the last call.
  int64_t take_ends_guessed();

  /// What the subject called in the interval that was closed last, and the addresses with news.
  /// nullopt, and none: nobody tells its flows apart.
  std::optional<CallInterval> take_calls() { return calls_.take_interval(); }
  std::vector<CalledRow> take_changed_called() { return calls_.take_changed(); }

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
  static constexpr uint64_t kSilentTicks = 2;  // a flow that has missed so many is silent

  /// Open addressing, probing from the first entry of a cache line, line = hash * lines >> 32: an
  /// index in the order of its hashes, which grows by a quarter where it is, in one pass. A whole
  /// line is compared at once (match_line), since where in it an entry lies no branch can foresee.
  struct IndexEntry {
    uint32_t hash;
    uint32_t slot_plus_one;  // 0: empty
  };
  static constexpr size_t kLineEntries = 64 / sizeof(IndexEntry);
  static constexpr size_t kIndexMin = 1024;
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
  /// A part of a TCP flow's sequence space, of one direction, that was skipped and is not seen yet.
  struct Hole {
    uint32_t begin = 0;
    uint32_t end = 0;  // begin: there is none
    int64_t opened_ns = 0;
    uint32_t duplicate_acks = 0;  // that the other end sent since, for this or for data before it
  };
  /// The holes of one direction. A fixed room for all flows, in which the oldest give way; without
  /// them, what fills a hole is judged by the time since the flow's previous packet alone.
  struct Holes {
    uint64_t flow_id = 0;  // 0: nobody's
    size_t side = 0;
    bool are_all = false;  // none of the flow's holes was left out
    std::array<Hole, 8> holes;
  };
  static constexpr size_t kHoles = 2048;
  /// What a segment from before the expected sequence is, by the holes.
  enum class HoleFilling { kUnknown, kNone, kFirstSeen, kSentAgain };

  FlowTable(const FlowTableOptions& options, uint64_t rows_per_interval, const HashSeed& seed,
            MappedArray<HotRecord> hot, MappedArray<ColdRecord> cold,
            MappedArray<PayloadRecord> payload, MappedArray<IndexEntry> index, CallBook calls);

  void move_time(int64_t now_ns);
  /// Counts of a group of packets, kept in registers until it is through: UDP from the initiator
  /// and from the responder, then TCP.
  struct GroupCounts {
    std::array<uint64_t, 4> packets{};
    std::array<uint64_t, 4> bytes{};
  };
  void observe_flow(const ParsedPacket& packet, uint32_t hash, uint32_t candidate,
                    GroupCounts& group);
  /// Of a request that goes on, as far as it is known to: a long segment of an upload; or what
  /// follows the head of a request of HTTP, whatever its length.
  enum class Piece : uint8_t { kNone, kOfUpload, kOfHttp };
  bool observe_message(HotRecord& flow, uint32_t slot, int64_t stamp_ns, int64_t previous_ns,
                       Piece piece);
  void learn_period(HotRecord& flow, uint32_t slot, int64_t stamp_ns, int64_t previous_ns,
                    bool is_no_timer);
  int64_t wait_for_message(const HotRecord& flow, uint32_t slot, int64_t stamp_ns,
                           int64_t previous_ns) const;
  bool is_of_timer(HotRecord& flow, ColdRecord& cold, int64_t gap_ns, int64_t wait_ns) const;
  void judge_fit(HotRecord& flow, int64_t period_ns, int64_t gap_ns, int64_t lateness_ns);
  void start_messages(HotRecord& flow);
  void settle_silence(HotRecord& flow, uint32_t slot);
  uint64_t missed_since_message(const HotRecord& flow, int64_t period_ns, int64_t now_ns) const;
  void count_silence(int64_t end_ns);
  void note_run_out();

  void observe_request(HotRecord& flow, uint32_t slot, const ParsedPacket& packet, int64_t stamp_ns,
                       int64_t previous_ns);
  void observe_reply(HotRecord& flow, uint32_t slot, const ParsedPacket& packet, int64_t stamp_ns);
  bool begins_tls(HotRecord& flow, const ParsedPacket& p);
  bool is_ordinary_turn(HotRecord& flow, const ParsedPacket& packet, int64_t stamp_ns,
                        bool& is_message);
  /// Where the requests and replies of a flow are counted: those of the subject's calls apart.
  FlowInterval& account(uint32_t slot) {
    return calls_.is_call(slot) ? calls_.account() : interval_;
  }
  FlowInterval& count_request(uint32_t slot);
  void mark_request(uint32_t slot, int64_t stamp_ns);
  void ask_side(HotRecord& flow, uint32_t slot);
  void ask_unsure();
  void open_request(HotRecord& flow, int64_t stamp_ns);
  void open_turn(HotRecord& flow, int64_t stamp_ns);
  void queue_request(HotRecord& flow, uint32_t slot, int64_t stamp_ns, uint32_t tag);
  bool continues_reply(HotRecord& flow, int64_t stamp_ns);
  void match_reply(HotRecord& flow, uint32_t slot, const ParsedPacket& packet, int64_t stamp_ns);
  bool is_repeated_reply(const HotRecord& flow, const ColdRecord& cold, uint32_t tag) const;
  static void note_answered(HotRecord& flow, ColdRecord& cold, uint32_t request_tag,
                            const ParsedPacket& reply);
  static void note_unasked(HotRecord& flow, ColdRecord& cold, uint32_t tag);
  size_t choose_request(HotRecord& flow, const ColdRecord& cold, std::span<const OpenRequest> open,
                        uint64_t wanted, int64_t stamp_ns) const;
  void close_first(HotRecord& flow);
  void answer(HotRecord& flow, uint32_t slot, const OpenRequest& request, int64_t stamp_ns);
  bool is_reply_to_deferred(HotRecord& flow, bool is_late);
  void give_up(uint32_t slot, const OpenRequest& request, bool is_reset = false);
  void give_up_connection(HotRecord& flow, uint32_t slot, bool is_reset = false);
  void give_up_overdue(HotRecord& flow, uint32_t slot);
  void drop_requests(HotRecord& flow, bool uncount);
  static OpenRequest first_request(const HotRecord& flow);
  static bool asks_no_reply(const HotRecord& flow);
  bool has_queue(const HotRecord& flow) const { return queue_of(flow) != 0; }
  OpenRequests::Queue queue_of(const HotRecord& flow) const;
  OpenRequests::Queue& queue_of(HotRecord& flow);
  uint32_t slot_of(const HotRecord& flow) const {
    return static_cast<uint32_t>(&flow - hot_.data());
  }
  bool ran_out(const OpenRequest& request) const;
  bool is_overdue(const OpenRequest& request) const {
    return request.deferred ? now_ns_ - request.stamp_ns > options_.reply_timeout_ns
                            : ran_out(request);
  }

  bool observe_tcp(HotRecord& flow, uint32_t slot, const ParsedPacket& packet, bool from_initiator);
  bool repeats_syn(const HotRecord& flow, uint32_t slot, const ParsedPacket& packet) const;
  bool observe_syn(HotRecord& flow, uint32_t slot, const ParsedPacket& packet);
  void observe_first_end(HotRecord& flow, int64_t stamp_ns, bool from_initiator);
  void observe_end(HotRecord& flow, uint32_t slot, const ParsedPacket& packet, bool from_initiator);
  bool observe_sequence(HotRecord& flow, uint32_t slot, const ParsedPacket& packet,
                        bool from_initiator, int64_t previous_ns);
  void open_hole(const HotRecord& flow, size_t side, uint32_t begin, uint32_t end,
                 int64_t stamp_ns);
  void observe_acknowledgment(const HotRecord& flow, size_t side, const ParsedPacket& packet);
  HoleFilling fill_hole(const HotRecord& flow, size_t side, uint32_t begin, uint32_t end,
                        int64_t stamp_ns);
  Holes* holes_of(const HotRecord& flow, size_t side);
  void observe_later_fragment(const ParsedPacket& packet);
  void count_super_packet(const ParsedPacket& packet, bool is_tcp);
  void remember_datagram(const ParsedPacket& packet, uint32_t slot);
  void orient(HotRecord& flow, const ParsedPacket& packet);
  Asker asker_of_later(const ParsedPacket& packet) const;
  void look_at_ends(HotRecord& flow, uint32_t slot, const ParsedPacket& packet, GroupCounts& group);
  void settle_guess(HotRecord& flow);
  void turn_ends(HotRecord& flow, uint32_t slot, GroupCounts& group);
  void swap_ends(HotRecord& flow, uint32_t slot);
  void touch(HotRecord& flow, int64_t stamp_ns);
  void note_changed(HotRecord& flow, uint32_t slot);
  void end_flow(HotRecord& flow, uint32_t slot);
  void reopen_flow(HotRecord& flow);
  void answer_syn(HotRecord& flow);
  void give_up_syn(HotRecord& flow, uint32_t slot);
  void count_never_completed(HotRecord& flow, uint32_t slot);
  static int64_t sent_ns(const HotRecord& flow, int64_t otherwise);
  /// Declared or learned; 0: none.
  int64_t period_ns(const HotRecord& flow) const {
    return declared_period_ns_ != 0 ? declared_period_ns_ : flow.learned_period_ns();
  }

  uint32_t find(const PacketKey& key, uint32_t hash) const;
  uint32_t insert(const ParsedPacket& packet, uint32_t hash);
  /// The first entry of the hash's line.
  size_t index_home(uint32_t hash) const {
    return static_cast<size_t>((uint64_t{hash} * index_lines_) >> 32) * kLineEntries;
  }
  size_t index_size() const { return index_lines_ * kLineEntries; }
  /// At most four fifths of the index are in use.
  static size_t index_size_max(uint64_t max_flows) {
    const size_t lines = (max_flows * 5 / 4 + kLineEntries) / kLineEntries;
    return std::max(lines * kLineEntries, kIndexMin);
  }
  void index_insert(uint32_t hash, uint32_t slot);
  void index_erase(uint32_t hash, uint32_t slot);
  void grow_index();

  static Standing standing(const HotRecord& flow);
  bool is_idle(const HotRecord& flow) const;
  void start_wheels();
  bool evict_one();
  void expire(int64_t now_ns);
  void remove(uint32_t slot);
  FlowRow row(uint32_t slot) const;

  FlowTableOptions options_;
  int64_t declared_period_ns_;  // 0: none
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
  bool stepped_back_ = false;              // the packets are stamped well before the latest
  std::array<uint32_t, 2> segment_max_{};  // the longest payload of one: UDP, TCP
  int64_t wall_offset_ns_ = 0;
  int64_t second_begin_ns_ = 0;  // bounds, in packet time, of the second that was looked up last
  int64_t second_end_ns_ = 0;
  int64_t second_ = 0;
  SlidingCount active_;
  SlidingCount requests_;  // open, counted, and within their timeout; those in calls_ are not here
  CallBook calls_;
  OpenRequests more_requests_;
  /// Of a TCP connection whose client goes on though it was not answered in time; by slot.
  struct Backlog {
    OpenRequests::Queue more_requests = 0;
    int64_t reply_ns = kNoTime;  // the responder's latest payload
  };
  std::unordered_map<uint32_t, Backlog> backlogs_;
  uint64_t no_requests_ =
      0;                  // counted in `requests`, here or in an interval before: they were none
  bool run_out_ = false;  // a request ran out since the interval began
  bool learned_any_ = false;  // some flow has had a period
  KnownEnds known_ends_;
  int64_t ends_guessed_ = 0;
  /// Flows that ends_guessed_ counted; of more it is not found out whether they were right.
  static constexpr size_t kGuessesKept = 64;
  struct Guess {
    PacketKey key;
    bool responder_is_low;
  };
  std::vector<Guess> guesses_;
  bool begin_is_known_ = false;
  int64_t seen_from_ns_ = 0;  // when the capture began, or moved to where it is
  SecondsSeen seconds_;
  int64_t lower_bound_until_ns_ = kNoTime;

  std::array<SilenceWheel, kStandings> wheels_;
  std::array<std::vector<Victim>, kStandings> victims_;
  std::array<int64_t, kStandings> victims_expire_ns_{};  // when the tick that they are of does
  bool wheels_on_ = false;

  std::vector<uint32_t> changed_;  // from changed_first_ on
  size_t changed_first_ = 0;
  uint64_t changed_count_ = 0;
  std::vector<FlowRow> departed_;  // changed, and gone before they were handed over
  uint64_t departed_lost_ = 0;

  std::vector<DatagramEntry> datagrams_;
  std::vector<Holes> holes_;  // made with the first hole
  std::vector<uint32_t> late_slots_;
  uint64_t late_flows_total_ = 0;

  /// Nothing seen so far of what a flow table counts.
  static FlowInterval empty_interval() {
    FlowInterval interval;
    interval.repeated_replies = 0;
    interval.tcp_zero_windows = 0;
    interval.tcp_server_resets = 0;
    interval.tcp_never_completed = 0;
    return interval;
  }
  FlowInterval interval_ = empty_interval();
  FlowInterval totals_;
  bool begun_ = false;
};

}  // namespace topspin
