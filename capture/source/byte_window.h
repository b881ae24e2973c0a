// ByteWindow gives a reader the bytes of a capture file, one piece at a time.
//
// A plain regular file is mapped piece by piece, which avoids the copy that read(2) makes. Anything
// else (pipes, gzip, small files) is read into a buffer. Both give the same bytes. Owned by a file
// source; one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "capture/source/byte_stream.h"
#include "core/base/result.h"

namespace topspin {

class ByteWindow {
 public:
  /// Starts at the stream's next byte. Every piece but the last has room for `record_bytes_max`.
  /// `map_small`: also maps files that are so small that reading is as fast.
  static std::unique_ptr<ByteWindow> open(std::unique_ptr<ByteStream> stream,
                                          size_t record_bytes_max, bool map_small);
  virtual ~ByteWindow() = default;

  struct Piece {
    std::span<const uint8_t> bytes;
    bool last = false;  // nothing follows it
  };
  /// Returns a piece that begins `used` bytes into the previous one, which is no longer valid.
  virtual Result<Piece> slide(size_t used) = 0;

  /// Whether bytes of a lost page were touched. A mapped file may shrink while it is read; bytes
  /// that were cut off read as zeros. Cheap enough to call for each packet.
  bool lost() const { return lost_->load(std::memory_order_relaxed); }
  /// Whether the file still has the first `used` bytes of the piece. Makes a system call.
  virtual bool reaches(size_t used) const = 0;

  virtual const std::string& name() const = 0;

 protected:
  ByteWindow();
  const std::atomic<bool>* lost_;
};

}  // namespace topspin
