#include "probes/sockets/socket_times.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/bpf/bpf_object.h"
#include "probes/bpf/mapped_array.h"
#include "probes/bpf/subject_watch.h"
#include "probes/inet/sock_diag.h"
#include "probes/proc/syscall_names.h"
#include "probes/sockets/open_sockets.h"
#include "probes/sockets/sockets_abi.h"
#include "sockets.skel.h"

namespace topspin {
namespace {

/// A request that was not answered for this long counts as never answered.
constexpr uint64_t kReplyTimeoutNs = 10 * uint64_t{kNanosPerSecond};

/// While this object lives, the kernel puts a timestamp on each incoming packet, because one socket
/// asks for it: any but those of AF_UNIX. Only the timestamp says when the second of two datagrams
/// in a queue arrived.
UniqueFd ask_for_time_stamps() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const int on = 1;
  if (fd) ::setsockopt(fd.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
  return fd;
}

static_assert(kReplyPartCount == TOPSPIN_REPLY_PARTS);
static_assert(static_cast<size_t>(ReplyPart::kFutex) == TOPSPIN_INSIDE_ASLEEP);
static_assert(kShortestTailReplyNs == TOPSPIN_TAIL_REPLY_NS);
static_assert(kSlowRepliesATick == TOPSPIN_SLOW_REPLIES);

void add_cells(const topspin_reply_cells& from, topspin_reply_cells& into) {
  into.sum += from.sum;
  into.max = std::max(into.max, from.max);
  for (size_t index = 0; index < TOPSPIN_REPLY_CELLS; ++index)
    into.cells[index] += __atomic_load_n(&from.cells[index], __ATOMIC_RELAXED);
}

/// Each cell covers four of the full layout. Its samples go to the highest of them, so that no
/// percentile is too low.
Histogram histogram_of(const topspin_reply_cells& part) {
  std::array<uint64_t, kHistogramBuckets> cells{};
  for (size_t index = 0; index < TOPSPIN_REPLY_CELLS; ++index)
    cells[4 * index + 3] = part.cells[index];
  return Histogram::from_cells(cells, part.sum, part.max);
}

SlowReply slow_reply(const topspin_slow_reply& from) {
  SlowReply reply;
  reply.protocol = from.protocol;
  reply.ip_version = from.ip_version;
  std::copy(std::begin(from.local), std::end(from.local), reply.local.address.begin());
  std::copy(std::begin(from.remote), std::end(from.remote), reply.remote.address.begin());
  reply.local.port = from.local_port;
  reply.remote.port = from.remote_port;
  reply.reader_tid = from.reader_tid;
  reply.sender_tid = from.sender_tid;
  reply.sender.assign(from.sender, ::strnlen(from.sender, sizeof(from.sender)));
  reply.ready_ns = static_cast<int64_t>(from.ready_ns);
  reply.total_ns = from.total_ns;
  std::copy(std::begin(from.parts), std::end(from.parts), reply.parts.begin());
  return reply;
}

/// Existing connections to these ports are a server's.
void name_listening_ports(int map_fd) {
  auto diag = SockDiag::open();
  if (!diag.ok()) return;  // then existing connections count as a client's
  const auto queues = diag->queues();
  if (!queues.ok()) return;
  for (const DiagQueue& queue : *queues) {
    const uint8_t listens = 1;
    if (queue.protocol == kProtocolTcp)
      bpf_map_update_elem(map_fd, &queue.local.port, &listens, BPF_ANY);
  }
}

class BpfSocketTimes final : public SocketTimes {
 public:
  BpfSocketTimes(OwnedSkeleton<sockets> skeleton, MappedBpfArray<topspin_socket_cpu> cpus,
                 const Subject& subject, const SocketFeatures& features)
      : skeleton_(std::move(skeleton)),
        cpus_(std::move(cpus)),
        copies_(cpus_.size()),
        program_fds_(loaded_programs(skeleton_->obj)),
        features_(features),
        follows_cgroup_(subject.kind == SubjectSpec::Kind::kCgroup) {
    tell_clock_offset();
  }

  Status attach(const Subject& subject) override {
    const BpfLog log;
    name_listening_ports(bpf_map__fd(skeleton_->maps.listening_ports));
    TOPSPIN_TRY(attach_programs(*skeleton_, log, "socket"));
    // Attaches it now, so that a refusal is known now, and keeps it only when it has something to
    // see.
    auto& programs = skeleton_->progs;
    for (bpf_program* program : {features_.accepts ? programs.sys_exit : nullptr,
                                 features_.replies() ? programs.sched_switch : nullptr}) {
      bpf_link* const link = program ? bpf_program__attach(program) : nullptr;
      if (program && !link) return log.error("cannot attach the socket programs", errno);
      if (link) bpf_link__destroy(link);
    }
    TOPSPIN_ASSIGN(ring_, open_ring(
                              bpf_map__fd(skeleton_->maps.notices),
                              [](void*, void*, size_t) { return 0; }, nullptr, "notices"));
    TOPSPIN_TRY(seed_subject(watch(), subject));
    TOPSPIN_TRY(watch_what_is_open());
    handle_notices();
    return {};
  }

  const std::string& unseen() const override { return unseen_; }

  void follow_cgroup(uint64_t id) override {
    if (!follows_cgroup_) return;
    skeleton_->bss->subject_cgroup_id = id;
    (void)walk_subject(watch()).ok();
  }

  int notice_fd() const override { return ring_buffer__epoll_fd(ring_.get()); }

  /// Attaching was tried while opening, and worked. It needs no privilege that may have been given
  /// up since, except those that capabilities_needed() names.
  void handle_notices() override {
    ring_buffer__consume(ring_.get());
    if (features_.accepts && skeleton_->bss->listens)
      attach_once(skeleton_->progs.sys_exit, skeleton_->links.sys_exit);
    if (features_.replies() && skeleton_->bss->serves)
      attach_once(skeleton_->progs.sched_switch, skeleton_->links.sched_switch);
    ask_for_time_stamps_if_needed();
  }

  SocketTimesReading read() override {
    // If a walk fails, threads that joined the cgroup other than by fork are found by the next
    // walk.
    if (follows_cgroup_) (void)walk_subject(watch()).ok();
    tell_clock_offset();
    handle_notices();
    SocketTimesReading reading;
    // A change during this loop is in one distribution and not in another.
    constexpr int kTries = 3;
    for (int tries = 1;; ++tries) {
      const uint64_t before = events();
      read_cells(reading);
      if (tries == kTries || events() == before) break;
      reading = {};
    }
    if (features_.replies()) take_slowest(reading);
    if (features_.accepts) take_fullest_queue(reading);
    const ProgramStats stats = read_program_stats(program_fds_);
    reading.bpf_ns = stats.run_ns;
    reading.losses.socket_missed_runs = stats.missed_runs;
    reading.losses.socket_map_full =
        skeleton_->bss->sockets_refused + skeleton_->bss->threads_refused;
    return reading;
  }

 private:
  /// What was read from one CPU.
  struct Copy {
    uint64_t events = 0;
    uint64_t left_censored = 0;
    uint64_t unmatched = 0;
    uint64_t splits_cut = 0;
    uint64_t udp_drops = 0;
    uint64_t multiplexed = 0;
    Histogram accept_delay;
    Histogram socket_wait;
    Histogram reply_socket;
    Histogram reply_cpu_queue;
    Histogram reply_runtime;
    Histogram reply;
    Histogram nagle_held;
  };

  uint64_t events() const {
    uint64_t sum = 0;
    for (uint32_t index = 0; index < cpus_.size(); ++index)
      sum += __atomic_load_n(&cpus_[index].events, __ATOMIC_ACQUIRE);
    return sum;
  }

  void read_cells(SocketTimesReading& reading) {
    for (uint32_t index = 0; index < cpus_.size(); ++index) {
      const topspin_socket_cpu& cpu = cpus_[index];
      Copy& copy = copies_[index];
      const uint64_t events = __atomic_load_n(&cpu.events, __ATOMIC_ACQUIRE);
      if (events != copy.events) {
        copy = {events,
                cpu.left_censored,
                cpu.unmatched,
                cpu.splits_cut,
                cpu.udp_drops,
                cpu.multiplexed,
                read_histogram(cpu.accept_delay),
                read_histogram(cpu.socket_wait),
                read_histogram(cpu.reply_socket),
                read_histogram(cpu.reply_cpu_queue),
                read_histogram(cpu.reply_runtime),
                read_histogram(cpu.reply),
                read_histogram(cpu.nagle_held)};
      }
      add(copy, reading);
    }
    if (features_.replies()) {
      for (size_t part = 0; part < kReplyPartCount; ++part)
        reading.totals.reply_parts[part] = read_part(part);
    }
  }

  void add(const Copy& copy, SocketTimesReading& reading) const {
    const auto merge = [](std::optional<Histogram>& into, const Histogram& from) {
      if (!into) into.emplace();
      into->merge(from);
    };
    SocketInterval& totals = reading.totals;
    if (features_.accepts) merge(totals.accept_delay, copy.accept_delay);
    if (features_.replies()) {
      merge(totals.socket_wait, copy.socket_wait);
      merge(totals.reply_socket, copy.reply_socket);
      merge(totals.reply_cpu_queue, copy.reply_cpu_queue);
      merge(totals.reply_runtime, copy.reply_runtime);
      merge(totals.reply, copy.reply);
      merge(totals.nagle_held, copy.nagle_held);
      totals.replies_multiplexed = totals.replies_multiplexed.value_or(0) + copy.multiplexed;
      reading.udp_drops = reading.udp_drops.value_or(0) + copy.udp_drops;
    }
    reading.losses.socket_left_censored += copy.left_censored;
    reading.losses.replies_unmatched += copy.unmatched;
    reading.losses.reply_splits_cut += copy.splits_cut;
  }

  /// Merged over all CPUs.
  ReplyPartTimes read_part(size_t number) const {
    topspin_reply_part all{};
    for (uint32_t index = 0; index < cpus_.size(); ++index) {
      const topspin_reply_part& part = cpus_[index].parts[number];
      if (__atomic_load_n(&part.time.sum, __ATOMIC_RELAXED) == 0) continue;
      add_cells(part.time, all.time);
      add_cells(part.with, all.with);
      add_cells(part.without, all.without);
      add_cells(part.mostly, all.mostly);
    }
    ReplyPartTimes times;
    times.time = histogram_of(all.time);
    if (all.with.sum > 0) {
      times.with = histogram_of(all.with);
      times.without = histogram_of(all.without);
    }
    if (all.mostly.sum > 0) times.mostly = histogram_of(all.mostly);
    return times;
  }

  /// As below: from here on the programs write into the other half. A program that is still writing
  /// into this half is waited for.
  void take_slowest(SocketTimesReading& reading) {
    const uint64_t epoch = skeleton_->bss->slow_epoch;
    __atomic_store_n(&skeleton_->bss->slow_epoch, epoch + 1, __ATOMIC_SEQ_CST);
    std::vector<SlowReply>& replies = reading.slowest_replies;
    for (uint32_t index = 0; index < cpus_.size(); ++index) {
      const topspin_slowest& kept = cpus_[index].slowest[epoch & 1];
      constexpr int kPatience = 1'000;
      int tries = 0;
      while (__atomic_load_n(&kept.busy, __ATOMIC_ACQUIRE) != 0 && ++tries < kPatience)
        std::this_thread::yield();
      if (kept.epoch != epoch || tries == kPatience) continue;
      for (uint32_t i = 0; i < std::min(kept.used, TOPSPIN_SLOW_REPLIES); ++i)
        replies.push_back(slow_reply(kept.replies[i]));
    }
    std::stable_sort(replies.begin(), replies.end(), [](const SlowReply& a, const SlowReply& b) {
      return a.total_ns > b.total_ns;
    });
    if (replies.size() > kSlowRepliesATick) replies.resize(kSlowRepliesATick);
  }

  /// From here on the programs write into the other half. A program that is running on another CPU
  /// may still write into this half; the next reading sees a queue that is at least as full.
  void take_fullest_queue(SocketTimesReading& reading) {
    topspin_accept_queues& queues = skeleton_->bss->accept_queues;
    const uint64_t epoch = queues.epoch;
    __atomic_store_n(&queues.fullest[(epoch + 1) & 1], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&queues.epoch, epoch + 1, __ATOMIC_RELEASE);
    const uint64_t fullest = __atomic_load_n(&queues.fullest[epoch & 1], __ATOMIC_ACQUIRE);
    if (fullest == 0) return;
    reading.accept_queue_max = fullest >> 32;
    reading.accept_queue_limit = fullest & UINT32_MAX;
  }

  Status watch_what_is_open() {
    if (skeleton_->links.walk_files) return run_iterator(skeleton_->links.walk_files, "open files");
    TOPSPIN_ASSIGN(unseen_, watch_open_sockets(skeleton_->links.list_files,
                                               bpf_map__fd(skeleton_->maps.sockets),
                                               bpf_map__value_size(skeleton_->maps.sockets)));
    return {};
  }

  static void attach_once(bpf_program* program, bpf_link*& link) {
    if (!link) link = bpf_program__attach(program);
  }

  /// Timestamps cost about 80 ns for every packet of the host, so they are not turned on before the
  /// subject uses UDP.
  void ask_for_time_stamps_if_needed() {
    if (!time_stamps_ && features_.replies() && skeleton_->bss->datagram_sockets > 0)
      time_stamps_ = ask_for_time_stamps();
  }

  void tell_clock_offset() {
    skeleton_->bss->realtime_minus_monotonic_ns = take_clock_anchor().offset_ns();
  }

  SubjectWatch watch() const {
    return {.threads_fd = bpf_map__fd(skeleton_->maps.threads),
            .thread_bytes = bpf_map__value_size(skeleton_->maps.threads),
            .walk = skeleton_->links.walk_threads,
            .threads_joined = &skeleton_->bss->threads_joined};
  }

  OwnedSkeleton<sockets> skeleton_;
  MappedBpfArray<topspin_socket_cpu> cpus_;
  std::vector<Copy> copies_;
  std::vector<int> program_fds_;
  RingBuffer ring_;
  UniqueFd time_stamps_;
  SocketFeatures features_;
  bool follows_cgroup_;
  std::string unseen_;
};

/// `walks`: the programs create the storage of sockets that are open already (open_sockets.bpf.h).
Result<std::unique_ptr<SocketTimes>> load_socket_times(const Subject& subject,
                                                       const SocketFeatures& features,
                                                       int scheduler_threads_fd, bool walks) {
  const BpfLog log;
  OwnedSkeleton<sockets> skeleton(sockets::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  auto& constants = *skeleton->rodata;
  skeleton->bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  constants.accept_number = static_cast<uint32_t>(syscall_number("accept"));
  constants.accept4_number = static_cast<uint32_t>(syscall_number("accept4"));
  constants.sees_accepts = features.accepts;
  constants.read_number = static_cast<uint32_t>(syscall_number("read"));
  constants.recvfrom_number = static_cast<uint32_t>(syscall_number("recvfrom"));
  constants.readv_number = static_cast<uint32_t>(syscall_number("readv"));
  constants.recvmsg_number = static_cast<uint32_t>(syscall_number("recvmsg"));
  constants.write_number = static_cast<uint32_t>(syscall_number("write"));
  constants.sendto_number = static_cast<uint32_t>(syscall_number("sendto"));
  constants.writev_number = static_cast<uint32_t>(syscall_number("writev"));
  constants.sendmsg_number = static_cast<uint32_t>(syscall_number("sendmsg"));
  constants.reply_timeout_ns = kReplyTimeoutNs;
  constants.scheduler_threads_shared = scheduler_threads_fd >= 0;
  if (scheduler_threads_fd >= 0) {
    if (const int error = bpf_map__reuse_fd(skeleton->maps.scheduler_threads, scheduler_threads_fd))
      return log.error("cannot share the map of threads with the socket programs", -error);
  }
  auto& programs = skeleton->progs;
  bpf_program__set_autoload(walks ? programs.walk_files : programs.list_files, true);
  bpf_program__set_autoload(programs.cgroup_attach_task, cgroup);
  bpf_program__set_autoload(programs.sys_exit, features.accepts);
  for (bpf_program* program : {programs.dropped, programs.sched_switch})
    bpf_program__set_autoload(program, features.replies());
  for (bpf_program* program : {programs.data_ready, programs.received, programs.sent})
    bpf_program__set_autoload(program, features.replies_by == Rung::kTpBtf);
  for (bpf_program* program :
       {programs.data_ready_by_function, programs.received_by_function,
        programs.received6_by_function, programs.sent_by_function, programs.sent6_by_function})
    bpf_program__set_autoload(program, features.replies_by == Rung::kFentry);
  bpf_program__set_autoload(
      programs.sent_page_by_function,
      features.replies_by == Rung::kFentry &&
          libbpf_find_vmlinux_btf_id("inet_sendpage", BPF_TRACE_FEXIT) > 0);  // until 6.5
  bpf_program__set_autoattach(programs.sys_exit, false);
  bpf_program__set_autoattach(programs.sched_switch, false);
  TOPSPIN_ASSIGN(auto array, load_programs<topspin_socket_cpu>(*skeleton, skeleton->maps.cpus, 1,
                                                               log, "socket"));
  return Result<std::unique_ptr<SocketTimes>>(
      std::make_unique<BpfSocketTimes>(std::move(skeleton), std::move(array), subject, features));
}

}  // namespace

Result<std::unique_ptr<SocketTimes>> SocketTimes::load(const Subject& subject,
                                                       const SocketFeatures& features,
                                                       int scheduler_threads_fd) {
  auto walking = load_socket_times(subject, features, scheduler_threads_fd, true);
  if (walking.ok() || walking.error().os_errno != EACCES) return walking;
  return load_socket_times(subject, features, scheduler_threads_fd, false);
}

Result<std::unique_ptr<SocketTimes>> SocketTimes::open(const Subject& subject,
                                                       const SocketFeatures& features,
                                                       int scheduler_threads_fd) {
  TOPSPIN_ASSIGN(auto times, load(subject, features, scheduler_threads_fd));
  TOPSPIN_TRY(times->attach(subject));
  return Result<std::unique_ptr<SocketTimes>>(std::move(times));
}

}  // namespace topspin
