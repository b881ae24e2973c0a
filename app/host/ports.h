// Ports: whether somebody listens on a local port, as /proc/net tells.
//
// Nobody is connected to for it: a subject that is only asked whether it is there must not count a
// connection that it would not have had.
#pragma once

#include <cstdint>
#include <string_view>

namespace topspin {

/// Pure: whether a table like /proc/net/tcp or /proc/net/udp has a socket that listens on (TCP) or
/// is bound to (UDP, not connected) this port, on whatever address.
bool lists_open_port(std::string_view table, bool udp, uint16_t port);

/// The same of this network namespace, IPv4 and IPv6.
bool port_is_open(bool udp, uint16_t port);

}  // namespace topspin
