// ConnectionFilter: whether a capture filter shows the packets of a connection. It is asked with
// made-up packets of that connection, both ways, as Ethernet frames.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/flow/flow.h"

namespace topspin {

class PacketFilter;

class ConnectionFilter {
 public:
  /// nullopt: the filter cannot be asked, since it is one for live packets alone (`inbound`).
  static std::optional<ConnectionFilter> compile(const std::string& filter);
  ConnectionFilter(ConnectionFilter&&) noexcept;
  ConnectionFilter& operator=(ConnectionFilter&&) noexcept;
  ~ConnectionFilter();

  /// Whether it shows any packet of the connection. `protocol`: TCP or UDP.
  bool shows(uint8_t protocol, uint8_t ip_version, const Endpoint& one,
             const Endpoint& other) const;

 private:
  explicit ConnectionFilter(std::unique_ptr<PacketFilter> filter);
  std::unique_ptr<PacketFilter> filter_;
};

}  // namespace topspin
