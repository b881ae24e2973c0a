#include "app/watch/packets/incident_packets.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>  // NOLINT(modernize-deprecated-headers): renameat is POSIX
#include <unistd.h>

#include "app/host/output_place.h"
#include "app/watch/packets/packet_owners.h"
#include "capture/packet/packet_ring.h"
#include "capture/packet/pcapng_text.h"
#include "core/base/check.h"
#include "core/base/text.h"
#include "store/sqlite/packet_files.h"

namespace topspin {
namespace {

constexpr size_t kWriteBytes = 1 << 20;

Error not_written(int os_errno) {
  return make_error(ErrorCode::kOutput,
                    fmt::format("cannot write the packets: {}", std::strerror(os_errno)), os_errno);
}

std::string packet_count(uint64_t count) {
  return count == 1 ? "1 packet" : fmt::format("{} packets", count);
}

/// Packets belong to the incident by the interval in which they were counted, so that the file has
/// exactly those that the incident's ticks count.
class PacketWindow {
 public:
  explicit PacketWindow(const Incident& incident)
      : from_ns_(incident.ticks.front()->plain().flows.begin_ns),
        until_ns_(incident.ticks.back()->plain().flows.end_ns) {}
  bool has(const KeptPacket& packet) const {
    return packet.interval_ns >= from_ns_ && packet.interval_ns < until_ns_;
  }

 private:
  int64_t from_ns_, until_ns_;
};

uint64_t packets_counted(const Incident& incident) {
  uint64_t packets = 0;
  for (const auto& tick : incident.ticks) packets += tick->plain().flows.packets;
  return packets;
}

uint64_t packets_kept(const Incident& incident) {
  const PacketWindow window(incident);
  uint64_t packets = 0;
  for (const auto& chunk : incident.packets->chunks)
    chunk->for_each(
        [&](const KeptPacket& packet, const uint8_t*) { packets += window.has(packet); });
  return packets;
}

std::string not_in_the_file(uint64_t missing, uint64_t ring_bytes) {
  if (missing == 0) return {};
  return fmt::format(
      "; {} more {} not: the ring of {} did not hold {} any more (--packets-size sets its size)",
      missing, missing == 1 ? "is" : "are", format_bytes(static_cast<int64_t>(ring_bytes)),
      missing == 1 ? "it" : "them");
}

/// Writes blocks in large pieces.
class BlockFile {
 public:
  explicit BlockFile(int fd) : fd_(fd) {}
  std::string& text() { return text_; }
  Status flush_if_long() { return text_.size() >= kWriteBytes ? flush() : Status(); }
  Status flush() {
    std::string_view rest = text_;
    while (!rest.empty()) {
      const ssize_t written = ::write(fd_, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return not_written(written < 0 ? errno : ENOSPC);
      rest.remove_prefix(static_cast<size_t>(written));
    }
    text_.clear();
    return {};
  }

 private:
  int fd_;
  std::string text_;
};

Status write_packets(const Incident& incident, BlockFile& file) {
  const RunInfo& run = incident.recorder;
  const FrozenPackets& frozen = *incident.packets;
  const PacketOwners owners(incident);
  const PacketWindow window(incident);
  std::map<LinkType, uint32_t> interfaces;
  for (const auto& chunk : frozen.chunks) {
    auto interface = interfaces.find(chunk->link());
    if (interface == interfaces.end()) {
      append_pcapng_interface(file.text(), {chunk->link(), static_cast<uint32_t>(frozen.snaplen),
                                            run.settings.interface, run.settings.filter});
      const auto number = static_cast<uint32_t>(interfaces.size());
      interface = interfaces.emplace(chunk->link(), number).first;
    }
    chunk->for_each([&](const KeptPacket& packet, const uint8_t* bytes) {
      if (!window.has(packet)) return;
      const ParsedPacket parsed = parse_packet(
          chunk->link(), frozen.key, {packet.stamp_ns, bytes, packet.captured, packet.length});
      const std::string comment = parsed.in_flow() ? owners.words(parsed.key.to_flow_key(),
                                                                  parsed.from_low, packet.stamp_ns)
                                                   : std::string();
      append_pcapng_packet(
          file.text(), {interface->second, packet.wall_ns, bytes, packet.captured, packet.length},
          comment);
    });
    TOPSPIN_TRY(file.flush_if_long());
  }
  return file.flush();
}

}  // namespace

Result<PacketDirectory> PacketDirectory::open(const std::string& database) {
  const std::string path = directory_of(database);
  UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    return make_error(ErrorCode::kPermission,
                      fmt::format("cannot open {} for the packets of incidents: {}; give another "
                                  "--db",
                                  sanitize_for_terminal(path), std::strerror(errno)),
                      errno);
  }
  PacketDirectory directory(std::move(fd), database.substr(database.rfind('/') + 1));
  ::unlinkat(directory.fd(), directory.temporary_name().c_str(), 0);
  return directory;
}

Result<IncidentPackets> IncidentPackets::write(const Incident& incident, const std::string& run_id,
                                               const PacketDirectory& directory) {
  IncidentPackets written(directory);
  const auto name = packet_file_of(directory.database_name(), run_id);
  CHECK(name);
  const uint64_t kept = packets_kept(incident), counted = packets_counted(incident);
  const std::string missing =
      not_in_the_file(counted - std::min(counted, kept), incident.packets->ring_bytes);
  if (kept == 0) {
    written.sentence_ = "no packet of this incident was kept in a file" + missing;
    return written;
  }
  written.name_ = *name;
  written.packets_ = kept;
  written.sentence_ =
      fmt::format("{} {} in {}{}", packet_count(kept), kept == 1 ? "is" : "are", *name, missing);

  // An old one is not followed or reused.
  const std::string temporary = directory.temporary_name();
  ::unlinkat(directory.fd(), temporary.c_str(), 0);
  const UniqueFd fd(::openat(directory.fd(), temporary.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return not_written(errno);
  written.is_temporary_ = true;
  BlockFile file(fd.get());
  const RunInfo& run = incident.recorder;
  append_pcapng_section(
      file.text(),
      {fmt::format("topspin {}", run.topspin_version),
       sanitize_for_terminal(fmt::format("{}, Linux {}", run.host.os, run.host.kernel)),
       sanitize_for_terminal(
           fmt::format("incident {}: {}; {}", run_id,
                       incident.cause.rule.empty() ? std::string("by hand") : incident.cause.rule,
                       written.sentence_))});
  TOPSPIN_TRY(write_packets(incident, file));
  if (::fsync(fd.get()) != 0) return not_written(errno);
  return written;
}

IncidentPackets::IncidentPackets(IncidentPackets&& other) noexcept
    : directory_(other.directory_),
      name_(std::move(other.name_)),
      sentence_(std::move(other.sentence_)),
      packets_(other.packets_),
      is_temporary_(std::exchange(other.is_temporary_, false)) {}

IncidentPackets::~IncidentPackets() {
  if (is_temporary_) ::unlinkat(directory_->fd(), directory_->temporary_name().c_str(), 0);
}

Status IncidentPackets::put_in_place() {
  if (!is_temporary_) return {};
  if (::renameat(directory_->fd(), directory_->temporary_name().c_str(), directory_->fd(),
                 name_.c_str()) != 0)
    return not_written(errno);
  is_temporary_ = false;
  return {};
}

}  // namespace topspin
