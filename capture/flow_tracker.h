// FlowTracker: a packet source, the parser and the flow table joined, cut into intervals by packet
// time.
//
// The same code serves a live interface and a file; they differ in the source alone. An interval is
// closed when every packet stamped before its end has been observed: by the first packet stamped
// later, by the end of the file, or (live) by the clock once the kernel's buffer has been drained.
// Lives on one thread, the capture thread; only request_stop() may be called from another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/flow/flow.h"
#include "core/flow/packet_copy.h"

namespace topspin {

class PacketFile;

/// Which header's 5-tuple is the flow key.
enum class KeyMode : uint8_t { kOuter, kInner, kVlan };

struct FlowTableOptions {
  int64_t window_ns = 1'000'000'000;         // of active flows
  std::optional<int64_t> period_ns;          // declared; nullopt: learned from regular gaps
  int64_t reply_timeout_ns = 1'000'000'000;  // a request without a reply by then is unanswered
  int64_t idle_timeout_ns = 0;               // a silent flow ends after this; 0: never (files)
  uint64_t max_flows = 1'000'000;
  KeyMode key = KeyMode::kOuter;
  /// The longest payload of one segment or datagram, if it is known: what is longer is a
  /// super-packet. Without it an interface's MTU tells, which on `lo` is longer than any packet.
  std::optional<uint32_t> segment_bytes;
  bool count_payload = false;  // FlowRow::payload_bytes: costs 16 bytes more a flow
};

struct LiveOptions {
  std::string interface;   // "lo", "any", ...
  std::string filter;      // pcap filter expression; empty: everything
  int snaplen = 0;         // 0: as short as the parser needs
  int64_t ring_bytes = 0;  // 0: chosen
  bool promiscuous = true;
  bool keep_vlan_tags = false;  // also on `any`; the tracker sets it where tags are in the key
  int64_t interval_ns = 1'000'000'000;
  uint64_t max_rows_per_interval = 20'000;  // FlowRows handed over with an interval; 0: none
  /// With the last interval, which has no next one. The memory of so many must be to spare.
  uint64_t max_rows_at_end = 200'000;
  uint64_t max_packets = UINT64_MAX;  // that count; those after them are left alone
};

struct FileOptions {
  std::string path;  // "-": standard input
  std::string filter;
  int64_t interval_ns = 0;  // 0: the whole file is one interval
  uint64_t max_rows_per_interval = 0;
  uint64_t max_rows_at_end = 200'000;
  uint64_t max_packets = UINT64_MAX;  // that the filter lets through; the file ends after them
};

/// What the kernel says it lost since the previous interval.
struct CaptureLosses {
  uint64_t kernel_drops = 0;     // ps_drop
  uint64_t interface_drops = 0;  // ps_ifdrop
  uint64_t gap_ns = 0;           // the interface was away
};

struct ClosedInterval {
  /// Which of the intervals since the start ends here, from 0; of several in one (silence, a
  /// recorder that was stopped) the last.
  uint64_t number = 0;
  FlowInterval flows;
  CaptureLosses losses;
  std::vector<FlowRow>
      changed;                // flows with packets since they were last handed over, oldest first
  uint64_t changed_left = 0;  // changed flows for which there was no room; they come next time
  uint64_t rows_lost = 0;     // flows for whose last row there was no room
  int64_t ends_guessed = 0;   // FlowTable::take_ends_guessed()
  std::vector<std::string> events;       // "interface lo went down", ...: for the timeline
  std::optional<std::string> interface;  // the capture moved to this one in the interval
};
using IntervalSink = std::function<void(ClosedInterval&&)>;

/// What a file turned out to be while it was read.
struct FileNotes {
  uint64_t hidden_by_tag = 0;     // frames that the filter hid because of their VLAN tag
  uint64_t long_fractions = 0;    // packets whose fraction of a second is a second or more
  bool fractions_are_ns = false;  // the header says microseconds: they are nanoseconds
};

enum class StepOutcome : uint8_t { kMore, kEnd };

class FlowTracker {
 public:
  virtual ~FlowTracker() = default;

  static Result<std::unique_ptr<FlowTracker>> open_live(const LiveOptions& live,
                                                        const FlowTableOptions& table);
  static Result<std::unique_ptr<FlowTracker>> open_file(const FileOptions& file,
                                                        const FlowTableOptions& table);

  /// Live: where the first interval begins, on CLOCK_MONOTONIC; its ends follow at multiples of
  /// interval_ns from there. Call once, before the first step.
  virtual void start_at(int64_t monotonic_ns) = 0;

  /// Live: each packet that counts is written to this file too, which outlives the tracker. Call
  /// before start_at(). Files do nothing.
  virtual void write_packets_to(PacketFile*) {}

  /// Live: how many bytes of a packet are captured at most. 0: files do not say.
  virtual int snaplen() const { return 0; }

  /// Live: the packets that were asked for have come. None counts after them, and the capture waits
  /// for request_stop(). On the capture thread.
  virtual bool has_all_packets() const { return false; }

  /// Reads one batch (live: waits some milliseconds at most) and hands each interval that it closes
  /// to `sink`. kEnd: the file ended or a stop that was asked for is complete; the open interval
  /// has been handed over. An error may come after packets that count: finish() and totals() stay
  /// right.
  virtual Result<StepOutcome> step(const IntervalSink& sink) = 0;

  /// Closes the open interval after an error or a stop, if it is not closed yet. `monotonic_ns`:
  /// where a live interval ends; ignored for files.
  virtual void finish(int64_t monotonic_ns, const IntervalSink& sink) = 0;

  /// Ends the capture: step() answers kEnd once all that was captured before `end_ns` (monotonic)
  /// has been observed, which may be some more steps; what is stamped later does not count (ask
  /// before end_ns, or it may have counted already), and the last interval ends there. Files end
  /// soon, where they stand. Safe from other threads and from signal handlers. The first call
  /// counts.
  virtual void request_stop(int64_t end_ns) = 0;

  /// From the next step on, packets of this flow are copied (PacketTap); nullopt: of none. What is
  /// counted stays the same. Safe from other threads, as is the next.
  virtual void watch_packets(const std::optional<FlowKey>& flow) = 0;
  virtual PacketCopies take_packets() = 0;

  /// Live: goes on with another interface, soon. The flows that were in the table end, what was
  /// counted of them stays counted; an event tells of it, or why it could not be. Safe from other
  /// threads. Files do nothing.
  virtual void switch_interface(const std::string& name) = 0;

  /// Everything since the start, as one interval.
  virtual const FlowInterval& totals() const = 0;

  /// Every flow in the table as it stands, in order of first packet. O(flows).
  virtual void for_each_flow(const std::function<void(const FlowRow&)>& visit) const = 0;

  /// libpcap's name of the link type, e.g. "EN10MB".
  virtual std::string link_type() const = 0;

  /// Files; so far.
  virtual FileNotes notes() const { return {}; }
};

/// The last packets of one flow in a capture file, up to `until_ns` by their stamps: as a screen of
/// the file would have seen them at that moment. Reads the file anew.
Result<PacketCopies> read_packets_of(const FileOptions& file, KeyMode mode, const FlowKey& flow,
                                     int64_t until_ns);

/// An interface that one can capture on, for `-D` and `doctor`.
struct InterfaceInfo {
  std::string name;
  std::string description;
  bool up = false;
  bool loopback = false;
};
Result<std::vector<InterfaceInfo>> list_interfaces();

/// Whether `filter` compiles for Ethernet: to refuse a bad filter before anything is opened.
Status check_filter(std::string_view filter);

std::string pcap_library_version();

}  // namespace topspin
