// FlowTracker joins a packet source, the parser and the flow table, and cuts the result into
// intervals by packet time.
//
// The same code serves a live interface and a file; only the source differs. An interval is closed
// when every packet stamped before its end has been observed. That is known from the first packet
// stamped later, from the end of the file, or (live) from the clock once the kernel's buffer has
// been drained. Lives on the capture thread; only methods that say so are safe from other threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/flow/calls.h"
#include "core/flow/flow.h"
#include "core/flow/packet_copy.h"

namespace topspin {

class PacketFile;
class PacketRing;
struct PacketKey;

/// Which header's 5-tuple is the flow key.
enum class KeyMode : uint8_t { kOuter, kInner, kVlan };

/// Is told of each reply that counts in the reply latency, when it comes. (Requests that are given
/// up have none.) Stamps are those of the two packets.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void note_reply(const PacketKey& flow, bool initiator_is_low, int64_t request_ns,
                          int64_t reply_ns) = 0;
};

struct FlowTableOptions {
  int64_t window_ns = 1'000'000'000;         // a flow is active for this long after a packet
  std::optional<int64_t> period_ns;          // declared; nullopt: learned from regular gaps
  int64_t reply_timeout_ns = 1'000'000'000;  // a request without a reply by then is unanswered
  int64_t idle_timeout_ns = 0;               // a silent flow ends after this; 0: never (files)
  uint64_t max_flows = 1'000'000;
  KeyMode key = KeyMode::kOuter;
  /// The longest payload of one segment or datagram, if known. A packet with more is a
  /// super-packet. The default is the interface's MTU, which on `lo` is longer than any packet.
  std::optional<uint32_t> segment_bytes;
  bool count_payload = false;  // FlowRow::payload_bytes: costs 16 bytes more per flow
  /// Tells calls of the subject from requests to it (core/flow/calls.h). Costs a byte per flow.
  /// nullptr: all are requests of others. Must outlive the tracker; called on its thread.
  SubjectParts* subject_parts = nullptr;
  ReplySink* replies = nullptr;  // must outlive the tracker; called on its thread
};

struct LiveOptions {
  std::string interface;   // "lo", "any", ...
  std::string filter;      // pcap filter expression; empty: everything
  int snaplen = 0;         // 0: as short as the parser needs
  int64_t ring_bytes = 0;  // 0: chosen
  bool promiscuous = true;
  bool keep_vlan_tags = false;  // also on `any`; the tracker sets it if tags are in the key
  int64_t interval_ns = 1'000'000'000;
  uint64_t max_rows_per_interval = 20'000;  // FlowRows handed over with an interval; 0: none
  /// For the last interval, whose rows cannot wait for a next one. This costs memory at the end.
  uint64_t max_rows_at_end = 200'000;
  uint64_t max_packets = UINT64_MAX;  // packets after these are not counted
};

struct FileOptions {
  std::string path;  // "-": standard input
  std::string filter;
  int64_t interval_ns = 0;  // 0: the whole file is one interval
  uint64_t max_rows_per_interval = 0;
  uint64_t max_rows_at_end = 200'000;
  uint64_t max_packets = UINT64_MAX;  // the file ends after this many matches of the filter
  /// With 2 or more, one thread reads and parses and another runs the flow table. The answers are
  /// the same.
  int threads = 1;
  /// Seed of the hashes; nullopt: random. Tables of fixed size forget entries by their hash, so two
  /// readings of a file are sure to be equal only with the same seed.
  std::optional<uint64_t> seed = std::nullopt;
};

/// What the kernel lost since the previous interval, by its own counters.
struct CaptureLosses {
  uint64_t kernel_drops = 0;     // ps_drop
  uint64_t interface_drops = 0;  // ps_ifdrop
  uint64_t gap_ns = 0;           // the interface was away
};

struct ClosedInterval {
  /// The number of the interval that ends here, from 0. If one interval stands for several
  /// (silence, a recorder that was stopped), the number of the last.
  uint64_t number = 0;
  FlowInterval flows;
  CaptureLosses losses;
  std::vector<FlowRow>
      changed;                // flows with packets since they were last handed over, oldest first
  uint64_t changed_left = 0;  // changed flows without room in `changed`; they come next time
  uint64_t rows_lost = 0;     // flows whose last row found no room
  int64_t ends_guessed = 0;   // FlowTable::take_ends_guessed()
  std::optional<CallInterval> calls;  // FlowTable::take_calls()
  std::vector<CalledRow> changed_called;
  std::vector<std::string> events;       // for the timeline: "interface lo went down", ...
  std::optional<std::string> interface;  // the capture moved to this one in the interval
};
using IntervalSink = std::function<void(ClosedInterval&&)>;

/// Peculiarities of a file that were found while it was read.
struct FileNotes {
  uint64_t hidden_by_tag = 0;     // frames that the filter hid because of their VLAN tag
  uint64_t long_fractions = 0;    // packets whose fraction of a second is a second or more
  bool fractions_are_ns = false;  // nanoseconds, although the header says microseconds
};

enum class StepOutcome : uint8_t { kMore, kEnd };

class FlowTracker {
 public:
  virtual ~FlowTracker() = default;

  static Result<std::unique_ptr<FlowTracker>> open_live(const LiveOptions& live,
                                                        const FlowTableOptions& table);
  static Result<std::unique_ptr<FlowTracker>> open_file(const FileOptions& file,
                                                        const FlowTableOptions& table);

  /// Live: the first interval begins here, on CLOCK_MONOTONIC, and intervals end at multiples of
  /// interval_ns after it. Call once, before the first step.
  virtual void start_at(int64_t monotonic_ns) = 0;

  /// Live: each packet that counts is also written to this file, which must outlive the tracker.
  /// Call before start_at(). Does nothing for files.
  virtual void write_packets_to(PacketFile*) {}

  /// Live: each packet that counts is also kept in this ring, which must outlive the tracker. A
  /// packet of an interval is in it before the interval is handed over. Call before start_at().
  virtual void keep_packets_in(PacketRing*) {}

  /// Live: the most bytes of a packet that are captured. 0 for files.
  virtual int snaplen() const { return 0; }

  /// Live: max_packets have come. No later packet counts, and the capture waits for request_stop().
  virtual bool has_all_packets() const { return false; }

  /// Reads one batch (live: waits some milliseconds at most) and hands each interval that it closes
  /// to `sink`. kEnd: the file ended or a requested stop is complete, and the open interval has
  /// been handed over. An error may come after packets that count; finish() and totals() stay
  /// correct.
  virtual Result<StepOutcome> step(const IntervalSink& sink) = 0;

  /// Closes the open interval after an error or a stop, if it is not closed yet. A live interval
  /// ends at `monotonic_ns`, which is ignored for files.
  virtual void finish(int64_t monotonic_ns, const IntervalSink& sink) = 0;

  /// Ends the capture. step() returns kEnd once all packets captured before `end_ns` (monotonic)
  /// have been observed, which may take some more steps. Packets stamped later do not count (if
  /// this is called before end_ns; otherwise some may have counted already), and the last interval
  /// ends there. A file ends soon, wherever it is. Safe from other threads and from signal
  /// handlers. Only the first call has an effect.
  virtual void request_stop(int64_t end_ns) = 0;

  /// From the next step on, packets of this flow are copied (PacketTap); nullopt: none are. Counts
  /// are not affected. Safe from other threads, as is take_packets().
  virtual void watch_packets(const std::optional<FlowKey>& flow) = 0;
  virtual PacketCopies take_packets() = 0;

  /// Live: soon continues on another interface. The flows in the table end, and their counts stay.
  /// An event reports the switch, or why it failed. Safe from other threads. Does nothing for
  /// files.
  virtual void switch_interface(const std::string& name) = 0;

  /// Everything since the start, as one interval.
  virtual const FlowInterval& totals() const = 0;

  /// Visits every flow in the table, in order of first packet. O(flows).
  virtual void for_each_flow(const std::function<void(const FlowRow&)>& visit) const = 0;

  /// libpcap's name of the link type, e.g. "EN10MB".
  virtual std::string link_type() const = 0;

  /// For files: what was found so far.
  virtual FileNotes notes() const { return {}; }
};

/// The last packets of one flow in a capture file, stamped `until_ns` or earlier. Reads the file
/// again.
Result<PacketCopies> read_packets_of(const FileOptions& file, KeyMode mode, const FlowKey& flow,
                                     int64_t until_ns);

/// An interface to capture on, for `-D` and `doctor`.
struct InterfaceInfo {
  std::string name;
  std::string description;
  bool up = false;
  bool loopback = false;
};
Result<std::vector<InterfaceInfo>> list_interfaces();

/// Whether `filter` compiles for Ethernet. Used to refuse a bad filter before anything is opened.
Status check_filter(std::string_view filter);

/// Looks up the names of hosts, networks and services in `filter` now, for the files that this
/// process opens later with the same filter. (The sandbox of `read` has no way to a name server.)
/// A filter that does not compile fails there. REQUIRES: one thread; called at most once.
void look_up_names_in(const std::string& filter);

std::string pcap_library_version();

}  // namespace topspin
