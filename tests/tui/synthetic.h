// Synthetic samples for tests and benchmarks of the screen: N clients ping a server once a second,
// and some of them are late. Deterministic: no clock, no random device.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/tick/sample.h"
#include "tui/model/model.h"

namespace topspin::test {

inline constexpr int64_t kSecond = 1'000'000'000;
inline constexpr int64_t kMilli = 1'000'000;
inline constexpr int64_t kMicro = 1'000;

struct Synthetic {
  uint64_t flows = 20;
  bool subject = true;
  bool hostile = false;    // hostile names everywhere that text comes from outside
  uint64_t losses_at = 0;  // the tick that loses 12 packets; 0: none
  bool ipv6 = false;
  bool periodic = true;  // false: nothing has a period
  int64_t start_ns = 1'000 * kSecond;

  /// The finalizer of MurmurHash3, which gives the same pseudo-random numbers everywhere.
  static uint64_t mix(uint64_t value) {
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdULL;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53ULL;
    return value ^ (value >> 33);
  }

  Endpoint client(uint64_t id) const {
    Endpoint end;
    if (ipv6) {
      end.address = {0x20,
                     0x01,
                     0x0d,
                     0xb8,
                     0,
                     0,
                     0,
                     0,
                     0,
                     0,
                     0,
                     0,
                     0,
                     0,
                     static_cast<uint8_t>(id >> 8),
                     static_cast<uint8_t>(id)};
    } else {
      end.address = {10, static_cast<uint8_t>(id >> 22), static_cast<uint8_t>(id >> 14),
                     static_cast<uint8_t>(1 + (id >> 6) % 250)};
    }
    end.port = static_cast<uint16_t>(40'000 + id % 20'000);
    return end;
  }
  Endpoint server() const {
    Endpoint end;
    if (ipv6)
      end.address[15] = 1;
    else
      end.address = {192, 168, 7, 1};
    end.port = 8888;
    return end;
  }

  /// How late flow `id` is in `tick`. Most flows are on time; every 7th starves in ticks 20 to 29.
  static int64_t lateness_ns(uint64_t id, uint64_t tick) {
    if (id % 7 == 3 && tick >= 20 && tick < 30)
      return static_cast<int64_t>(120 + 10 * (tick - 20)) * kMilli;
    return static_cast<int64_t>(mix(id * 1000 + tick) % 900) * kMicro;
  }

  FlowRow row(uint64_t id, uint64_t tick) const {
    FlowRow flow;
    flow.id = id;
    flow.key.ip_version = ipv6 ? 6 : 4;
    flow.key.protocol = id % 10 == 0 ? kProtocolTcp : kProtocolUdp;
    const Endpoint a = client(id), b = server();
    flow.initiator_is_low = a < b;
    flow.key.low = flow.initiator_is_low ? a : b;
    flow.key.high = flow.initiator_is_low ? b : a;
    flow.first_ns = start_ns + static_cast<int64_t>(id % 1000) * kMilli;
    flow.last_ns = start_ns + static_cast<int64_t>(tick - 1) * kSecond +
                   static_cast<int64_t>(id % 1000) * kMilli;
    const uint64_t size = 60 + mix(id) % 900;
    flow.packets = {tick, tick - 1};
    flow.bytes = {tick * size, (tick - 1) * size};
    flow.payload_bytes = {tick * (size - 42), (tick - 1) * (size - 42)};
    // Half of the clients are processes of this host. The server is owner 2.
    if (subject) flow.owners = {id % 2 == 0 ? std::optional(1u) : std::nullopt, 2u};
    if (periodic) flow.period_ns = kSecond;
    if (periodic && tick > 1) {
      flow.lateness_last_ns = lateness_ns(id, tick);
      flow.lateness_max_ns =
          id % 7 == 3 && tick >= 20
              ? static_cast<int64_t>(120 + 10 * (std::min<uint64_t>(tick, 29) - 20)) * kMilli
              : static_cast<int64_t>(1 + mix(id) % 5) * kMilli;
    }
    flow.missed_ticks = periodic && id % 11 == 5 && tick > 25 ? 2 : 0;
    flow.replies = tick - 1;
    flow.reply_latency_last_ns = static_cast<int64_t>(80 + mix(id + tick) % 400) * kMicro;
    flow.reply_latency_max_ns = static_cast<int64_t>(500 + mix(id) % 2000) * kMicro;
    flow.reply_latency_sum_ns = static_cast<int64_t>(flow.replies) * 200 * kMicro;
    flow.unanswered = id % 13 == 7 ? 1 : 0;
    return flow;
  }

  Sample sample(uint64_t tick) const {
    Sample sample;
    sample.tick = tick;
    sample.interval_ns = kSecond;
    sample.elapsed_ns = static_cast<int64_t>(tick) * kSecond;
    sample.monotonic_ns = start_ns + sample.elapsed_ns;
    FlowInterval& f = sample.flows;
    f.begin_ns = start_ns + static_cast<int64_t>(tick - 1) * kSecond;
    f.end_ns = f.begin_ns + kSecond;
    // Flow 5 and every 40th flow after it fall silent after tick 30.
    const auto silent = [&](uint64_t id) { return id % 40 == 5 && tick > 30; };
    for (uint64_t id = 1; id <= flows; ++id) {
      if (silent(id)) {
        // The flow is silent from its second missed tick on, and then has a row in every tick.
        if (!periodic || tick < 32) continue;
        FlowRow gone = row(id, 30);
        gone.missed_ticks += tick - 30;
        gone.silent = true;
        sample.changed_flows.push_back(gone);
        ++f.silent_flows;
        ++f.missed_ticks;
        continue;
      }
      sample.changed_flows.push_back(row(id, tick));
      const int64_t late_ns = lateness_ns(id, tick);
      if (periodic && tick > 1) f.lateness.record(late_ns);
      if (periodic && late_ns > 100 * kMilli) ++f.late_flows;
      if (tick > 1) f.reply_latency.record(80'000 + mix(id + tick) % 400'000);
      ++f.requests;
      ++f.active_flows;
      const uint64_t size = 60 + mix(id) % 900;
      f.packets += 2;
      f.bytes += 2 * size;
    }
    f.active_flows_max = f.active_flows;
    f.live_flows = flows;
    if (periodic) f.periodic_flows = flows;
    if (tick == 35) f.unanswered = 3;
    f.new_flows = tick == 1 ? flows : 0;
    f.udp.packets = f.packets;
    if (losses_at != 0 && tick == losses_at) sample.losses.capture_kernel_drops = 12;
    sample.self.cpu_ns = 9 * kMilli;
    sample.self.rss_bytes = 40 << 20;
    if (!subject) return sample;

    if (tick == 1) {
      const std::string name = hostile ? "no\x1b[2J\u202ede\n" : "node";
      sample.changed_owners = {{1, 4711, 5, hostile ? "漢\x9b字" : "wrk", OwnerQuality::kExact},
                               {2, 4242, 7, name, OwnerQuality::kShared}};
    }
    add_syscalls(sample, tick);
    add_sockets(sample, tick);
    SchedulerInterval s;
    Histogram h;
    for (uint64_t i = 0; i < 4 * flows + 200; ++i) {
      const double u = static_cast<double>(mix(i * 7919 + tick) % 10'000) / 10'000;
      double ns = 1'500 * std::exp(3.2 * u * u);
      // The run queue is long in the ten ticks in which flows starve, and for every 97th wait.
      if (tick >= 20 && tick < 30) ns *= 1 + 30 * u * u * u;
      if (i % 97 == 0) ns *= 20;
      h.record(static_cast<uint64_t>(ns));
    }
    s.run_queue_wait_ns = h.sum();
    s.run_queue_latency = std::move(h);
    s.cpu_ns = static_cast<uint64_t>(300 + 40 * std::sin(static_cast<double>(tick) / 5)) * kMilli;
    s.voluntary_switches = 4 * flows;
    s.involuntary_switches = 37;
    s.migrations = 5;
    s.preempted_by[0] = {25, 40 * kMilli};
    s.preempted_by[2] = {12, 90 * kMilli};
    Histogram slices, timers;
    for (uint64_t i = 0; i < 2000; ++i) {
      slices.record(20'000 + mix(i + tick) % 300'000);
      timers.record(50'000 + mix(i * 3 + tick) % 90'000);
    }
    s.on_cpu = std::move(slices);
    s.timer_oversleep = std::move(timers);
    sample.scheduler = std::move(s);
    ResourceReading r;
    r.rss_bytes = (48 << 20) + static_cast<int64_t>(tick) * (96 << 10);
    r.pss_bytes = *r.rss_bytes - (3 << 20);
    r.anonymous_bytes = 30 << 20;
    r.vsz_bytes = int64_t{1200} << 20;
    r.threads = 11;
    r.fds = static_cast<int64_t>(flows + 20);
    r.mappings = 320;
    r.processes = 1;
    sample.resources = r;
    for (int i = 0; i < 11; ++i) {
      ThreadRow t;
      t.pid = 4242;
      t.tid = 4242 + i;
      t.start_time_ns = 77;
      t.name = i == 0 ? "node" : i < 5 ? "libuv-worker" : "V8 Worker";
      if (hostile && i == 1)
        t.name =
            "\x1b[2J\x1b]0;pwn\x07\xe2\x80\xae"
            "evil\n";
      if (hostile && i == 2) t.name = "漢字スレッド";
      if (hostile && i == 3) t.name = "e\xcc\x81\xcc\x82\xcc\x83\xcc\x84zalgo";
      const uint64_t n = tick * static_cast<uint64_t>(20 - i);
      t.cpu_ns = n * 14 * kMilli / (i == 0 ? 1u : 9u);
      t.run_queue_wait_ns = n * 300 * kMicro;
      t.run_queue_waits = n * 40;
      t.run_queue_wait_max_ns = static_cast<uint64_t>(2 + i) * kMilli;
      t.voluntary_switches = n * 38;
      t.involuntary_switches = n * 2;
      t.migrations = n;
      t.preempted_by = {n, 0, n / 2, n / 4, 0};
      CoarseHistogram own_slices;
      for (uint64_t k = 0; k < 20; ++k)
        own_slices.record((10 + k * static_cast<uint64_t>(i + 1)) * 3'000);
      t.on_cpu = own_slices;
      sample.changed_threads.push_back(t);
    }
    return sample;
  }

  void add_syscalls(Sample& sample, uint64_t tick) const {
    const std::array<const char*, 6> names = {"read",  "write",   "epoll_wait",
                                              "futex", "accept4", "sendmsg"};
    for (size_t i = 0; i < names.size(); ++i) {
      SyscallRow row;
      row.number = static_cast<int32_t>(i * 37);
      row.name = hostile && i == 1 ? "wr\x1b[31mite\u200b" : names[i];
      for (uint64_t k = 0; k < tick * 30; ++k) {
        row.latency.record(800 + mix(k * 31 + i) % (2'000u << (2 * i)));
      }
      row.count = row.latency.count();
      row.errors = i == 4 ? tick : 0;
      row.blocked_ns = i == 2 || i == 3 ? row.latency.sum() * 9 / 10 : 0;
      sample.changed_syscalls.push_back(std::move(row));
    }
  }

  void add_slowest(Sample& sample, uint64_t tick) const {
    if (tick % 9 != 4) return;
    SlowReply reply;
    reply.protocol = kProtocolTcp;
    reply.ip_version = ipv6 ? 6 : 4;
    reply.local = server();
    reply.remote = client(tick % 30);
    reply.reader_tid = 4242;
    reply.sender_tid = 4243;
    reply.sender = hostile ? "wr\x1b[31mite\u202e" : "worker-1";
    const auto put = [&](ReplyPart part, uint64_t ns) {
      reply.parts[static_cast<size_t>(part)] = ns;
      reply.total_ns += ns;
    };
    put(ReplyPart::kFutex, 6'000'000 + mix(tick) % 40'000'000);
    put(ReplyPart::kOnCpu, 500'000 + mix(tick * 3) % 1'000'000);
    put(ReplyPart::kUnreadBusy, mix(tick * 5) % 60'000'000);
    sample.slowest_replies = {reply};
  }

  void add_sockets(Sample& sample, uint64_t tick) const {
    SocketInterval sockets;
    Histogram accept, wait, unread, queue, runtime;
    for (uint64_t i = 0; i < 1500; ++i) {
      accept.record(20'000 + mix(i + tick) % 200'000);
      wait.record(5'000 + mix(i * 5 + tick) % 60'000);
      unread.record(4'000 + mix(i * 7 + tick) % 30'000);
      queue.record(1'000 + mix(i * 11 + tick) % 30'000);
      runtime.record(40'000 + mix(i * 13 + tick) % 400'000);
    }
    sockets.accept_delay = std::move(accept);
    sockets.socket_wait = std::move(wait);
    sockets.reply_socket = std::move(unread);
    sockets.reply_cpu_queue = std::move(queue);
    sockets.reply_runtime = std::move(runtime);
    sockets.listen_overflows = tick == 25 ? 3 : 0;
    sockets.syn_drops = 0;
    sockets.udp_drops = tick > 20 && tick < 30 ? 2 : 0;
    sample.sockets = std::move(sockets);
    add_slowest(sample, tick);
    SocketRow listen;
    listen.cookie = 11;
    listen.protocol = kProtocolTcp;
    listen.local = server();
    listen.ip_version = ipv6 ? 6 : 4;
    listen.pid = 4242;
    listen.accept_queue = 2;
    listen.accept_queue_max = 128;
    listen.accept_queue_limit = 128;
    listen.drops = tick > 25 ? 3 : 0;
    SocketRow udp;
    udp.cookie = 12;
    udp.protocol = kProtocolUdp;
    udp.local = server();
    udp.ip_version = listen.ip_version;
    udp.pid = 4242;
    udp.receive_queue_bytes = 4608;
    udp.receive_queue_bytes_max = 200 << 10;
    udp.receive_queue_bytes_limit = 208 << 10;
    sample.changed_sockets = {listen, udp};
  }

  std::vector<InterfaceReading> interfaces(uint64_t tick) const {
    std::vector<InterfaceReading> readings(3);
    readings[0] = {"lo",          true,         true, tick * 90'000, tick * 1'000, 0,
                   tick * 90'000, tick * 1'000, 0};
    readings[1] = {hostile ? "eth\x1b[1m0\u202e" : "eth0",
                   true,
                   false,
                   tick * 2'000'000,
                   tick * 1'500,
                   7,
                   tick * 64'000,
                   tick * 800,
                   0};
    readings[2].name = "docker0";
    return readings;
  }

  /// Pings and pongs of the flow with this id, for the screen of its packets.
  PacketCopies packets(uint64_t id, uint64_t count) const {
    PacketCopies copies;
    const bool initiator_is_low = client(id) < server();
    for (uint64_t i = 0; i < count; ++i) {
      PacketCopy copy;
      copy.stamp_ns = start_ns + static_cast<int64_t>(id % 1000) * kMilli +
                      static_cast<int64_t>(i / 2) * kSecond +
                      static_cast<int64_t>(i % 2) * 230 * kMicro;
      copy.from_low = (i % 2 == 0) == initiator_is_low;
      copy.payload_bytes = static_cast<uint32_t>(18 + i % 5);
      copy.wire_bytes = copy.payload_bytes + 66;
      copy.has_tcp_header = id % 10 == 0;
      copy.tcp_flags = 0x18;
      copy.tcp_sequence = static_cast<uint32_t>(4'294'000'000 + i * 20);
      for (uint32_t b = 0; b < copy.wire_bytes; ++b) {
        const auto noise = static_cast<uint8_t>(mix(b + 100 * i));
        copy.bytes.push_back(b < 66 ? (b % 3 == 0 ? uint8_t{0} : noise)
                                    : static_cast<uint8_t>('a' + b % 26));
      }
      if (i % 7 == 3) copy.bytes.resize(70);
      copies.packets.push_back(std::move(copy));
    }
    return copies;
  }

  Scene scene() const {
    Scene scene;
    scene.source = hostile ? "l\x1b[31mo" : "lo";
    scene.filter = hostile ? "udp port 8888 \xff\xfe\u202e and \u200b"
                             "漢字"
                           : "udp port 8888";
    if (subject) {
      scene.subject = hostile ? "node \x9b"
                                "31m serve\u0301r.js\nrm"
                              : "node server.js 8888";
      scene.subject_state = "running";
      scene.probes = {{"scheduler", Rung::kTpBtf, ""},
                      {"resources", Rung::kProc, hostile ? "b\x1b[0mad\t" : ""}};
    }
    if (periodic) scene.period_ns = kSecond;
    scene.reply_timeout_ns = kSecond;
    return scene;
  }

  Model model(uint64_t ticks) const {
    Model model;
    model.scene = scene();
    for (uint64_t tick = 1; tick <= ticks; ++tick) model.add(sample(tick));
    for (const uint64_t second : {1, 2}) {
      if (ticks > 0)
        model.interfaces.update(interfaces(second), static_cast<int64_t>(second) * kSecond);
    }
    return model;
  }
};

}  // namespace topspin::test
