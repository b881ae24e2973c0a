// ParseAhead: reads and parses a capture file on a thread of its own, ahead of the flow table.
//
// Packets cross over in batches, in the order of the file, so the table gives the same answers as
// with one thread. If batches pile up, this thread has time left. Then it also looks up each packet
// in the table's index, and makes memory for new flows ready. Its lookup is a guess, because the
// table changes meanwhile; the table verifies it.
//
// There are kBatches. A thread that has no batch to work on waits until several are there, because
// a wakeup costs about as much as a batch.
//
// The object belongs to the capture thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "capture/file_packets.h"
#include "capture/packet/packet_tap.h"
#include "capture/packet_batch.h"
#include "capture/source/packet_source.h"

namespace topspin {

class ParseAhead {
 public:
  /// Starts the thread. It ends when all packets are taken, or soon after `stop` has become true.
  /// What is referred to must outlive this; source, packets and tap are the thread's meanwhile.
  ParseAhead(FileSource& source, KeyMode key, FlowTable& table, FilePackets& packets,
             PacketTap& tap, const std::atomic<bool>& stop);
  /// What was not taken is forgotten.
  ~ParseAhead();
  ParseAhead(const ParseAhead&) = delete;
  ParseAhead& operator=(const ParseAhead&) = delete;

  /// Waits for the next batch. Good until the next call; the last one has an `end`.
  PacketBatch& next();

 private:
  class Parser;  // what lives on the thread

  static constexpr size_t kBatches = 16;

  /// On the thread: hands over the batch that was filled, and waits for an empty one. `hurry`: what
  /// follows it may take long. nullptr: no more is wanted.
  PacketBatch* hand_over(bool hurry);
  PacketBatch& batch(uint64_t number) { return *batches_[number % kBatches]; }

  const std::atomic<bool>& stop_;
  std::vector<std::unique_ptr<PacketBatch>> batches_;
  std::unique_ptr<Parser> parser_;

  std::mutex mutex_;
  std::condition_variable filled_changed_, emptied_changed_;
  // All below guarded by mutex_. Batches by their number: those below `emptied_` were observed,
  // those from there to below `filled_` wait.
  uint64_t filled_ = 0;
  uint64_t emptied_ = 0;
  bool hurry_ = false;  // what is there is not to wait for more
  bool unwanted_ = false;
  bool taken_ = false;  // batch `emptied_` is the capture thread's

  std::thread thread_;
};

}  // namespace topspin
