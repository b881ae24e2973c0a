// HttpResponse: finds the end of one HTTP/1.x response in a stream of bytes, and its status. Pure.
//
// The end of the body is given by Content-Length, by chunks, by the status (1xx, 204, 304 have
// none), or by the end of the connection. Header lines are read as far as these need them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace topspin {

inline constexpr size_t kHttpHeadBytesMax = 64 * 1024;

class HttpResponse {
 public:
  enum class State : uint8_t { kMore, kDone, kMalformed };

  /// Reads from `bytes` up to the end of the response, and says how many it took.
  size_t feed(std::span<const uint8_t> bytes);

  /// The connection has ended: kDone if that is how the body ends, else kMore stays.
  void end_of_stream();

  State state() const { return state_; }
  int status() const { return status_; }
  bool keep_alive() const { return keep_alive_; }  // whether the connection can be used again
  uint64_t body_bytes() const { return body_bytes_; }
  bool empty() const { return !begun_; }  // not a byte so far

  void reset() { *this = {}; }

 private:
  enum class Part : uint8_t {
    kStatus,
    kHeader,
    kLength,
    kChunkSize,
    kChunk,
    kChunkEnd,
    kTrailer,
    kUntilEnd
  };

  void take_line();
  void take_header();
  void end_of_head();
  void malformed() { state_ = State::kMalformed; }

  State state_ = State::kMore;
  Part part_ = Part::kStatus;
  std::string line_;    // as far as it has come, without CR LF
  std::string header_;  // the one before, which may go on in this line
  size_t head_bytes_ = 0;
  uint64_t left_ = 0;  // of the body or chunk
  uint64_t body_bytes_ = 0;
  int status_ = 0;
  bool begun_ = false;
  bool keep_alive_ = true;
  bool has_length_ = false;
  bool chunked_ = false;
};

}  // namespace topspin
