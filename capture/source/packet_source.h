// The sources of packets. A file is read by one of three readers: classic pcap by pcap_file.cc,
// pcapng by pcapng_file.cc, anything else by libpcap (pcap_source.cc, the only file that includes
// pcap.h). The first two give the same packets as libpcap. A live interface is read by libpcap.
//
// A visitor is called for each packet, with a view that is valid until it returns. One thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "capture/flow_tracker.h"
#include "capture/packet/packet.h"
#include "capture/packet/packet_parser.h"
#include "capture/source/byte_stream.h"
#include "core/base/result.h"

namespace topspin {

using PacketVisitor = void (*)(void* context, const PacketView& packet);

/// A compiled filter expression.
class PacketFilter {
 public:
  /// Fails with kUsage and libpcap's message if it does not compile.
  static Result<std::unique_ptr<PacketFilter>> compile(const std::string& expression, int dlt,
                                                       int snaplen);
  virtual ~PacketFilter() = default;
  virtual bool matches(const PacketView& packet) const = 0;

  /// For a packet that does not match: whether it is an Ethernet frame with a VLAN tag that would
  /// match without it. A filter matches tagged frames only after the word `vlan`.
  virtual bool matches_but_for_tag(const PacketView& packet) const = 0;
};

class FileSource {
 public:
  virtual ~FileSource() = default;

  /// Visits some packets, with wall-clock stamps. The packets before an error are visited first.
  virtual Result<StepOutcome> read(PacketVisitor visit, void* context) = 0;

  /// The link type of the packets that the next read() visits. It changes in few files. If the
  /// parser does not know it, the packets are in no flow.
  virtual LinkType link_type() const = 0;

  virtual FileNotes notes() const { return {}; }
};

/// kMapped is kFastest, but also maps files that are too small to gain by it (for tests).
enum class FileReader : uint8_t { kFastest, kMapped, kLibpcap };

/// Fails with kInput if it is not a capture, or has a link type that the parser does not read.
/// `stop` is that of ByteStream::open().
Result<std::unique_ptr<FileSource>> open_file_source(const std::string& path,
                                                     const std::string& filter,
                                                     FileReader reader = FileReader::kFastest,
                                                     const std::atomic<bool>* stop = nullptr);

/// The reader of classic pcap. nullptr if the file has another format; the stream is then
/// unchanged.
Result<std::unique_ptr<FileSource>> open_pcap_file(std::unique_ptr<ByteStream>& stream,
                                                   const std::string& filter, bool map_small);

/// The same for pcapng.
Result<std::unique_ptr<FileSource>> open_pcapng_file(std::unique_ptr<ByteStream>& stream,
                                                     const std::string& filter, bool map_small);

/// libpcap's name of a link type, e.g. "EN10MB".
std::string link_type_name(int dlt);

/// "unsupported link type 189 (USB_LINUX)"
Error unsupported_link_type(int dlt, const std::string& name);

class LiveSource {
 public:
  /// Fails with kPermission, kUsage (no such interface, bad filter) or kUnsupported.
  static Result<std::unique_ptr<LiveSource>> open(const LiveOptions& options, int snaplen);
  virtual ~LiveSource() = default;

  /// Visits the packets in the ring, at most `packets_max`, without waiting. Returns the number of
  /// frames. Stamps are wall-clock time. Fails if the interface is gone.
  virtual Result<int> drain(PacketVisitor visit, void* context, int packets_max) = 0;

  /// Waits for packets, at most `timeout_ms`, or until `wake_fd` is readable. Returns whether that
  /// is.
  virtual bool wait(int timeout_ms, int wake_fd) = 0;

  /// What the kernel lost since the last call.
  virtual CaptureLosses take_losses() = 0;

  virtual LinkType link_type() const = 0;

  /// The kernel hands over a block of packets when it is full, or this long after its first packet.
  static constexpr int kBlockTimeoutMs = 10;
};

}  // namespace topspin
