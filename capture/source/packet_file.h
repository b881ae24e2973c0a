// PacketFile writes captured packets to a file, in classic pcap with nanosecond stamps.
//
// The capture thread fills a buffer and hands it over once per batch. A separate thread writes it,
// so neither a slow disk nor a slow reader holds up the capture. A file holds whole packets only:
// it can be read while it grows, and after a failed write it ends with the last packet that fit.
// After a failure nothing more is written, and every packet counts as unwritten.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "capture/packet/packet.h"
#include "capture/packet/packet_parser.h"
#include "core/base/unique_fd.h"

namespace topspin {

class PacketFile {
 public:
  /// The most bytes that wait to be written. Packets beyond are not written, and are counted.
  static constexpr size_t kWaitingBytesMax = 64 << 20;
  /// How long finish() waits for a reader that takes nothing.
  static constexpr int kReaderWaitMs = 2'000;

  /// `fd` is an empty file, a pipe or a socket. `name` is for messages.
  PacketFile(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  ~PacketFile();

  const std::string& name() const { return name_; }

  /// Writes the header and starts the thread. Call once, before add() and after privileges have
  /// been dropped, because each thread has its own.
  void begin(LinkType link, int snaplen);

  /// Capture thread. Sets the link type of the packets from now on. A file has one link type, so
  /// writing ends if it changes.
  void set_link_type(LinkType link);

  /// Capture thread. REQUIRES: the stamp is wall-clock time.
  void add(const PacketView& packet);

  /// Capture thread, once per batch: has the added packets written soon. The first call after a
  /// failure returns what happened.
  std::optional<std::string> hand_over();

  /// So far. Any thread.
  uint64_t unwritten_packets();

  struct Totals {
    uint64_t written_packets = 0;
    uint64_t unwritten_packets = 0;
    std::string failure;  // why some were not written
  };
  /// Writes the rest and ends the thread. REQUIRES: the capture has ended.
  Totals finish();

 private:
  /// Whole packets, one after another, in the file's format.
  struct Batch {
    std::string bytes;
    uint64_t packets = 0;
  };

  void run();
  void write_batch(const Batch& batch);
  int write_all(const std::string& bytes, size_t& written);
  bool wait_for_reader(int& waited_ms);
  void fail(std::string why);

  UniqueFd fd_;
  std::string name_;
  bool is_regular_ = false;
  bool is_socket_ = false;
  LinkType link_{};
  std::thread thread_;

  Batch fresh_;         // used by the capture thread
  uint64_t place_ = 0;  // used by the writing thread: the next offset in a regular file

  std::mutex mutex_;
  std::condition_variable changed_;
  // All below guarded by mutex_.
  Batch waiting_;
  bool ending_ = false;
  bool failed_ = false;  // nothing more is written
  std::optional<std::string> untold_failure_;
  Totals totals_;
};

}  // namespace topspin
