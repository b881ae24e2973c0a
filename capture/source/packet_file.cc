#include "capture/source/packet_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

constexpr size_t kHandOverBytes = 1 << 20;
/// A pipe that polls as writable has room for this much.
constexpr size_t kPipeBytes = 4096;
constexpr int kWaitStepMs = 50;

struct PacketFileHeader {
  uint32_t magic = 0xa1b23c4d;  // nanosecond stamps
  uint16_t version_major = 2;
  uint16_t version_minor = 4;
  uint32_t time_zone = 0;
  uint32_t stamp_accuracy = 0;
  uint32_t snaplen = 0;
  uint32_t link_type = 0;
};
static_assert(sizeof(PacketFileHeader) == 24);

struct PacketHeader {
  uint32_t seconds = 0;
  uint32_t nanoseconds = 0;
  uint32_t captured = 0;
  uint32_t length = 0;
};
static_assert(sizeof(PacketHeader) == 16);

template <typename Header>
void append_header(std::string& bytes, const Header& header) {
  bytes.append(reinterpret_cast<const char*>(&header), sizeof header);
}

}  // namespace

PacketFile::~PacketFile() {
  if (thread_.joinable()) finish();
}

void PacketFile::begin(LinkType link, int snaplen) {
  struct stat info {};
  if (::fstat(fd_.get(), &info) == 0) {
    is_regular_ = S_ISREG(info.st_mode);
    is_socket_ = S_ISSOCK(info.st_mode);
  }
  link_ = link;
  PacketFileHeader header;
  header.snaplen = static_cast<uint32_t>(snaplen);
  header.link_type = link_type_in_files(link);
  append_header(waiting_.bytes, header);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "topspin-packets");
}

void PacketFile::set_link_type(LinkType link) {
  if (link == link_) return;
  (void)hand_over();
  const std::lock_guard lock(mutex_);
  if (!failed_) fail("the packets have another link type from here on than those in the file");
}

void PacketFile::add(const PacketView& packet) {
  PacketHeader header;
  header.seconds = static_cast<uint32_t>(packet.stamp_ns / kNanosPerSecond);
  header.nanoseconds = static_cast<uint32_t>(packet.stamp_ns % kNanosPerSecond);
  header.captured = packet.captured;
  header.length = packet.length;
  append_header(fresh_.bytes, header);
  fresh_.bytes.append(reinterpret_cast<const char*>(packet.bytes), packet.captured);
  ++fresh_.packets;
  if (fresh_.bytes.size() >= kHandOverBytes) {
    if (auto failure = hand_over()) {
      const std::lock_guard lock(mutex_);
      untold_failure_ = std::move(failure);
    }
  }
}

std::optional<std::string> PacketFile::hand_over() {
  const std::lock_guard lock(mutex_);
  if (fresh_.packets > 0) {
    if (!failed_ && waiting_.bytes.size() + fresh_.bytes.size() <= kWaitingBytesMax) {
      waiting_.bytes += fresh_.bytes;
      waiting_.packets += fresh_.packets;
      changed_.notify_one();
    } else {
      totals_.unwritten_packets += fresh_.packets;
      if (totals_.failure.empty()) {
        totals_.failure = fmt::format("{} takes them too slowly", name_);
        untold_failure_ =
            fmt::format("packets are lost on the way to {}: it takes them too slowly", name_);
      }
    }
    fresh_.bytes.clear();
    fresh_.packets = 0;
  }
  return std::exchange(untold_failure_, std::nullopt);
}

uint64_t PacketFile::unwritten_packets() {
  const std::lock_guard lock(mutex_);
  return totals_.unwritten_packets;
}

PacketFile::Totals PacketFile::finish() {
  if (thread_.joinable()) {
    (void)hand_over();
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      changed_.notify_one();
    }
    thread_.join();
  }
  const std::lock_guard lock(mutex_);
  return totals_;
}

void PacketFile::run() {
  Batch writing;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.bytes.empty(); });
    if (waiting_.bytes.empty()) return;
    std::swap(writing, waiting_);
    const bool lost = failed_;
    if (lost) totals_.unwritten_packets += writing.packets;
    lock.unlock();
    if (!lost) write_batch(writing);
    writing.bytes.clear();
    writing.packets = 0;
    lock.lock();
  }
}

void PacketFile::write_batch(const Batch& batch) {
  size_t written = 0;
  const int os_errno = write_all(batch.bytes, written);
  const std::lock_guard lock(mutex_);
  if (os_errno == 0) {
    place_ += written;
    totals_.written_packets += batch.packets;
    return;
  }
  // The last packet that was written may be cut.
  uint64_t packets = 0;
  size_t whole = place_ == 0 ? sizeof(PacketFileHeader) : 0;
  PacketHeader header;
  while (whole + sizeof header <= written) {
    std::memcpy(&header, batch.bytes.data() + whole, sizeof header);
    if (whole + sizeof header + header.captured > written) break;
    whole += sizeof header + header.captured;
    ++packets;
  }
  if (is_regular_ && whole <= written)
    (void)!::ftruncate(fd_.get(), static_cast<off_t>(place_ + whole));
  totals_.written_packets += packets;
  totals_.unwritten_packets += batch.packets - packets;
  fail(os_errno == ETIMEDOUT ? "its reader takes nothing" : std::strerror(os_errno));
}

/// Writes all of `bytes` and returns 0, or returns the errno after `written` bytes.
int PacketFile::write_all(const std::string& bytes, size_t& written) {
  int waited_ms = 0;
  while (written < bytes.size()) {
    size_t size = bytes.size() - written;
    if (!is_regular_) {
      if (!wait_for_reader(waited_ms)) return ETIMEDOUT;
      size = std::min(size, kPipeBytes);
    }
    const char* from = bytes.data() + written;
    const ssize_t got = is_socket_ ? ::send(fd_.get(), from, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : ::write(fd_.get(), from, size);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return errno;
    written += static_cast<size_t>(got);
    waited_ms = 0;
  }
  return 0;
}

/// False: the capture has ended, and the reader took nothing for kReaderWaitMs since.
bool PacketFile::wait_for_reader(int& waited_ms) {
  pollfd room{fd_.get(), POLLOUT, 0};
  while (::poll(&room, 1, kWaitStepMs) == 0) {
    const std::lock_guard lock(mutex_);
    if (ending_) waited_ms += kWaitStepMs;
    if (waited_ms >= kReaderWaitMs) return false;
  }
  return true;
}

/// REQUIRES: mutex_ is held.
void PacketFile::fail(std::string why) {
  failed_ = true;
  untold_failure_ = fmt::format("no more packets are written to {}: {}", name_, why);
  totals_.failure = std::move(why);
}

}  // namespace topspin
