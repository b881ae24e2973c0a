#include "probes/inet/socket_table.h"

#include <algorithm>
#include <cstring>

namespace topspin {
namespace {

using Address = std::array<uint8_t, 16>;

bool is_wildcard(const Address& address) { return address == Address{}; }

/// ::ffff:a.b.c.d
bool is_mapped_ipv4(const Address& address) {
  return std::all_of(address.begin(), address.begin() + 10, [](uint8_t b) { return b == 0; }) &&
         address[10] == 0xff && address[11] == 0xff;
}

Address unmapped(const Address& address) {
  Address ipv4{};
  std::copy_n(address.begin() + 12, 4, ipv4.begin());
  return ipv4;
}

uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

uint64_t mix(uint64_t hash, const Endpoint& endpoint) {
  uint64_t halves[2];
  std::memcpy(halves, endpoint.address.data(), sizeof(halves));
  return mix(mix(mix(hash, halves[0]), halves[1]), endpoint.port);
}

}  // namespace

FlowEnd flow_end(const FlowRow& row, size_t side) {
  const bool initiator = side == 0;
  return {row.key.ip_version, row.key.protocol, initiator ? row.initiator() : row.responder(),
          initiator ? row.responder() : row.initiator()};
}

FlowEnd socket_end(const SocketSighting& socket) {
  FlowEnd end{socket.ip_version, socket.protocol, socket.local, socket.remote};
  if (socket.ip_version == 6 && is_mapped_ipv4(socket.local.address)) {
    end.ip_version = 4;
    end.local.address = unmapped(socket.local.address);
    end.remote.address = unmapped(socket.remote.address);
  }
  if (end.remote.port == 0) end.remote = {};
  return end;
}

size_t FlowEndHash::operator()(const FlowEnd& end) const {
  const uint64_t kind = (uint64_t{end.ip_version} << 8) | end.protocol;
  return mix(mix(mix(0, kind), end.local), end.remote);
}

uint32_t SocketTable::index_of(const SocketProcess& process) {
  const auto [place, fresh] =
      process_of_pid_.try_emplace(process.pid, static_cast<uint32_t>(processes_.size()));
  // The pid was reused within one walk. Sockets seen before keep the earlier process.
  if (!fresh && !processes_[place->second].same_as(process)) {
    place->second = static_cast<uint32_t>(processes_.size());
    processes_.push_back(process);
  } else if (fresh) {
    processes_.push_back(process);
  }
  return place->second;
}

void SocketTable::add(const SocketSighting& socket, const SocketProcess& process) {
  const uint32_t index = index_of(process);
  FlowEnd end = socket_end(socket);
  add_end(end, index);
  if (end.ip_version == 6 && end.remote.port == 0 && !socket.ipv6_only &&
      is_wildcard(end.local.address)) {
    end.ip_version = 4;
    add_end(end, index);
  }
}

void SocketTable::add_end(const FlowEnd& end, uint32_t process) {
  const auto found = sockets_.find(end);
  if (found == sockets_.end()) {
    if (sockets_.size() >= max_sockets_)
      ++missed_;
    else
      sockets_.emplace(end, Holder{process, false});
    return;
  }
  Holder& holder = found->second;
  if (holder.process == process) return;
  holder.shared = true;
  const SocketProcess& known = processes_[holder.process];
  const SocketProcess& other = processes_[process];
  if (std::pair(other.start_time_ns, other.pid) < std::pair(known.start_time_ns, known.pid))
    holder.process = process;
}

std::optional<SocketTable::Match> SocketTable::find(const FlowEnd& end, bool is_local) const {
  const auto look = [&](const FlowEnd& key, bool connected) -> std::optional<Match> {
    const auto found = sockets_.find(key);
    if (found == sockets_.end()) return std::nullopt;
    return Match{&processes_[found->second.process], found->second.shared, connected};
  };
  if (auto match = look(end, true)) return match;
  FlowEnd bound = end;
  bound.remote = {};
  if (auto match = look(bound, false)) return match;
  if (!is_local) return std::nullopt;
  bound.local.address = {};
  return look(bound, false);
}

void SocketTable::clear() {
  missed_ = 0;
  processes_.clear();
  process_of_pid_.clear();
  sockets_.clear();
}

}  // namespace topspin
