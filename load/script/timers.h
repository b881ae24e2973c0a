// ClientTimers: at most one timer per client, in the order of their times. Pure.
//
// A client waits for one thing at a time, so a new timer replaces its old one. So the memory is
// bounded by the number of clients, whatever a script waits for and how often.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace topspin {

class ClientTimers {
 public:
  void resize(size_t clients) { place_.resize(clients, kNone); }

  /// Sets the client's timer, or moves it.
  void set(uint32_t client, int64_t time_ns) {
    if (place_[client] == kNone) {
      place_[client] = static_cast<uint32_t>(heap_.size());
      heap_.push_back({time_ns, client});
      up(heap_.size() - 1);
      return;
    }
    const size_t at = place_[client];
    heap_[at].time_ns = time_ns;
    up(at);
    down(place_[client]);
  }

  void clear(uint32_t client) {
    const uint32_t at = std::exchange(place_[client], kNone);
    if (at == kNone) return;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (at == heap_.size()) return;
    heap_[at] = last;
    place_[last.client] = at;
    up(at);
    down(place_[last.client]);
  }

  std::optional<int64_t> next_ns() const {
    return heap_.empty() ? std::nullopt : std::optional(heap_.front().time_ns);
  }

  /// Removes and returns the client whose timer is the earliest, if it is not after `now_ns`.
  std::optional<uint32_t> pop(int64_t now_ns) {
    if (heap_.empty() || heap_.front().time_ns > now_ns) return std::nullopt;
    const uint32_t client = heap_.front().client;
    clear(client);
    return client;
  }

 private:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  struct Entry {
    int64_t time_ns;
    uint32_t client;
    bool before(const Entry& other) const {
      return time_ns != other.time_ns ? time_ns < other.time_ns : client < other.client;
    }
  };

  void swap(size_t a, size_t b) {
    std::swap(heap_[a], heap_[b]);
    place_[heap_[a].client] = static_cast<uint32_t>(a);
    place_[heap_[b].client] = static_cast<uint32_t>(b);
  }

  void up(size_t at) {
    while (at > 0 && heap_[at].before(heap_[(at - 1) / 2])) {
      swap(at, (at - 1) / 2);
      at = (at - 1) / 2;
    }
  }

  void down(size_t at) {
    while (true) {
      size_t least = at;
      for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap_.size(); ++child) {
        if (heap_[child].before(heap_[least])) least = child;
      }
      if (least == at) return;
      swap(at, least);
      at = least;
    }
  }

  std::vector<Entry> heap_;
  std::vector<uint32_t> place_;  // by client: its index in heap_, or kNone
};

}  // namespace topspin
