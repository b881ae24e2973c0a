// Which worker of a load has which client: rendezvous hashing (highest random weight). Each worker
// has a weight for each client, and the client belongs to the one with the greatest. So everybody
// computes the same from the list of workers alone, and when a worker comes or goes only its own
// clients move. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace topspin {

class Assignment {
 public:
  explicit Assignment(const std::vector<std::string>& workers);

  /// The position of the client's worker in the list; nullopt if the list is empty. `client` is the
  /// slot of a ClientStay.
  std::optional<size_t> owner(uint32_t client) const;
  /// Whether it is the worker at `position`. Faster than owner(): it stops at the first greater
  /// weight.
  bool owns(size_t position, uint32_t client) const;

 private:
  std::vector<uint64_t> keys_;
};

}  // namespace topspin
