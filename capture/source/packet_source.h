// PacketSource: where packets come from. A file is read by one of three readers: classic pcap by
// pcap_file.cc, pcapng by pcapng_file.cc, everything else by libpcap (pcap_source.cc, the only file
// that includes pcap.h). What libpcap reads too, they read the same. A live interface is libpcap's.
//
// A visitor is called for each packet, with a view that is good until it returns. One thread.
#pragma once

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
  /// kUsage, with libpcap's words, if it does not compile.
  static Result<std::unique_ptr<PacketFilter>> compile(const std::string& expression, int dlt,
                                                       int snaplen);
  virtual ~PacketFilter() = default;
  virtual bool matches(const PacketView& packet) const = 0;

  /// For a packet that does not match: an Ethernet frame that would, were the filter one for frames
  /// with a VLAN tag. A filter sees tagged frames only behind the word `vlan`.
  virtual bool matches_but_for_tag(const PacketView& packet) const = 0;
};

class FileSource {
 public:
  virtual ~FileSource() = default;

  /// Visits some packets, with wall-clock stamps. An error comes after the packets before it.
  virtual Result<StepOutcome> read(PacketVisitor visit, void* context) = 0;

  /// Of the packets that the next read() visits; the same throughout in most files. The parser
  /// may not know it: then the packets are in no flow.
  virtual LinkType link_type() const = 0;

  virtual FileNotes notes() const { return {}; }
};

/// kMapped: as kFastest, and files that are too small to gain by it are mapped too (for tests).
enum class FileReader : uint8_t { kFastest, kMapped, kLibpcap };

/// kInput if it is no capture, or holds a link type that the parser does not read.
Result<std::unique_ptr<FileSource>> open_file_source(const std::string& path,
                                                     const std::string& filter,
                                                     FileReader reader = FileReader::kFastest);

/// The plain reader, or nullptr if the file is not for it. The stream is then as it was.
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
  /// kPermission, kUsage (no such interface, bad filter) or kUnsupported.
  static Result<std::unique_ptr<LiveSource>> open(const LiveOptions& options, int snaplen);
  virtual ~LiveSource() = default;

  /// Visits what the ring holds, at most `packets_max`, without waiting; says how many frames there
  /// were. Stamps are wall clock. An error: the interface is gone.
  virtual Result<int> drain(PacketVisitor visit, void* context, int packets_max) = 0;

  /// Waits until there are packets, at most so long.
  virtual void wait(int timeout_ms) = 0;

  /// What the kernel lost since the last call.
  virtual CaptureLosses take_losses() = 0;

  virtual LinkType link_type() const = 0;

  /// The kernel hands a block of packets over when it is full, or this long after its first packet.
  static constexpr int kBlockTimeoutMs = 10;
};

}  // namespace topspin
