// SocketLedger knows which of the host's listening and UDP sockets are the subject's, and how their
// counters grow from tick to tick. Pure: its input is what NETLINK_SOCK_DIAG, /proc/PID/fd and
// /proc/net/netstat returned. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/tick/sockets.h"
#include "probes/inet/sock_diag.h"

namespace topspin {

/// Counts of a network namespace since it was created: the line TcpExt of /proc/net/netstat.
struct ListenCounts {
  uint64_t overflows = 0;  // an accept queue was full
  uint64_t drops = 0;      // connection attempts refused for any reason, including overflows
};
std::optional<ListenCounts> parse_listen_counts(std::string_view netstat);

class SocketLedger {
 public:
  explicit SocketLedger(uint64_t max_rows) : max_rows_(max_rows) {}

  /// The sockets that exist when the run begins. What they dropped before does not count.
  void begin(const std::vector<DiagQueue>& queues, const std::optional<ListenCounts>& counts);

  /// All sockets that exist now.
  void update(const std::vector<DiagQueue>& queues);

  /// Whether there are sockets whose owner is not known yet.
  bool wants_walk() const { return unknown_ > 0; }
  /// A walk through the subject's open files begins, may take several ticks, and ends. holds()
  /// reports each socket that it finds. A socket that existed when the walk began and was not found
  /// is not the subject's.
  void walk_begins() { ++walk_; }
  void holds(int32_t pid, uint64_t inode);
  void walk_ends();
  /// Re-examines sockets that were not the subject's: a descriptor may have been passed on.
  void doubt();

  /// The interval since the last call: queues, drops and the rows that changed.
  struct Reading {
    SocketInterval interval;
    std::vector<SocketRow> changed;
    uint64_t rows_unstored = 0;  // new ones beyond the limit
  };
  Reading take(const std::optional<ListenCounts>& counts);

 private:
  struct Entry {
    DiagQueue queue;
    uint64_t queue_max = 0;
    uint32_t drops_counted = 0;
    int32_t pid = 0;         // 0: not the subject's, or not known
    uint32_t seen_walk = 0;  // the first walk that began after it was seen
    bool known = false;
    bool present = false;
    bool changed = false;
    bool has_row = false;
  };

  uint64_t max_rows_;
  uint64_t rows_ = 0;
  std::unordered_map<uint64_t, Entry> entries_;           // by cookie
  std::unordered_multimap<uint64_t, uint64_t> by_inode_;  // to cookies
  uint64_t unknown_ = 0;
  uint32_t walk_ = 0;
  std::optional<ListenCounts> counts_at_begin_;
  std::optional<ListenCounts> counts_before_;
  uint64_t listen_drops_ = 0;  // of the subject, since begin
  uint64_t overflows_told_ = 0;
  uint64_t syn_drops_told_ = 0;
};

}  // namespace topspin
