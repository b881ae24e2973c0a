// The reader of pcapng files. A file may have several sections, each in its own byte order, and
// each section several interfaces with their own link types, snaplens and clocks. libpcap can read
// such a file only if all of them are alike.
//
//   block = type u32, length u32 (of the whole block, a multiple of 4), body, length again (unused)
//   0a0d0d0a section:   magic u32 (for the byte order), major u16, minor u16, length i64, options
//   1 interface:        link type u16, reserved u16, snaplen u32, options
//   2 packet, obsolete: interface u16, drops u16, stamp u32 u32, captured u32, length u32, bytes
//   3 simple packet:    length u32, bytes; of interface 0, without a stamp
//   6 packet:           interface u32, stamp u32 u32, captured u32, length u32, bytes, options
//   option = code u16, length u16, bytes, padded to 4
//
// Other blocks are skipped, whatever their length.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "capture/source/byte_window.h"
#include "capture/source/packet_source.h"
#include "core/base/check.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

constexpr uint32_t kSection = 0x0a0d0d0a, kInterface = 1, kObsoletePacket = 2, kSimplePacket = 3,
                   kPacket = 6;
constexpr uint32_t kByteOrder = 0x1a2b3c4d;
constexpr uint16_t kStampResolution = 9, kStampOffset = 14;
constexpr uint32_t kHeaderBytes = 8, kTrailerBytes = 4;
constexpr uint32_t kCapturedMax = 262'144;    // libpcap's limit for a valid packet
constexpr uint32_t kBlockBytesMax = 524'288;  // for blocks that are not skipped
constexpr size_t kInterfacesMax = 65'536;
constexpr int kBlocksAtATime = 4096;

class PcapngFile final : public FileSource {
 public:
  PcapngFile(std::unique_ptr<ByteWindow> window, std::string filter)
      : window_(std::move(window)), filter_(std::move(filter)) {}

  /// Reads up to the first packet, so that its link type is known.
  Status open() {
    while (true) {
      auto block = next_block();
      std::optional<Error> error;
      if (!block.ok()) {
        error = block.error();
      } else if (*block) {
        if (is_packet()) {
          if (interfaces_.empty()) error = damaged("a packet comes before any interface");
          if (!error) break;
        } else if (auto read = read_description(); !read.ok()) {
          error = read.error();
        }
      } else if (interfaces_.empty()) {
        error = make_error(
            ErrorCode::kInput,
            fmt::format("cannot read {} as a capture: it describes no interface", window_->name()));
      }
      if (!error) {
        if (!*block) break;
        continue;
      }
      if (interfaces_.empty()) return *error;
      failed_ = error;  // the descriptions so far are valid; read() returns the error
      break;
    }
    const auto readable = std::find_if(interfaces_.begin(), interfaces_.end(),
                                       [](const Interface& one) { return one.supported; });
    if (readable == interfaces_.end()) {
      return unsupported_link_type(static_cast<int>(interfaces_.front().link), window_->name());
    }
    link_ = readable->link;
    if (!failed_ && at_ < piece_.bytes.size() && is_packet()) {
      const uint32_t number = packet_interface();
      if (number < interfaces_.size() && interfaces_[number].supported) {
        link_ = interfaces_[number].link;
      }
    }
    TOPSPIN_ASSIGN(const PacketFilter* compiled, filter_of(link_));
    (void)compiled;
    return {};
  }

  LinkType link_type() const override { return link_; }
  FileNotes notes() const override { return notes_; }

  Result<StepOutcome> read(PacketVisitor visit, void* context) override {
    for (int i = 0; i < kBlocksAtATime; ++i) {
      if (failed_) return *failed_;
      TOPSPIN_ASSIGN(const bool more, next_block());
      if (!more) return StepOutcome::kEnd;
      if (!is_packet()) {
        TOPSPIN_TRY(read_description());
        continue;
      }
      PacketView packet;
      const uint32_t number = packet_interface();
      if (number >= interfaces_.size()) {
        return damaged(fmt::format("a packet is from interface {}, but only {} are described",
                                   number, interfaces_.size()));
      }
      const Interface& interface = interfaces_[number];
      TOPSPIN_TRY(view_packet(interface, packet));
      if (window_->lost() || !(packet.captured != 0 || window_->reaches(at_ + block_bytes_)))
          [[unlikely]] {
        return make_error(ErrorCode::kInput,
                          fmt::format("{} became shorter while it was read; what came before its "
                                      "new end counts",
                                      window_->name()));
      }
      if (interface.link != link_) {
        link_ = interface.link;  // the caller reads it between two calls
        return StepOutcome::kMore;
      }
      if (!filter_.empty()) {
        if (!interface.supported) {
          at_ += block_bytes_;
          continue;
        }
        TOPSPIN_ASSIGN(const PacketFilter* filter, filter_of(interface.link));
        if (!filter->matches(packet)) {
          notes_.hidden_by_tag += filter->matches_but_for_tag(packet);
          at_ += block_bytes_;
          continue;
        }
      }
      at_ += block_bytes_;
      visit(context, packet);
    }
    return StepOutcome::kMore;
  }

 private:
  struct Interface {
    LinkType link;
    bool supported;
    uint32_t snaplen;           // 0: no limit
    uint64_t units_per_second;  // of stamps
    uint64_t ns_per_unit;       // 0: a unit is not a whole number of nanoseconds
    int64_t offset_s;
  };

  template <typename T>
  T number_at(size_t offset) const {  // an offset in the block
    T value;
    std::memcpy(&value, piece_.bytes.data() + at_ + offset, sizeof value);
    if (!swapped_) return value;
    if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
    if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(value));
    return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
  }

  Error damaged(const std::string& how) const {
    return make_error(
        ErrorCode::kInput,
        fmt::format("{} is damaged: {}; what came before it counts", window_->name(), how));
  }
  Error cut_short() const {
    return make_error(
        ErrorCode::kInput,
        fmt::format("{} is cut short inside a block; what came before it counts", window_->name()));
  }

  bool is_packet() const {
    return block_type_ == kPacket || block_type_ == kObsoletePacket || block_type_ == kSimplePacket;
  }

  /// Makes sure that the block's first `bytes` bytes are there. False: the file ends before.
  Result<bool> have(size_t bytes) {
    while (piece_.bytes.size() - at_ < bytes) {
      if (piece_.last) return false;
      TOPSPIN_ASSIGN(piece_, window_->slide(at_));
      at_ = 0;
    }
    return true;
  }

  /// Goes to the next block that is not skipped, and loads all of it. False: the file ends.
  Result<bool> next_block() {
    while (true) {
      TOPSPIN_ASSIGN(const bool has_header, have(kHeaderBytes));
      if (!has_header) {
        if (piece_.bytes.size() == at_) return false;
        return cut_short();
      }
      uint32_t type;
      std::memcpy(&type, piece_.bytes.data() + at_, sizeof type);
      if (type == kSection) {  // its type reads the same in both byte orders
        TOPSPIN_ASSIGN(const bool has_order, have(kHeaderBytes + 4));
        if (!has_order) return cut_short();
        swapped_ = false;
        const auto order = number_at<uint32_t>(8);
        swapped_ = order == __builtin_bswap32(kByteOrder);
        if (!swapped_ && order != kByteOrder) return damaged("a section has no byte order");
      }
      block_type_ = number_at<uint32_t>(0);
      block_bytes_ = number_at<uint32_t>(4);
      if (block_bytes_ < kHeaderBytes + kTrailerBytes || block_bytes_ % 4 != 0) {
        return damaged(fmt::format("a block states a length of {}", block_bytes_));
      }
      const bool looked_into = is_packet() || block_type_ == kSection || block_type_ == kInterface;
      if (looked_into) {
        if (block_bytes_ > kBlockBytesMax) {
          return damaged(fmt::format("a block of a packet or an interface states a length of {}",
                                     block_bytes_));
        }
        TOPSPIN_ASSIGN(const bool whole, have(block_bytes_));
        if (!whole) return cut_short();
        return true;
      }
      TOPSPIN_TRY(step_over(block_bytes_));
    }
  }

  Status step_over(size_t bytes) {
    while (piece_.bytes.size() - at_ < bytes) {
      if (piece_.last) return cut_short();
      bytes -= piece_.bytes.size() - at_;
      TOPSPIN_ASSIGN(piece_, window_->slide(piece_.bytes.size()));
      at_ = 0;
    }
    at_ += bytes;
    return {};
  }

  /// Reads the description of a section or an interface, and goes past it.
  Status read_description() {
    if (block_type_ == kSection) {
      if (block_bytes_ < 28) return damaged("a section's block is too short");
      const auto major = number_at<uint16_t>(12), minor = number_at<uint16_t>(14);
      if (major != 1 || (minor != 0 && minor != 2)) {
        return damaged(fmt::format("a section is of version {}.{}", major, minor));
      }
      interfaces_.clear();
    } else {
      TOPSPIN_TRY(read_interface());
    }
    at_ += block_bytes_;
    return {};
  }

  Status read_interface() {
    if (block_bytes_ < 20) return damaged("an interface's block is too short");
    if (interfaces_.size() == kInterfacesMax) return damaged("it describes too many interfaces");
    Interface out{};
    const uint32_t dlt = dlt_of_file(number_at<uint16_t>(8));
    out.link = static_cast<LinkType>(dlt);
    out.supported = is_supported_link_type(static_cast<int>(dlt));
    out.snaplen = number_at<uint32_t>(12);
    out.units_per_second = 1'000'000;
    const size_t end = block_bytes_ - kTrailerBytes;
    for (size_t at = 16; at + 4 <= end;) {
      const auto code = number_at<uint16_t>(at), length = number_at<uint16_t>(at + 2);
      if (code == 0) break;
      if (at + 4 + length > end) return damaged("an option is longer than its block");
      if (code == kStampResolution && length == 1) {
        const uint8_t value = piece_.bytes[at_ + at + 4];
        const int exponent = value & 0x7f;
        const bool binary = (value & 0x80) != 0;
        if (exponent > (binary ? 63 : 19)) return damaged("stamps have no usable resolution");
        out.units_per_second = 1;
        for (int i = 0; i < exponent; ++i) out.units_per_second *= binary ? 2 : 10;
      } else if (code == kStampOffset && length == 8) {
        out.offset_s = number_at<int64_t>(at + 4);
      }
      at += 4 + (length + 3u) / 4 * 4;
    }
    constexpr auto kSecond = static_cast<uint64_t>(kNanosPerSecond);
    if (kSecond % out.units_per_second == 0) out.ns_per_unit = kSecond / out.units_per_second;
    interfaces_.push_back(out);
    return {};
  }

  uint32_t packet_interface() const {
    if (block_type_ == kPacket) return number_at<uint32_t>(8);
    return block_type_ == kObsoletePacket ? number_at<uint16_t>(8) : 0;
  }

  static int64_t stamp_ns(const Interface& interface, uint64_t units) {
    __extension__ using Wide = __int128;
    Wide ns = interface.ns_per_unit != 0
                  ? static_cast<Wide>(units) * interface.ns_per_unit
                  : static_cast<Wide>(units) * kNanosPerSecond / interface.units_per_second;
    ns += static_cast<Wide>(interface.offset_s) * kNanosPerSecond;
    return static_cast<int64_t>(std::clamp<Wide>(ns, 0, INT64_MAX));
  }

  Status view_packet(const Interface& interface, PacketView& packet) {
    size_t data = 28;
    if (block_type_ == kSimplePacket) {
      data = 12;
      if (block_bytes_ < data + kTrailerBytes) return damaged("a packet's block is too short");
      packet.length = number_at<uint32_t>(8);
      packet.captured = packet.length;
      if (interface.snaplen != 0) packet.captured = std::min(packet.captured, interface.snaplen);
      packet.stamp_ns = latest_stamp_ns_;  // it has no stamp, so it gets the latest one
    } else {
      if (block_bytes_ < data + kTrailerBytes) return damaged("a packet's block is too short");
      const uint64_t units = uint64_t{number_at<uint32_t>(12)} << 32 | number_at<uint32_t>(16);
      packet.stamp_ns = latest_stamp_ns_ = stamp_ns(interface, units);
      packet.captured = number_at<uint32_t>(20);
      packet.length = number_at<uint32_t>(24);
    }
    if (packet.captured > kCapturedMax || packet.captured > block_bytes_ - data - kTrailerBytes) {
      return damaged(
          fmt::format("a packet states {} captured bytes, more than are there", packet.captured));
    }
    packet.bytes = piece_.bytes.data() + at_ + data;
    // If a mapped file was cut off meanwhile, its bytes read as zeros; touching a page shows it.
    (void)*static_cast<const volatile uint8_t*>(piece_.bytes.data() + at_ + block_bytes_ - 1);
    return {};
  }

  /// REQUIRES: the link type is supported. nullptr: there is no filter.
  Result<const PacketFilter*> filter_of(LinkType link) {
    if (filter_.empty()) return static_cast<const PacketFilter*>(nullptr);
    // The family of DLT_NULL is in the writer's byte order. In big-endian it is DLT_LOOP.
    const LinkType as = link == LinkType::kNull && swapped_ ? LinkType::kLoop : link;
    std::unique_ptr<PacketFilter>& filter = filters_[as];
    if (filter == nullptr) {
      TOPSPIN_ASSIGN(filter, PacketFilter::compile(filter_, static_cast<int>(as),
                                                   static_cast<int>(kCapturedMax)));
    }
    return static_cast<const PacketFilter*>(filter.get());
  }

  std::unique_ptr<ByteWindow> window_;
  std::string filter_;
  std::map<LinkType, std::unique_ptr<PacketFilter>> filters_;
  std::vector<Interface> interfaces_;  // of this section
  bool swapped_ = false;               // this section is in the other byte order
  ByteWindow::Piece piece_;
  size_t at_ = 0;  // where the block begins in the piece
  uint32_t block_type_ = 0;
  uint32_t block_bytes_ = 0;
  int64_t latest_stamp_ns_ = 0;
  LinkType link_{};
  std::optional<Error> failed_;
  FileNotes notes_;
};

}  // namespace

Result<std::unique_ptr<FileSource>> open_pcapng_file(std::unique_ptr<ByteStream>& stream,
                                                     const std::string& filter, bool map_small) {
  std::unique_ptr<FileSource> none;
  TOPSPIN_ASSIGN(const std::string_view bytes, stream->peek(4));
  uint32_t type = 0;
  if (bytes.size() == sizeof type) std::memcpy(&type, bytes.data(), sizeof type);
  if (type != kSection) return none;
  auto file = std::make_unique<PcapngFile>(
      ByteWindow::open(std::move(stream), kBlockBytesMax, map_small), filter);
  TOPSPIN_TRY(file->open());
  return std::unique_ptr<FileSource>(std::move(file));
}

}  // namespace topspin
