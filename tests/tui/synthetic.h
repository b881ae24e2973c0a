// Samples made up for tests and benchmarks of the screen: N clients that ping a server once a
// second, some of them late. Deterministic: no clock, no random device.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "core/sample.h"
#include "tui/model.h"

namespace topspin::test {

inline constexpr int64_t kSecond = 1'000'000'000;
inline constexpr int64_t kMilli = 1'000'000;
inline constexpr int64_t kMicro = 1'000;

struct Synthetic {
  uint64_t flows = 20;
  bool subject = true;
  bool hostile = false;    // hostile names everywhere that text comes from outside
  uint64_t losses_at = 0;  // the tick that loses 12 packets, 0: none
  bool ipv6 = false;
  int64_t start_ns = 1'000 * kSecond;

  /// xorshift-like mix: the same numbers everywhere.
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

  /// How late flow `id` is in `tick`: most are on time; each 7th starves from tick 20 to 29.
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
    flow.period_ns = kSecond;
    if (tick > 1) {
      flow.lateness_last_ns = lateness_ns(id, tick);
      flow.lateness_max_ns =
          id % 7 == 3 && tick >= 20
              ? static_cast<int64_t>(120 + 10 * (std::min<uint64_t>(tick, 29) - 20)) * kMilli
              : static_cast<int64_t>(1 + mix(id) % 5) * kMilli;
    }
    flow.missed_ticks = id % 11 == 5 && tick > 25 ? 2 : 0;
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
    // Flow 5 (and each 40th after it) falls silent after tick 30.
    const auto silent = [&](uint64_t id) { return id % 40 == 5 && tick > 30; };
    for (uint64_t id = 1; id <= flows; ++id) {
      if (silent(id)) continue;
      sample.changed_flows.push_back(row(id, tick));
      const int64_t late_ns = lateness_ns(id, tick);
      if (tick > 1) f.lateness.record(late_ns);
      if (late_ns > 100 * kMilli) ++f.late_flows;
      if (tick > 1) f.reply_latency.record(80'000 + mix(id + tick) % 400'000);
      ++f.active_flows;
      const uint64_t size = 60 + mix(id) % 900;
      f.packets += 2;
      f.bytes += 2 * size;
    }
    f.active_flows_max = f.active_flows;
    f.live_flows = flows;
    f.new_flows = tick == 1 ? flows : 0;
    f.udp.packets = f.packets;
    if (losses_at != 0 && tick == losses_at) sample.losses.capture_kernel_drops = 12;
    sample.self.cpu_ns = 9 * kMilli;
    sample.self.rss_bytes = 40 << 20;
    if (!subject) return sample;

    SchedulerInterval s;
    Histogram h;
    for (uint64_t i = 0; i < 4 * flows + 200; ++i) {
      const double u = static_cast<double>(mix(i * 7919 + tick) % 10'000) / 10'000;
      double ns = 1'500 * std::exp(3.2 * u * u);
      // Every 8th tick, and the starving ten, the queue is long.
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
      sample.changed_threads.push_back(t);
    }
    return sample;
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
    scene.period_ns = kSecond;
    return scene;
  }

  Model model(uint64_t ticks) const {
    Model model;
    model.scene = scene();
    for (uint64_t tick = 1; tick <= ticks; ++tick) model.add(sample(tick));
    return model;
  }
};

}  // namespace topspin::test
