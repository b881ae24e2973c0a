// FlowTable turns parsed packets into flows, and into the numbers of one interval. The fields are
// in core/flow/flow.h; docs/capture.md explains the rules to users.
//
// These are the rules where a protocol leaves a choice:
//
// Messages and periods
//  - A message is payload of the initiator. These are not messages: a pure ACK, FIN or RST, a
//    retransmission, a keep-alive probe, a TLS handshake or alert, an empty datagram. A segment or
//    datagram within 1 ms of the message's latest one belongs to that message (within an eighth of
//    the period, if that is shorter), but a message never lasts longer than a period. Whatever
//    follows an HTTP request line, and does not begin with another one, belongs to the same
//    message and the same request, however slowly it is sent.
//  - A period is learned from 10 gaps in a row. Each gap must be at least 1 ms and within a fifth
//    of their mean, and their mean deviation at most a tenth. The row starts anew if a message
//    follows the flow's previous packet within a quarter of the gap, because such a client sends
//    when its reply has come. It also starts anew if the last message lasted longer than a quarter
//    of the gap and held several requests, each after a reply: the replies held up that client.
//    A learned period slowly follows the gaps. Missed ticks and lateness do not end it. 8 gaps in a
//    row that lie more than a quarter of the period off every multiple of it do.
//  - Missed ticks grow with the clock: take_interval() adds those of silent flows.
//
// Requests and replies
//  - Only payload of the initiator opens a request, so the pause between two pings is not counted
//    as latency.
//  - TCP has one request open at a time, called a turn, until the responder's next payload. A
//    message that comes a quarter of the timeout or more after the previous one is another request
//    if the turn has been open for a timeout, or if the flow is periodic. Such requests are queued
//    as in UDP; payload of the responder within 1 ms of its previous payload answers none of them.
//    Any other message of a periodic flow whose turn is open is an overlapping request.
//  - UDP has up to 64 requests open, including those past their timeout. A reply belongs to the
//    request that begins with the same bytes, if exactly one does (DNS, echoed pings). Otherwise
//    it belongs to the request that waited about as long as the flow's last reply took (up to 4
//    times that and 5 ms), or else to the oldest. If the oldest have timed out, either they are
//    lost or the server is slow: choose_request() decides. A request that was passed over (a later
//    one was answered) is given up at the flow's next request once its timeout has passed, or four
//    timeouts if replies name their requests.
//  - A request counts as unanswered once, when its timeout passes. A reply after that counts in
//    late_replies with its real latency. A request that is given up (its connection ended, its flow
//    left, or the run ended) counts with the timeout as its latency.
//  - A goodbye, recognised by its bytes, is not a request if the responder then closes. Nor is a
//    one-way transfer: the responder sends only its FIN, after the initiator's FIN, which came
//    within 20 ms of the payload. (An HTTP request is never a one-way transfer.) If an answer does
//    come, it was a request. Any other request that is open when its connection ends is
//    unanswered. memcached commands with "noreply" are not requests.
//  - In TLS, turns of the handshake are handshake turns and not replies. So is the first turn of
//    application data in TLS 1.3, because session tickets may come before the reply. If the first
//    handshake turn is not answered in time, it counts as an unanswered request. Multiplexed flows
//    have their turns counted but not measured. These are HTTP/2 without TLS, QUIC, WireGuard, SSH,
//    AMQP, MQTT, NATS, BitTorrent, whatever follows the reply "HTTP/1.1 101" (WebSocket), and
//    whatever is sent to the ports of tunnels and of one-way reports (syslog, statsd, ...).
//
// Which end asks
//  - A SYN, or the answer to one, shows it. A flow is joined midway if it is TCP without a SYN, or
//    UDP first seen within 10 s of the start of the capture. Its initiator is decided by the first
//    of these that gives evidence: the first bytes of the payload, an end that answers on other
//    flows, the ports, an end that several flows share. If none does, the first sender is taken as
//    the initiator, as in UDP flows seen later, and the packets that follow are examined too. If
//    the flow enters a number before there is evidence, it counts as a guess. A UDP flow counts as
//    one only if it was first seen within a reply timeout of the start, and never in a file,
//    because a file begins with its first packet.
//
// TCP
//  - A connection ends with FIN both ways or with RST. Its flow stays in the table until it is idle
//    or evicted. A SYN on the same ends opens another connection of the same flow: it counts in
//    new_flows again, and period, requests and sequence numbers start anew. So in files, which have
//    no idle timeout, flows are distinct 5-tuples, and new_flows may be larger.
//  - A SYN that was seen before is a retransmission and not a new connection, even if it was
//    refused in between.
//  - A segment below the expected sequence number is a retransmission. It is out of order instead
//    if it fills a hole within 3 ms of the flow's previous packet, unless it may have been sent
//    again: two duplicate ACKs of the other end asked for it, or the hole is older than the
//    handshake took. One byte just below the expected number is a keep-alive. `tcp_resets` counts
//    RST segments.
//
// The table
//  - The idle timeout is at least the window, and is exact to 1/256 of itself. A half-open flow
//    stays for at least 130 s, because its SYN may be sent again. Once it is idle it gives way to
//    new flows, which is not a loss.
//  - A later fragment keeps the flow of its first fragment active and counts in nothing else.
//  - Evicting a flow that has ended is not a loss.
//
// Memory per flow: 176 bytes of records, 10 to 12.5 of index and 2 of SecondsSeen. Counting payload
// costs 16 more, in an array of its own because the records are full and few users need it. Time is
// the packets' (monotonic live, wall clock in files); the table reads no clock. Lives on the
// capture thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
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
  /// `rows_per_interval`: the most changed flows handed over at a time; 0: changes are not tracked.
  /// Fails if the options make no sense or the kernel has no memory for max_flows.
  static Result<std::unique_ptr<FlowTable>> create(const FlowTableOptions& options,
                                                   uint64_t rows_per_interval,
                                                   const HashSeed& seed);
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  /// Stamps must lie between the epoch and 146 years later. Any other stamp is broken.
  static int64_t clamp_stamp(int64_t stamp_ns) {
    return std::clamp<int64_t>(stamp_ns, 0, INT64_MAX / 2);
  }

  /// Sets where the first interval begins. Without it, the interval begins at the first packet.
  void begin(int64_t begin_ns);

  /// Says that begin() is when the capture began, so flows seen right after it may be older. A file
  /// does not tell when its capture began.
  void note_capture_began() { begin_is_known_ = true; }

  /// Observes packets in the order of their arrival.
  void observe(std::span<const ParsedPacket> packets);

  /// The same in three stages, for callers that can overlap other work with the prefetches: prepare
  /// each packet, locate it some packets later, observe it some packets after that. The first two
  /// only give a hint, which observe() verifies.
  struct Lookup {
    uint32_t hash = 0;
    uint32_t candidate = 0;  // a slot, or SilenceWheel::kNone
  };
  void prepare(const ParsedPacket& packet, Lookup& lookup) const {
    if (!packet.in_flow()) return;
    lookup.hash = hash(packet.key);
    prefetch_index(lookup);
  }
  void locate(const ParsedPacket& packet, Lookup& lookup) const;

  /// For another thread, while the table's own may be observing: prepare() and the functions up to
  /// make_ready(). guess() looks up a candidate some packets after prepare(). If it finds one, the
  /// table's thread calls fetch() instead of locate().
  uint32_t hash(const PacketKey& key) const {
    return static_cast<uint32_t>(hash_key(key, seed_) >> 32);
  }
  void guess(const ParsedPacket& packet, Lookup& lookup) const;

  /// The number of slots that have been used so far.
  uint32_t slots_used() const { return slots_told_.load(std::memory_order_relaxed); }
  /// Makes the memory of this many slots ready ahead of use, so that insert() need not.
  void make_ready(uint64_t slots);

  void prefetch_index(const Lookup& lookup) const {
    __builtin_prefetch(&index_[index_home(lookup.hash)]);
  }
  void fetch(const ParsedPacket& packet, const Lookup& lookup) const;
  void observe(std::span<const ParsedPacket> packets, std::span<const Lookup> lookups);

  /// Counts a packet that came again on another interface.
  void count_duplicate() { ++interval_.duplicate_packets; }

  /// Moves time on without a packet: silent flows leave the window, requests time out.
  void advance(int64_t now_ns);

  /// The longest packet of the interface, with the IP header. A longer one is a super-packet.
  void set_mtu(uint32_t mtu);

  /// wall = packet time + offset, for the whole seconds of seen_flows_per_second_max. 0 for files.
  void set_wall_offset(int64_t offset_ns);

  /// Only counts that the source's clock was set, or that the reader replaced an invalid stamp.
  void note_time_step() {
    ++interval_.time_steps;
    ++interval_.time_went_backwards;
  }

  /// Only counts that the source's clock jumped ahead by more than a silence explains.
  void note_jump_ahead() { ++interval_.time_steps; }

  /// No more packets will come: gives up requests whose timeout has passed. Call before the last
  /// take_interval(), with the same end.
  void finish(int64_t end_ns);

  /// Closes the interval at `end_ns` (or at the latest packet, whichever is later for the gauges)
  /// and begins the next one there.
  FlowInterval take_interval(int64_t end_ns);

  /// Moves the rows of changed flows to `rows`: first the flows that left, then those that have
  /// waited longest. Returns how many must wait for the next call.
  uint64_t take_changed(std::vector<FlowRow>& rows) {
    return take_changed(rows, rows_per_interval_);
  }
  /// For the end of the run: moves at most `most` rows. Returns how many were left out.
  uint64_t take_all_changed(std::vector<FlowRow>& rows, uint64_t most = UINT64_MAX) {
    return rows_per_interval_ > 0 ? take_changed(rows, most) : 0;
  }
  /// How many flows since the last call left without their last row being handed over, because
  /// their interval had no room for it.
  uint64_t take_rows_lost() { return std::exchange(departed_lost_, 0); }

  /// How many flows since the last call entered a number while their initiator was a guess, minus
  /// earlier guesses that other flows have since confirmed.
  int64_t take_ends_guessed();

  /// The subject's calls in the interval that was closed last, and the addresses whose rows
  /// changed. nullopt and empty without SubjectParts.
  std::optional<CallInterval> take_calls() { return calls_.take_interval(); }
  std::vector<CalledRow> take_changed_called() { return calls_.take_changed(); }

  /// Ends and removes all flows, because the capture moves to another interface.
  void clear();

  /// All closed intervals as one.
  const FlowInterval& totals() const { return totals_; }

  void for_each_flow(const std::function<void(const FlowRow&)>& visit) const;

  const HashSeed& seed() const { return seed_; }
  int64_t now_ns() const { return now_ns_; }
  uint64_t flow_count() const { return flow_count_; }
  uint64_t active_flows() const { return active_.count(); }

 private:
  uint64_t take_changed(std::vector<FlowRow>& rows, uint64_t most);
  static constexpr size_t kBatch = 32;
  static constexpr int64_t kNoTime = INT64_MIN;
  static constexpr uint64_t kSilentTicks = 2;  // missed ticks that make a flow silent

  /// Open addressing: probing starts at the first entry of a cache line, line = hash * lines >> 32.
  /// So entries are ordered by hash, and the index can grow by a quarter in place, in one pass.
  /// match_line() compares a whole line at once, because no branch predictor can tell where in the
  /// line an entry lies. Another thread may read the index in guess(), so all writes are atomic.
  struct alignas(uint64_t) IndexEntry {
    uint32_t hash;
    uint32_t slot_plus_one;  // 0: empty
  };
  void set_index(size_t at, IndexEntry entry) {
    std::atomic_ref(index_[at]).store(entry, std::memory_order_relaxed);
  }
  static constexpr size_t kLineEntries = 64 / sizeof(IndexEntry);
  static constexpr size_t kIndexMin = 1024;
  struct LineMatch {
    uint32_t matches;  // bit i: entry i is taken and has the hash
    uint32_t empty;    // bit i: entry i is empty
  };
  static LineMatch match_line(const IndexEntry* line, uint32_t hash);
  using PayloadRecord = std::array<uint64_t, 2>;  // bytes of the initiator, of the responder
  struct Victim {
    int64_t last_ns;
    uint64_t id;
    uint32_t slot;
  };
  /// The order of eviction: half-open TCP and one-packet UDP flows go before talkers.
  enum Standing : size_t { kWeak, kTalker, kStandings };
  struct DatagramEntry {
    uint64_t datagram_id = 0;
    uint64_t flow_id = 0;
    uint32_t slot = 0;
  };
  /// A range of sequence numbers in one direction of a TCP flow that was skipped and is still
  /// missing.
  struct Hole {
    uint32_t begin = 0;
    uint32_t end = 0;  // equal to begin: no hole
    int64_t opened_ns = 0;
    uint32_t duplicate_acks = 0;  // since then, by the other end, for this hole or data before it
  };
  /// The holes of one direction. All flows share a fixed number of these, and the oldest are
  /// overwritten. Without them, only the time since the flow's previous packet decides what a
  /// segment that fills a hole is.
  struct Holes {
    uint64_t flow_id = 0;  // 0: unused
    size_t side = 0;
    bool are_all = false;  // no hole of this direction was left out
    std::array<Hole, 8> holes;
  };
  static constexpr size_t kHoles = 2048;
  /// What the holes say about a segment below the expected sequence number.
  enum class HoleFilling { kUnknown, kNone, kFirstSeen, kSentAgain };

  FlowTable(const FlowTableOptions& options, uint64_t rows_per_interval, const HashSeed& seed,
            MappedArray<HotRecord> hot, MappedArray<ColdRecord> cold,
            MappedArray<PayloadRecord> payload, MappedArray<IndexEntry> index, CallBook calls);

  void move_time(int64_t now_ns);
  /// Counts of a group of packets, kept in registers until the group is done: UDP from the
  /// initiator, UDP from the responder, then the same for TCP.
  struct GroupCounts {
    std::array<uint64_t, 4> packets{};
    std::array<uint64_t, 4> bytes{};
  };
  void observe_flow(const ParsedPacket& packet, uint32_t hash, uint32_t candidate,
                    GroupCounts& group);
  /// Whether payload is known to continue a request: a long segment of an upload, or anything that
  /// follows an HTTP request line.
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
  /// Where the requests and replies of a flow are counted. Calls of the subject are kept apart.
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
  void note_turned_away(HotRecord& flow, uint32_t slot, int64_t stamp_ns, bool is_reset);
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
  /// The declared or learned period; 0: none.
  int64_t period_ns(const HotRecord& flow) const {
    return declared_period_ns_ != 0 ? declared_period_ns_ : flow.learned_period_ns();
  }

  uint32_t find(const PacketKey& key, uint32_t hash) const;
  uint32_t insert(const ParsedPacket& packet, uint32_t hash);
  /// The first entry of the hash's line.
  size_t index_home(uint32_t hash) const {
    return static_cast<size_t>((uint64_t{hash} * index_lines()) >> 32) * kLineEntries;
  }
  size_t index_lines() const { return index_lines_.load(std::memory_order_relaxed); }
  size_t index_size() const { return index_lines() * kLineEntries; }
  /// The size at which max_flows fill at most four fifths of the index.
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
  std::atomic<size_t> index_lines_;
  uint64_t flow_count_ = 0;  // in the table
  uint64_t live_count_ = 0;  // of these, not ended
  uint64_t half_open_ = 0;
  uint32_t slots_used_ = 0;               // slots below this were used at least once
  std::atomic<uint32_t> slots_told_ = 0;  // the same, for other threads
  uint32_t free_slot_ = SilenceWheel::kNone;
  uint64_t next_id_ = 1;
  bool slots_in_order_ = true;  // no slot was reused: slots are in the order of first packets

  int64_t now_ns_ = 0;
  int64_t latest_stamp_ns_ = 0;
  bool stepped_back_ = false;              // the packets' stamps are well before the latest one
  std::array<uint32_t, 2> segment_max_{};  // the longest payload of one segment: UDP, TCP
  int64_t wall_offset_ns_ = 0;
  int64_t second_begin_ns_ = 0;  // bounds, in packet time, of the latest second looked up
  int64_t second_end_ns_ = 0;
  int64_t second_ = 0;
  SlidingCount active_;
  SlidingCount requests_;  // open, counted and within their timeout, except those in calls_
  CallBook calls_;
  OpenRequests more_requests_;
  /// For a TCP connection whose client sends on although it was not answered in time. By slot.
  struct Backlog {
    OpenRequests::Queue more_requests = 0;
    int64_t reply_ns = kNoTime;  // the responder's latest payload
  };
  std::unordered_map<uint32_t, Backlog> backlogs_;
  uint64_t no_requests_ = 0;  // wrongly counted in `requests`, in this or an earlier interval
  bool run_out_ = false;      // a request timed out since the interval began
  bool learned_any_ = false;  // some flow has had a period
  KnownEnds known_ends_;
  int64_t ends_guessed_ = 0;
  /// At most this many flows in ends_guessed_ are remembered and can still be confirmed.
  static constexpr size_t kGuessesKept = 64;
  struct Guess {
    PacketKey key;
    bool responder_is_low;
  };
  std::vector<Guess> guesses_;
  bool begin_is_known_ = false;
  int64_t seen_from_ns_ = 0;  // when the capture began on this interface
  SecondsSeen seconds_;
  int64_t lower_bound_until_ns_ = kNoTime;

  std::array<SilenceWheel, kStandings> wheels_;
  std::array<std::vector<Victim>, kStandings> victims_;
  std::array<int64_t, kStandings> victims_expire_ns_{};  // when the tick they came from expires
  bool wheels_on_ = false;

  std::vector<uint32_t> changed_;  // from changed_first_ on
  size_t changed_first_ = 0;
  uint64_t changed_count_ = 0;
  std::vector<FlowRow> departed_;  // changed, and left before they were handed over
  uint64_t departed_lost_ = 0;

  std::vector<DatagramEntry> datagrams_;
  std::vector<Holes> holes_;  // allocated with the first hole
  std::vector<uint32_t> late_slots_;
  uint64_t late_flows_total_ = 0;

  /// An interval with zero in each count that a flow table can give (not absent).
  static FlowInterval empty_interval() {
    FlowInterval interval;
    interval.repeated_replies = 0;
    interval.tcp_zero_windows = 0;
    interval.tcp_server_resets = 0;
    interval.tcp_turned_away = 0;
    interval.tcp_never_completed = 0;
    return interval;
  }
  FlowInterval interval_ = empty_interval();
  FlowInterval totals_;
  bool begun_ = false;
};

}  // namespace topspin
