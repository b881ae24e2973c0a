#include "probes/sockets/socket_ledger.h"

#include <algorithm>
#include <charconv>

#include "core/flow/flow.h"

namespace topspin {
namespace {

/// Removes the next word from the front of a line, and returns it.
std::string_view next_word(std::string_view& line) {
  const size_t begin = std::min(line.find_first_not_of(' '), line.size());
  const size_t end = std::min(line.find(' ', begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

std::string_view next_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

SocketRow make_row(const DiagQueue& queue, uint64_t queue_max, int32_t pid, bool closed) {
  SocketRow row;
  row.cookie = queue.cookie;
  row.protocol = queue.protocol;
  row.ip_version = queue.ip_version;
  row.local = queue.local;
  row.pid = pid;
  row.closed = closed;
  row.drops = queue.drops;
  if (queue.protocol == kProtocolTcp) {
    row.accept_queue = queue.queue;
    row.accept_queue_max = queue_max;
    row.accept_queue_limit = queue.limit;
  } else {
    row.receive_queue_bytes = queue.queue;
    row.receive_queue_bytes_max = queue_max;
    row.receive_queue_bytes_limit = queue.limit;
  }
  return row;
}

}  // namespace

/// Each section has two lines: "TcpExt: NAME NAME ...", then "TcpExt: VALUE VALUE ...".
std::optional<ListenCounts> parse_listen_counts(std::string_view netstat) {
  while (!netstat.empty()) {
    std::string_view names = next_line(netstat);
    if (next_word(names) != "TcpExt:") continue;
    std::string_view values = next_line(netstat);
    if (next_word(values) != "TcpExt:") return std::nullopt;
    ListenCounts counts;
    int found = 0;
    while (true) {
      const std::string_view name = next_word(names);
      const std::string_view value = next_word(values);
      if (name.empty() || value.empty()) break;
      uint64_t* const into = name == "ListenOverflows" ? &counts.overflows
                             : name == "ListenDrops"   ? &counts.drops
                                                       : nullptr;
      if (into == nullptr) continue;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *into);
      if (error != std::errc() || end != value.data() + value.size()) return std::nullopt;
      ++found;
    }
    if (found == 2) return counts;
    return std::nullopt;
  }
  return std::nullopt;
}

void SocketLedger::begin(const std::vector<DiagQueue>& queues,
                         const std::optional<ListenCounts>& counts) {
  update(queues);
  for (auto& [cookie, entry] : entries_)
    entry.drops_counted = static_cast<uint32_t>(entry.queue.drops);
  counts_at_begin_ = counts;
  counts_before_ = counts;
}

void SocketLedger::update(const std::vector<DiagQueue>& queues) {
  for (auto& [cookie, entry] : entries_) entry.present = false;
  for (const DiagQueue& queue : queues) {
    const auto [place, fresh] = entries_.try_emplace(queue.cookie);
    Entry& entry = place->second;
    if (fresh) {
      entry.seen_walk = walk_ + 1;
      by_inode_.emplace(queue.inode, queue.cookie);
      ++unknown_;
    }
    entry.changed |= fresh || entry.queue.queue != queue.queue ||
                     entry.queue.limit != queue.limit || entry.queue.drops != queue.drops ||
                     entry.queue.local != queue.local;
    entry.queue = queue;
    entry.queue_max = std::max(entry.queue_max, queue.queue);
    entry.present = true;
  }
}

void SocketLedger::holds(int32_t pid, uint64_t inode) {
  const auto [first, last] = by_inode_.equal_range(inode);
  for (auto place = first; place != last; ++place) {
    Entry& entry = entries_.at(place->second);
    if (!entry.known) --unknown_;
    entry.known = true;
    if (entry.pid != 0) continue;
    entry.pid = pid;
    entry.changed = true;
  }
}

void SocketLedger::walk_ends() {
  for (auto& [cookie, entry] : entries_) {
    if (entry.known || entry.seen_walk > walk_) continue;
    entry.known = true;
    --unknown_;
  }
}

void SocketLedger::doubt() {
  for (auto& [cookie, entry] : entries_) {
    if (!entry.known || entry.pid != 0) continue;
    entry.known = false;
    entry.seen_walk = walk_ + 1;
    entry.drops_counted = static_cast<uint32_t>(entry.queue.drops);
    ++unknown_;
  }
}

SocketLedger::Reading SocketLedger::take(const std::optional<ListenCounts>& counts) {
  Reading reading;
  SocketInterval& interval = reading.interval;
  interval.udp_drops = 0;
  for (auto place = entries_.begin(); place != entries_.end();) {
    Entry& entry = place->second;
    const bool is_tcp = entry.queue.protocol == kProtocolTcp;
    if (entry.pid != 0) {
      // The kernel counts in 32 bits.
      const auto drops = static_cast<uint32_t>(entry.queue.drops);
      (is_tcp ? listen_drops_ : *interval.udp_drops) += drops - entry.drops_counted;
      entry.drops_counted = drops;
      if (is_tcp && entry.present &&
          (!interval.accept_queue_max || entry.queue.queue > *interval.accept_queue_max)) {
        interval.accept_queue_max = entry.queue.queue;
        interval.accept_queue_limit = entry.queue.limit;
      }
      if (!entry.has_row && rows_ < max_rows_) {
        entry.has_row = true;
        ++rows_;
      } else if (!entry.has_row && entry.changed) {
        ++reading.rows_unstored;
      }
      if (entry.has_row && (entry.changed || !entry.present))
        reading.changed.push_back(
            make_row(entry.queue, entry.queue_max, entry.pid, !entry.present));
      entry.changed = false;
    }
    if (entry.present) {
      ++place;
      continue;
    }
    if (!entry.known) --unknown_;
    const auto [first, last] = by_inode_.equal_range(entry.queue.inode);
    for (auto link = first; link != last;)
      link = link->second == place->first ? by_inode_.erase(link) : std::next(link);
    place = entries_.erase(place);
  }

  // A socket counts how many packets it dropped, but not why. It also counts drops that refuse
  // nobody: a repeated SYN, and an ACK that TCP_DEFER_ACCEPT ignores. A client that a full queue
  // refuses counts twice. So of the subject's drops, at most as many are refusals of each kind as
  // the namespace counted. These are sums since the beginning, because the two counters are not
  // read at the same moment.
  if (counts && counts_at_begin_) {
    const uint64_t overflows =
        std::min(listen_drops_, counts->overflows - counts_at_begin_->overflows);
    const uint64_t host_drops = counts->drops - counts_at_begin_->drops;
    const uint64_t host_overflows = counts->overflows - counts_at_begin_->overflows;
    const uint64_t syn_drops =
        std::min(listen_drops_ - overflows, host_drops - std::min(host_overflows, host_drops));
    // A drop is reported once, as the kind that it first was: if another program's queue overflows
    // later, the subject's drops of other kinds may have been overflows after all.
    uint64_t untold = listen_drops_ - overflows_told_ - syn_drops_told_;
    interval.listen_overflows = std::min(overflows - std::min(overflows, overflows_told_), untold);
    untold -= *interval.listen_overflows;
    interval.syn_drops = std::min(syn_drops - std::min(syn_drops, syn_drops_told_), untold);
    overflows_told_ += *interval.listen_overflows;
    syn_drops_told_ += *interval.syn_drops;
    interval.host_listen_overflows = counts->overflows - counts_before_->overflows;
    interval.host_listen_drops = counts->drops - counts_before_->drops;
    counts_before_ = counts;
  }
  return reading;
}

}  // namespace topspin
