// Ports: finds out from /proc/net whether a local port is open.
//
// It does not connect: a subject must not see a connection only because we checked whether it is
// ready.
#pragma once

#include <cstdint>
#include <string_view>

namespace topspin {

/// Whether a table like /proc/net/tcp or /proc/net/udp has a socket that listens on this port (TCP)
/// or is bound to it and not connected (UDP), at any address. Pure.
bool lists_open_port(std::string_view table, bool udp, uint16_t port);

/// The same for this network namespace, IPv4 and IPv6.
bool port_is_open(bool udp, uint16_t port);

}  // namespace topspin
