// The reader of classic pcap files with one of the header's four magics, version 2.4, and a link
// type that the parser reads. It gives the same packets as libpcap without copying them: plain
// files are mapped one window at a time; pipes and gzip go through a buffer (byte_window.h). Other
// files are left to libpcap.
//
//   file   = magic u32, major u16, minor u16, zone i32, accuracy u32, snaplen u32, link type u32,
//            packets to the end
//   packet = seconds u32, fraction u32 (us or ns, by the magic), captured u32, length u32, bytes
//
// All numbers are in the writer's byte order, which the magic shows.
#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "capture/source/byte_window.h"
#include "capture/source/packet_source.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

constexpr size_t kFileHeaderBytes = 24;
constexpr size_t kPacketHeaderBytes = 16;
constexpr uint32_t kMagicMicroseconds = 0xa1b2c3d4;
constexpr uint32_t kMagicNanoseconds = 0xa1b23c4d;
constexpr uint32_t kCapturedMax = 262'144;  // libpcap's limit for a valid packet
constexpr size_t kPrefetchBytes = 2048;     // ahead: mapped pages are not in the CPU's cache yet

class PcapFile final : public FileSource {
 public:
  PcapFile(std::unique_ptr<ByteWindow> window, std::unique_ptr<PacketFilter> filter, LinkType link,
           uint32_t snaplen, bool swapped, int64_t fraction_ns)
      : window_(std::move(window)),
        filter_(std::move(filter)),
        link_(link),
        snaplen_(snaplen),
        swapped_(swapped),
        fraction_ns_(fraction_ns) {}

  LinkType link_type() const override { return link_; }
  FileNotes notes() const override { return notes_; }

  Result<StepOutcome> read(PacketVisitor visit, void* context) override {
    TOPSPIN_ASSIGN(const ByteWindow::Piece piece, window_->slide(used_));
    const uint8_t* const begin = piece.bytes.data();
    const size_t end = piece.bytes.size();
    size_t at = used_ = 0;
    if (end == 0) return StepOutcome::kEnd;
    if (!std::exchange(unit_known_, true)) find_unit(piece.bytes);
    while (end - at >= kPacketHeaderBytes) {
      for (size_t line = 0; line < 3; ++line) {
        __builtin_prefetch(begin + at + kPrefetchBytes + 64 * line);  // past the end is harmless
      }
      uint32_t header[4];
      std::memcpy(header, begin + at, sizeof header);
      if (swapped_) {
        for (uint32_t& word : header) word = __builtin_bswap32(word);
      }
      const uint32_t captured = header[2];
      if (captured > kCapturedMax) {
        return make_error(ErrorCode::kInput,
                          fmt::format("{} is damaged: a packet states {} captured bytes, and at "
                                      "most {} can be; what came before it counts",
                                      window_->name(), captured, kCapturedMax));
      }
      const size_t size = kPacketHeaderBytes + captured;
      if (end - at < size) {
        used_ = at;
        if (!piece.last) return StepOutcome::kMore;
        return make_error(ErrorCode::kInput,
                          fmt::format("{} is cut short: its last packet states {} captured bytes, "
                                      "{} are there; what came before it counts",
                                      window_->name(), captured, end - at - kPacketHeaderBytes));
      }
      const uint8_t* bytes = begin + at + kPacketHeaderBytes;
      // If a mapped file was cut off meanwhile, its bytes read as zeros: check a header of zeros.
      (void)*static_cast<const volatile uint8_t*>(begin + at + size - 1);
      if (window_->lost() || (captured == 0 && !window_->reaches(at + size))) [[unlikely]] {
        return make_error(ErrorCode::kInput,
                          fmt::format("{} became shorter while it was read; what "
                                      "came before its new end counts",
                                      window_->name()));
      }
      PacketView packet;
      int64_t fraction_ns = int64_t{header[1]} * fraction_ns_;
      if (fraction_ns >= kNanosPerSecond) [[unlikely]] {
        fraction_ns = kNanosPerSecond - 1;  // the second is right, so the packet stays within it
        ++notes_.long_fractions;
      }
      packet.stamp_ns = int64_t{header[0]} * kNanosPerSecond + fraction_ns;
      packet.bytes = bytes;
      packet.captured = std::min(captured, snaplen_);
      packet.length = header[3];
      at += size;
      if (filter_ != nullptr && !filter_->matches(packet)) {
        notes_.hidden_by_tag += filter_->matches_but_for_tag(packet);
        continue;
      }
      visit(context, packet);
    }
    used_ = at;
    if (at != end && piece.last) {
      return make_error(ErrorCode::kInput,
                        fmt::format("{} is cut short inside the header of its last packet; what "
                                    "came before it counts",
                                    window_->name()));
    }
    return StepOutcome::kMore;
  }

 private:
  /// Some writers declare microseconds but write nanoseconds. Then most of the file's first
  /// fractions are a million or more, which is impossible for microseconds.
  void find_unit(std::span<const uint8_t> bytes) {
    constexpr uint32_t kMicrosPerSecond = 1'000'000, kPacketsMax = 1000;
    if (fraction_ns_ == 1) return;
    uint32_t packets = 0, too_long = 0;
    for (size_t at = 0; bytes.size() - at >= kPacketHeaderBytes && packets < kPacketsMax;) {
      uint32_t header[3];
      std::memcpy(header, bytes.data() + at, sizeof header);
      if (swapped_) {
        for (uint32_t& word : header) word = __builtin_bswap32(word);
      }
      if (header[2] > kCapturedMax || header[1] >= kNanosPerSecond) break;
      const size_t size = kPacketHeaderBytes + header[2];
      if (bytes.size() - at < size) break;
      ++packets;
      too_long += header[1] >= kMicrosPerSecond;
      at += size;
    }
    notes_.fractions_are_ns = packets >= kPacketsToTell && too_long > packets / 2;
    if (notes_.fractions_are_ns) fraction_ns_ = 1;
  }
  static constexpr uint32_t kPacketsToTell = 3;  // fewer may be just broken stamps

  std::unique_ptr<ByteWindow> window_;
  std::unique_ptr<PacketFilter> filter_;
  LinkType link_;
  uint32_t snaplen_;
  bool swapped_;
  int64_t fraction_ns_;  // 1 or 1,000
  bool unit_known_ = false;
  FileNotes notes_;
  size_t used_ = 0;  // of the window's piece
};

}  // namespace

Result<std::unique_ptr<FileSource>> open_pcap_file(std::unique_ptr<ByteStream>& stream,
                                                   const std::string& filter, bool map_small) {
  std::unique_ptr<FileSource> none;
  TOPSPIN_ASSIGN(const std::string_view bytes, stream->peek(kFileHeaderBytes));
  if (bytes.size() < kFileHeaderBytes) return none;
  uint32_t words[6];
  std::memcpy(words, bytes.data(), sizeof words);
  const bool swapped = words[0] == __builtin_bswap32(kMagicMicroseconds) ||
                       words[0] == __builtin_bswap32(kMagicNanoseconds);
  if (swapped) {
    for (uint32_t& word : words) word = __builtin_bswap32(word);
  }
  if (words[0] != kMagicMicroseconds && words[0] != kMagicNanoseconds) return none;
  // Two 16-bit numbers in one word: the first is the lower half, unless the word was swapped.
  const uint32_t version = swapped ? words[1] : (words[1] << 16 | words[1] >> 16);
  if (version != (2u << 16 | 4)) return none;
  const uint32_t dlt = dlt_of_file(words[5]);
  if (dlt > UINT16_MAX || !is_supported_link_type(static_cast<int>(dlt))) return none;
  // A filter on DLT_NULL depends on the writer's byte order, which libpcap knows when it reads the
  // file itself.
  if (dlt == static_cast<uint32_t>(LinkType::kNull) && !filter.empty()) return none;
  const uint32_t snaplen = words[4] == 0 || words[4] > kCapturedMax ? kCapturedMax : words[4];

  std::unique_ptr<PacketFilter> compiled;
  if (!filter.empty()) {
    TOPSPIN_ASSIGN(compiled,
                   PacketFilter::compile(filter, static_cast<int>(dlt), static_cast<int>(snaplen)));
  }
  uint8_t header[kFileHeaderBytes];
  TOPSPIN_ASSIGN(const size_t got, stream->read(header));
  CHECK(got == kFileHeaderBytes);
  return std::unique_ptr<FileSource>(std::make_unique<PcapFile>(
      ByteWindow::open(std::move(stream), kCapturedMax + kPacketHeaderBytes, map_small),
      std::move(compiled), static_cast<LinkType>(dlt), snaplen, swapped,
      words[0] == kMagicNanoseconds ? 1 : 1000));
}

}  // namespace topspin
