// Mapped files and SIGBUS: the signal is raised when a page beyond the file's end is touched. If
// the address lies in one of our windows, the handler maps a page of zeros there and notes the
// loss. Any other SIGBUS goes to the previous handler. Ours is installed with the first window.
#include "capture/source/byte_window.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace topspin {
namespace {

constexpr size_t kReadBytes = 256 * 1024;        // stays in the second-level cache
constexpr size_t kWindowBytes = 1024 * 1024;     // four syscalls per MiB are cheap; keeps RSS low
constexpr int64_t kMappedMin = 4 * 1024 * 1024;  // smaller files are read just as fast

// --- windows that the signal handler knows ---

/// What a signal handler may read: lock-free and never freed.
struct GuardedRange {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0};  // 0: nothing is mapped
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> lost{false};
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free);

constexpr size_t kWindowsMax = 16;  // in the process at once; further files are read, not mapped
constinit std::array<GuardedRange, kWindowsMax> guarded;
constinit std::atomic<bool> never_lost{false};
struct sigaction previous_action {};
uintptr_t page_bytes = 4096;

void on_bus_error(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (GuardedRange& range : guarded) {
    const uintptr_t begin = range.begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= range.end.load(std::memory_order_acquire)) {
      continue;
    }
    void* page = reinterpret_cast<void*>(address & ~(page_bytes - 1));  // NOLINT: a fault address
    if (mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page) {
      range.lost.store(true, std::memory_order_relaxed);
      return;
    }
  }
  // Not ours: restore the previous action, under which the instruction faults again.
  sigaction(SIGBUS, &previous_action, nullptr);
}

GuardedRange* take_range() {
  static std::once_flag installed;
  std::call_once(installed, [] {
    page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_action);
  });
  for (GuardedRange& range : guarded) {
    if (!range.taken.exchange(true)) {
      range.lost = false;
      return &range;
    }
  }
  return nullptr;
}

class MappedWindow final : public ByteWindow {
 public:
  MappedWindow(std::unique_ptr<ByteStream> stream, int fd, int64_t offset, GuardedRange* range)
      : stream_(std::move(stream)), fd_(fd), next_(offset), range_(range) {
    lost_ = &range_->lost;
  }
  ~MappedWindow() override {
    unmap();
    range_->taken = false;
  }

  Result<Piece> slide(size_t used) override {
    next_ += static_cast<int64_t>(used);
    unmap();
    TOPSPIN_ASSIGN(const int64_t size, file_bytes());
    if (size < next_) return shrunk();
    if (size == next_) return Piece{{}, true};
    const int64_t from = next_ & ~static_cast<int64_t>(page_bytes - 1);
    const auto bytes =
        static_cast<size_t>(std::min<int64_t>(size - from, static_cast<int64_t>(kWindowBytes)));
    void* memory = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd_, from);
    if (memory == MAP_FAILED) {
      const int error = errno;
      return make_error(ErrorCode::kInput,
                        fmt::format("cannot map {}: {}", name(), std::strerror(error)), error);
    }
    memory_ = memory;
    mapped_bytes_ = bytes;
    const auto begin = reinterpret_cast<uintptr_t>(memory);
    range_->end.store(begin + bytes, std::memory_order_relaxed);
    range_->begin.store(begin, std::memory_order_release);
    const auto skipped = static_cast<size_t>(next_ - from);
    return Piece{{static_cast<const uint8_t*>(memory) + skipped, bytes - skipped},
                 from + static_cast<int64_t>(bytes) == size};
  }

  bool reaches(size_t used) const override {
    const auto size = file_bytes();
    return size.ok() && *size >= next_ + static_cast<int64_t>(used);
  }

  const std::string& name() const override { return stream_->name(); }

 private:
  Result<int64_t> file_bytes() const {
    struct stat status {};
    if (fstat(fd_, &status) != 0) {
      const int error = errno;
      return make_error(ErrorCode::kInput,
                        fmt::format("cannot read {}: {}", name(), std::strerror(error)), error);
    }
    return int64_t{status.st_size};
  }
  Error shrunk() const {
    return make_error(ErrorCode::kInput, fmt::format("{} became shorter while it was read; what "
                                                     "came before its new end counts",
                                                     name()));
  }
  void unmap() {
    if (memory_ == nullptr) return;
    range_->begin.store(0, std::memory_order_release);
    CHECK(munmap(memory_, mapped_bytes_) == 0);
    memory_ = nullptr;
  }

  std::unique_ptr<ByteStream> stream_;  // owns the descriptor
  int fd_;
  int64_t next_;  // the offset of the piece's first byte in the file
  GuardedRange* range_;
  void* memory_ = nullptr;
  size_t mapped_bytes_ = 0;
};

class ReadWindow final : public ByteWindow {
 public:
  ReadWindow(std::unique_ptr<ByteStream> stream, size_t record_bytes_max)
      : stream_(std::move(stream)), buffer_(kReadBytes + record_bytes_max) {}

  Result<Piece> slide(size_t used) override {
    begin_ += used;
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (!ended_) {
      const size_t room = std::min(kReadBytes, buffer_.size() - end_);
      TOPSPIN_ASSIGN(const size_t got, stream_->read(std::span(buffer_).subspan(end_, room)));
      ended_ = got == 0;
      end_ += got;
    }
    return Piece{std::span(buffer_).first(end_), ended_};
  }

  bool reaches(size_t) const override { return true; }
  const std::string& name() const override { return stream_->name(); }

 private:
  std::unique_ptr<ByteStream> stream_;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool ended_ = false;
};

}  // namespace

ByteWindow::ByteWindow() : lost_(&never_lost) {}

std::unique_ptr<ByteWindow> ByteWindow::open(std::unique_ptr<ByteStream> stream,
                                             size_t record_bytes_max, bool map_small) {
  const auto plain = stream->plain_file();
  if (plain && (map_small || plain->bytes_left >= kMappedMin)) {
    if (GuardedRange* range = take_range(); range != nullptr) {
      CHECK(kWindowBytes >= record_bytes_max + page_bytes);
      return std::make_unique<MappedWindow>(std::move(stream), plain->fd, plain->offset, range);
    }
  }
  return std::make_unique<ReadWindow>(std::move(stream), record_bytes_max);
}

}  // namespace topspin
