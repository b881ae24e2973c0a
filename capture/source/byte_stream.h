// ByteStream reads the bytes of a capture file or of standard input, and decompresses gzip.
//
// It only reads forward, because a pipe gives its bytes once; bytes returned by peek() are read
// again. Only byte_stream.cc includes zlib.h. Owned by a file source; one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

class ByteStream {
 public:
  /// `path`: a file, or "-" for standard input. Once `stop` is true (nullptr: never), the stream
  /// ends while it waits for a pipe.
  static Result<std::unique_ptr<ByteStream>> open(const std::string& path,
                                                  const std::atomic<bool>* stop = nullptr);
  ~ByteStream();

  /// Fills the buffer; returns fewer bytes only at the end. The bytes before an error are returned
  /// first.
  Result<size_t> read(std::span<uint8_t> buffer);

  /// The next bytes, which the next read() returns again; fewer than `size` only at the end.
  Result<std::string_view> peek(size_t size);

  /// The position of the next byte, if this is a regular file that is not compressed.
  struct PlainFile {
    int fd = -1;
    int64_t offset = 0;
    int64_t bytes_left = 0;
  };
  std::optional<PlainFile> plain_file() const;

  const std::string& name() const { return name_; }  // for messages

 private:
  class Inflater;

  ByteStream(std::string name, UniqueFd owned, int fd);
  bool wait_for_bytes() const;
  Result<size_t> read_fd(std::span<uint8_t> buffer);
  Result<size_t> inflate_into(std::span<uint8_t> buffer);

  std::string name_;
  UniqueFd owned_;
  int fd_;
  const std::atomic<bool>* stop_ = nullptr;  // nullptr: nothing is waited for, or nobody stops
  std::vector<uint8_t> raw_peeked_;          // read from the descriptor to see whether it is gzip
  std::vector<uint8_t> peeked_;              // decoded, to be read again
  std::unique_ptr<Inflater> inflater_;
};

}  // namespace topspin
