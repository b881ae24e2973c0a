// ByteWindow: the bytes of a capture file, a piece at a time, for a reader that walks through them.
//
// A plain regular file is mapped piece by piece, which spares the copy that read(2) makes; all else
// (pipes, gzip, small files) is read into a buffer. Both give the same bytes. Owned by a file
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
  /// From the stream's next byte on. Every piece but the last has room for `record_bytes_max`.
  /// `map_small`: map also where reading costs no more.
  static std::unique_ptr<ByteWindow> open(std::unique_ptr<ByteStream> stream,
                                          size_t record_bytes_max, bool map_small);
  virtual ~ByteWindow() = default;

  struct Piece {
    std::span<const uint8_t> bytes;
    bool last = false;  // nothing follows it
  };
  /// Forgets the first `used` bytes of the piece before, and gives the rest with what follows. The
  /// piece before is gone.
  virtual Result<Piece> slide(size_t used) = 0;

  /// A mapped file may shrink while it is walked through. What was cut off reads as zeros, and:
  /// bytes of a lost page were touched. Cheap enough to ask for each packet.
  bool lost() const { return lost_->load(std::memory_order_relaxed); }
  /// The file still reaches to `used` bytes into the piece. Asks the kernel.
  virtual bool reaches(size_t used) const = 0;

  virtual const std::string& name() const = 0;

 protected:
  ByteWindow();
  const std::atomic<bool>* lost_;
};

}  // namespace topspin
