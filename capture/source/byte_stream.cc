#include "capture/source/byte_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

namespace topspin {
namespace {

/// Moves bytes from the front of `from` into `to`; returns how many.
size_t take_front(std::vector<uint8_t>& from, std::span<uint8_t> to) {
  const size_t n = std::min(from.size(), to.size());
  std::copy_n(from.begin(), n, to.begin());
  from.erase(from.begin(), from.begin() + static_cast<int64_t>(n));
  return n;
}

}  // namespace

/// Decompresses gzip, one member after another.
class ByteStream::Inflater {
 public:
  Inflater() : input_(kInputBytes) {
    CHECK(inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK);  // 16: gzip; fails only without memory
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  static constexpr size_t kInputBytes = 64 * 1024;

  z_stream stream_{};
  std::vector<uint8_t> input_;
  bool in_member_ = false;
  bool input_ended_ = false;
  std::optional<Error> failed_;
};

ByteStream::ByteStream(std::string name, UniqueFd owned, int fd)
    : name_(std::move(name)), owned_(std::move(owned)), fd_(fd) {}
ByteStream::~ByteStream() = default;

Result<std::unique_ptr<ByteStream>> ByteStream::open(const std::string& path,
                                                     const std::atomic<bool>* stop) {
  UniqueFd owned;
  int fd = STDIN_FILENO;
  std::string name = "standard input";
  if (path != "-") {
    name = path;
    owned.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!owned) {
      const int error = errno;
      const ErrorCode code = error == EACCES ? ErrorCode::kPermission : ErrorCode::kInput;
      return make_error(code, fmt::format("cannot open {}: {}", path, std::strerror(error)), error);
    }
    fd = owned.get();
  }
  struct stat status {};
  const bool is_known = fstat(fd, &status) == 0;
  if (is_known && S_ISDIR(status.st_mode)) {
    return make_error(ErrorCode::kInput, fmt::format("cannot read {}: it is a directory", name));
  }
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  std::unique_ptr<ByteStream> stream(new ByteStream(std::move(name), std::move(owned), fd));
  if (is_known && !S_ISREG(status.st_mode)) stream->stop_ = stop;
  std::vector<uint8_t> magic(3);
  TOPSPIN_ASSIGN(const size_t got, stream->read_fd(magic));
  magic.resize(got);
  if (magic == std::vector<uint8_t>{0x1f, 0x8b, 0x08}) {
    stream->inflater_ = std::make_unique<Inflater>();
  }
  stream->raw_peeked_ = std::move(magic);
  return stream;
}

/// False: whoever reads was told to stop.
bool ByteStream::wait_for_bytes() const {
  if (stop_ == nullptr) return true;
  constexpr int kLookMs = 50;
  pollfd ready{fd_, POLLIN, 0};
  while (!stop_->load(std::memory_order_relaxed)) {
    if (::poll(&ready, 1, kLookMs) > 0) return true;
  }
  return false;
}

Result<size_t> ByteStream::read_fd(std::span<uint8_t> buffer) {
  size_t done = take_front(raw_peeked_, buffer);
  while (done < buffer.size() && wait_for_bytes()) {
    const ssize_t n = ::read(fd_, buffer.data() + done, buffer.size() - done);
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;
      if (done != 0) break;  // the next read returns the error
      const int error = errno;
      return make_error(ErrorCode::kInput,
                        fmt::format("cannot read {}: {}", name_, std::strerror(error)), error);
    }
    done += static_cast<size_t>(n);
  }
  return done;
}

Result<size_t> ByteStream::inflate_into(std::span<uint8_t> buffer) {
  Inflater& in = *inflater_;
  z_stream& z = in.stream_;
  z.next_out = buffer.data();
  z.avail_out = static_cast<uInt>(std::min<size_t>(buffer.size(), 1u << 30));
  const size_t wanted = z.avail_out;
  while (z.avail_out != 0 && !in.failed_) {
    if (z.avail_in == 0 && !in.input_ended_) {
      auto got = read_fd(in.input_);
      if (!got.ok()) {
        in.failed_ = got.error();
        break;
      }
      in.input_ended_ = *got == 0;
      z.next_in = in.input_.data();
      z.avail_in = static_cast<uInt>(*got);
    }
    if (z.avail_in == 0 && in.input_ended_) {
      if (in.in_member_) {
        in.failed_ = make_error(ErrorCode::kInput,
                                fmt::format("{} is cut short inside its gzip data", name_));
      }
      break;
    }
    if (!in.in_member_) {
      // Zeros may follow the last member, as padding.
      while (z.avail_in != 0 && *z.next_in == 0) {
        ++z.next_in;
        --z.avail_in;
      }
      if (z.avail_in == 0) continue;
      in.in_member_ = true;
    }
    const int status = inflate(&z, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      in.in_member_ = false;
      CHECK(inflateReset(&z) == Z_OK);
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      in.failed_ = make_error(ErrorCode::kInput,
                              fmt::format("the gzip data of {} is damaged: {}", name_,
                                          z.msg != nullptr ? z.msg : "it does not decode"));
    }
  }
  const size_t done = wanted - z.avail_out;
  if (done == 0 && in.failed_) return *in.failed_;
  return done;
}

Result<size_t> ByteStream::read(std::span<uint8_t> buffer) {
  size_t done = take_front(peeked_, buffer);
  if (done == buffer.size()) return done;
  auto rest = inflater_ ? inflate_into(buffer.subspan(done)) : read_fd(buffer.subspan(done));
  if (!rest.ok() && done == 0) return rest;
  return done + (rest.ok() ? *rest : 0);
}

Result<std::string_view> ByteStream::peek(size_t size) {
  std::vector<uint8_t> bytes(size);
  TOPSPIN_ASSIGN(const size_t got, read(bytes));
  bytes.resize(got);
  peeked_.insert(peeked_.begin(), bytes.begin(), bytes.end());
  return std::string_view(reinterpret_cast<const char*>(peeked_.data()), got);
}

std::optional<ByteStream::PlainFile> ByteStream::plain_file() const {
  struct stat status {};
  if (inflater_ || fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const off_t read_to = lseek(fd_, 0, SEEK_CUR);
  if (read_to < 0) return std::nullopt;
  PlainFile plain;
  plain.fd = fd_;
  plain.offset = int64_t{read_to} - static_cast<int64_t>(raw_peeked_.size() + peeked_.size());
  plain.bytes_left = std::max<int64_t>(int64_t{status.st_size} - plain.offset, 0);
  return plain;
}

}  // namespace topspin
