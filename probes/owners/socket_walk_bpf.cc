// The top rung of "owners": flow_owner.bpf.c, loaded, attached and read. Owned by FlowOwners, on
// its thread.
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "flow_owner.skel.h"
#include "probes/bpf/bpf_object.h"
#include "probes/owners/flow_owner_abi.h"
#include "probes/owners/socket_walk.h"
#include "probes/probe.h"

namespace topspin {
namespace {

SocketEvent to_event(const topspin_socket& record) {
  SocketEvent event;
  event.socket.ip_version = record.flags & TOPSPIN_SOCKET_IPV6 ? 6 : 4;
  event.socket.protocol = record.protocol;
  event.socket.ipv6_only = (record.flags & TOPSPIN_SOCKET_IPV6_ONLY) != 0;
  std::memcpy(event.socket.local.address.data(), record.local, sizeof(record.local));
  std::memcpy(event.socket.remote.address.data(), record.remote, sizeof(record.remote));
  event.socket.local.port = record.local_port;
  event.socket.remote.port = record.remote_port;
  event.accepted = (record.flags & TOPSPIN_SOCKET_ACCEPTED) != 0;
  event.process.pid = record.pid;
  event.process.start_time_ns = static_cast<int64_t>(record.start_boottime_ns);
  event.process.name.assign(record.comm, ::strnlen(record.comm, sizeof(record.comm)));
  return event;
}

class BpfSocketWalk final : public SocketWalk {
 public:
  explicit BpfSocketWalk(OwnedSkeleton<flow_owner> skeleton) : skeleton_(std::move(skeleton)) {}

  Status open_events() {
    TOPSPIN_ASSIGN(ring_,
                   open_ring(bpf_map__fd(skeleton_->maps.events), &on_event, this, "sockets"));
    return {};
  }

  Result<bool> advance(SocketTable& into, int64_t deadline_ns) override {
    if (!walk_) {
      walk_.reset(bpf_iter_create(bpf_link__fd(skeleton_->links.walk_files)));
      if (!walk_) return failed();
      kept_ = 0;
    }
    buffer_.resize(256 * sizeof(topspin_socket));
    while (true) {
      // One read returns what one buffer of the kernel holds, which is some hundred sockets. It may
      // also skip many other files until it finds a socket. The walk can pause between reads.
      const ssize_t got = ::read(walk_.get(), buffer_.data() + kept_, buffer_.size() - kept_);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0) return failed();
      if (got == 0) {
        walk_.reset();
        return true;
      }
      const size_t size = kept_ + static_cast<size_t>(got);
      const size_t whole = size / sizeof(topspin_socket) * sizeof(topspin_socket);
      for (size_t offset = 0; offset < whole; offset += sizeof(topspin_socket)) {
        topspin_socket record;
        std::memcpy(&record, buffer_.data() + offset, sizeof(record));
        const SocketEvent seen = to_event(record);
        into.add(seen.socket, seen.process);
      }
      kept_ = size - whole;
      std::memmove(buffer_.data(), buffer_.data() + whole, kept_);
      if (monotonic_now_ns() >= deadline_ns) return false;
    }
  }

  void take_events(std::vector<SocketEvent>& into) override {
    taking_ = &into;
    ring_buffer__consume(ring_.get());
    taking_ = nullptr;
  }

  uint64_t events_missed() const override { return skeleton_->bss->events_unsent; }

  std::vector<int> capabilities_needed() const override { return bpf_capabilities_needed(); }

 private:
  Error failed() {
    const int number = errno;
    walk_.reset();
    return make_error(ErrorCode::kInternal,
                      fmt::format("cannot walk the open files: {}", std::strerror(number)), number);
  }

  static int on_event(void* context, void* data, size_t size) {
    topspin_socket record;
    if (size < sizeof(record)) return 0;
    std::memcpy(&record, data, sizeof(record));
    static_cast<BpfSocketWalk*>(context)->taking_->push_back(to_event(record));
    return 0;
  }

  OwnedSkeleton<flow_owner> skeleton_;
  RingBuffer ring_;
  std::vector<SocketEvent>* taking_ = nullptr;
  UniqueFd walk_;
  std::vector<char> buffer_;
  size_t kept_ = 0;  // bytes of a record cut in two by the end of a read
};

}  // namespace

Result<std::unique_ptr<SocketWalk>> open_bpf_socket_walk() {
  const BpfLog log;
  struct ::stat network {};
  if (::stat("/proc/self/ns/net", &network) != 0)
    return make_error(ErrorCode::kUnsupported,
                      "cannot tell the network namespace: no /proc/self/ns/net; mount /proc",
                      errno);
  OwnedSkeleton<flow_owner> skeleton(flow_owner::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  skeleton->rodata->net_inode = static_cast<uint32_t>(network.st_ino);
  if (const int error = flow_owner::load(skeleton.get()))
    return log.error("cannot load the socket programs", -error);
  // The first walk tells the programs the reader's pid namespace: it goes before the events.
  skeleton->links.walk_files = bpf_program__attach_iter(skeleton->progs.walk_files, nullptr);
  if (!skeleton->links.walk_files) return log.error("cannot attach the file iterator", errno);
  flow_owner* const programs = skeleton.get();
  auto walk = std::make_unique<BpfSocketWalk>(std::move(skeleton));
  TOPSPIN_TRY(walk->open_events());
  SocketTable ignored(0);
  if (auto walked = walk->advance(ignored, INT64_MAX); !walked.ok())
    return std::move(walked).error();
  programs->links.set_state = bpf_program__attach(programs->progs.set_state);
  if (!programs->links.set_state)
    return log.error("cannot attach to the TCP state tracepoint", errno);
  return Result<std::unique_ptr<SocketWalk>>(std::move(walk));
}

}  // namespace topspin
