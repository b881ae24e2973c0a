// ConnectionFilter tells whether a capture filter matches the packets of a connection. It tries the
// filter on made-up packets of that connection, in both directions, as Ethernet frames.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/flow/flow.h"

namespace topspin {

class PacketFilter;

class ConnectionFilter {
 public:
  /// nullopt: the filter works on live packets only (`inbound`).
  static std::optional<ConnectionFilter> compile(const std::string& filter);
  ConnectionFilter(ConnectionFilter&&) noexcept;
  ConnectionFilter& operator=(ConnectionFilter&&) noexcept;
  ~ConnectionFilter();

  /// Whether the filter matches any packet of the connection. `protocol` is TCP or UDP.
  bool shows(uint8_t protocol, uint8_t ip_version, const Endpoint& one,
             const Endpoint& other) const;

 private:
  explicit ConnectionFilter(std::unique_ptr<PacketFilter> filter);
  std::unique_ptr<PacketFilter> filter_;
};

}  // namespace topspin
