#include "load/share/assignment.h"

namespace topspin {
namespace {

/// The finalizer of splitmix64: each bit of the input changes half of the bits of the output.
constexpr uint64_t mixed(uint64_t value) {
  value ^= value >> 30;
  value *= 0xbf58476d1ce4e5b9;
  value ^= value >> 27;
  value *= 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

uint64_t key_of(std::string_view id) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : id) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return mixed(hash);
}

uint64_t client_key(uint32_t client) { return mixed(client + uint64_t{0x9e3779b97f4a7c15}); }

uint64_t weight(uint64_t worker, uint64_t client) { return mixed(worker ^ client); }

}  // namespace

Assignment::Assignment(const std::vector<std::string>& workers) {
  keys_.reserve(workers.size());
  for (const std::string& id : workers) keys_.push_back(key_of(id));
}

// For a given client, different keys have different weights: mixed() is a bijection. Equal keys
// would need ids with the same hash; then the first one wins.
std::optional<size_t> Assignment::owner(uint32_t client) const {
  if (keys_.empty()) return std::nullopt;
  const uint64_t of_client = client_key(client);
  size_t best = 0;
  for (size_t i = 1; i < keys_.size(); ++i) {
    if (weight(keys_[i], of_client) > weight(keys_[best], of_client)) best = i;
  }
  return best;
}

bool Assignment::owns(size_t position, uint32_t client) const {
  const uint64_t of_client = client_key(client);
  const uint64_t own = weight(keys_[position], of_client);
  for (size_t i = 0; i < keys_.size(); ++i) {
    const uint64_t other = weight(keys_[i], of_client);
    if (other > own || (other == own && i < position)) return false;
  }
  return true;
}

}  // namespace topspin
