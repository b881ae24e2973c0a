// Runs for the tests of reports, with known numbers and, by default, hostile names.
#pragma once

#include <cctype>
#include <cmath>
#include <string>

#include "report/model/report_page.h"
#include "tests/store/store_testing.h"

namespace topspin::test {

/// Tries to break out of a script, an attribute, a table and a code span. Contains mentions, links,
/// markup, a change of the reading direction, and a byte that is not UTF-8.
inline const std::string kHostile =
    "</script><script>document.title='owned'</script>\" onload='x' <img src=x onerror=alert(1)> "
    "`code` | cell | @octocat #12 GH-1 [a](http://evil.example) www.evil.example a@evil.example "
    "**b** ~~s~~ <!-- --> \\ $x$ :skull: \x1b[31m\xe2\x80\xae\xff\n# title";

inline constexpr int64_t kSecond = 1'000'000'000;

inline RunInfo report_run(const std::string& name, int64_t started_wall_ns) {
  RunInfo run;
  run.id = make_run_id(started_wall_ns);
  run.started_wall_ns = started_wall_ns;
  run.topspin_version = "0.1.0";
  run.host = {name, "6.1.0", "x86_64", name, "Some CPU", 4, int64_t{8} << 30, "kvm", "f00f"};
  run.source = {"0123456789abcdef0123456789abcdef01234567", name, true};
  run.labels = {{name, name}, {"side", "a"}};
  run.command = {"server", name};
  run.settings.interface = "lo";
  run.settings.filter = name;
  run.settings.period_ns = kSecond;
  run.settings.window_ns = kSecond;
  run.settings.interval_ns = kSecond;
  run.settings.reply_timeout_ns = kSecond;
  run.settings.subject = "command";
  run.probes = {{"scheduler", Rung::kTpBtf, ""}, {"resources", Rung::kProc, name}};
  return run;
}

/// A tick with up to 200 flows and 4 threads. `slow` multiplies its latencies; those of tick 20 are
/// ten times as long.
inline Sample report_tick(uint64_t tick, const std::string& name, double slow = 1) {
  Sample s;
  s.tick = tick;
  s.interval_ns = kSecond;
  s.elapsed_ns = static_cast<int64_t>(tick) * kSecond;
  s.monotonic_ns = 5 * kSecond + s.elapsed_ns;
  const int64_t origin = 1'700'000'000 * kSecond;
  s.flows.begin_ns = origin + s.elapsed_ns - kSecond;
  s.flows.end_ns = origin + s.elapsed_ns;
  s.flows.active_flows = std::min<uint64_t>(200, tick * 50);
  s.flows.active_flows_max = s.flows.active_flows;
  s.flows.live_flows = s.flows.active_flows;
  s.flows.new_flows = tick <= 4 ? 50 : 0;
  s.flows.packets = 400 + tick % 7;
  s.flows.bytes = s.flows.packets * 64;
  s.flows.udp = {s.flows.new_flows, s.flows.packets, s.flows.bytes};
  s.flows.missed_ticks = tick == 20 ? 17 : 0;
  s.flows.late_flows = tick == 20 ? 60 : tick % 3;
  const double stretch = slow * (tick == 20 ? 10 : 1);
  s.scheduler.emplace();
  s.scheduler->run_queue_latency.emplace();
  s.scheduler->queue_wait.emplace();
  for (int i = 1; i <= 1200; ++i) {
    const double wave = 1 + 0.3 * std::sin(static_cast<double>(tick) / 5);
    const double tail = 60.0 / (1201 - i) + 0.5;
    s.flows.lateness.record(static_cast<int64_t>((tail * 200'000 * wave - 150'000) * stretch));
    s.flows.reply_latency.record(static_cast<uint64_t>(tail * 90'000 * wave * stretch));
    s.scheduler->run_queue_latency->record(static_cast<uint64_t>(tail * 12'000 * wave * stretch));
    s.scheduler->queue_wait->record(static_cast<uint64_t>(tail * 9'000 * wave * stretch));
  }
  s.scheduler->run_queue_wait_ns = static_cast<uint64_t>(30'000'000 * stretch);
  s.scheduler->cpu_ns = static_cast<uint64_t>(180'000'000 * slow) + tick * 100'000;
  s.scheduler->voluntary_switches = 900 + tick;
  s.scheduler->involuntary_switches = 40 + tick % 11;
  s.scheduler->migrations = tick % 5;
  s.resources.emplace();
  s.resources->rss_bytes = (int64_t{90} << 20) + static_cast<int64_t>(tick) * 100'000;
  s.resources->pss_bytes = (int64_t{70} << 20);
  s.resources->anonymous_bytes = (int64_t{40} << 20) + static_cast<int64_t>(tick) * 100'000;
  s.resources->threads = 4;
  s.resources->fds = 12 + static_cast<int64_t>(s.flows.active_flows);
  s.losses.capture_kernel_drops = tick == 20 ? 3 : 0;
  s.scheduler->preempted_by[1] = {3, 4'000'000};
  s.scheduler->off_cpu[0] = {900, 700'000'000};
  s.scheduler->cpus = {{0, 500, 40, 900'000, 100, 130, 4}, {1, 480, 44, 800'000, 90, 120, 3}};
  s.scheduler->waited_behind = {5'000'000, 12'000'000, 1'000'000, std::nullopt, 2'000'000, 0, 0};
  s.scheduler->timer_oversleep.emplace();
  s.scheduler->timer_oversleep->record_n(60'000, 40);
  s.sockets.emplace();
  for (auto SocketInterval::*part :
       {&SocketInterval::reply_socket, &SocketInterval::reply_cpu_queue,
        &SocketInterval::reply_runtime, &SocketInterval::accept_delay}) {
    (s.sockets.value().*part).emplace();
  }
  s.sockets->reply_socket->record_n(20'000, 200);
  s.sockets->reply_cpu_queue->record_n(static_cast<uint64_t>(35'000 * stretch), 200);
  s.sockets->reply_runtime->record_n(45'000, 200);
  s.sockets->accept_delay->record_n(70'000, 5);
  s.sockets->accept_queue_max = tick % 9;
  s.sockets->accept_queue_limit = 128;
  s.sockets->udp_drops = tick == 20 ? 5 : 0;
  s.counters.cycles = EventCount{400'000'000, 1'000'000, 500'000};
  s.counters.instructions = EventCount{600'000'000, 1'000'000, 500'000};
  s.pressure.host.cpu_some_ns = tick * 1'000'000;
  s.resources->process_fds = {s.resources->fds, 1024};
  s.resources->memory_bytes = {s.resources->rss_bytes, int64_t{8} << 30};
  SyscallRow syscall;
  syscall.number = 1;
  syscall.name = name;
  syscall.count = tick * 200;
  syscall.errors = tick;
  syscall.latency.record_n(8'000, tick * 200);
  syscall.blocked_ns = tick * 200 * 3'000;
  s.changed_syscalls.push_back(syscall);
  CalledRow called;
  called.number = 1;
  called.protocol = kProtocolTcp;
  called.address = {{127, 0, 0, 1}, 5432};
  called.requests = tick * 100;
  called.refused = 2;
  called.latency.record_n(300'000, tick * 100);
  s.changed_called.push_back(called);
  CallInterval& calls = s.part<CallInterval>().emplace();
  calls.requests = 100;
  calls.serving_ns = 400'000'000;
  calls.serving_and_calling_ns = 100'000'000;
  SocketRow socket;
  socket.cookie = 9;
  socket.protocol = kProtocolUdp;
  socket.local = {{127, 0, 0, 1}, 8888};
  socket.pid = 100;
  socket.receive_queue_bytes = 512;
  socket.receive_queue_bytes_max = 9'000;
  socket.receive_queue_bytes_limit = 212'992;
  socket.drops = tick >= 20 ? 5 : 0;
  s.changed_sockets.push_back(socket);
  s.changed_stacks.push_back({1, name, "main;" + name, tick * 30});
  s.self.cpu_ns = 4'000'000;
  s.self.rss_bytes = int64_t{14} << 20;
  s.self.host_busy_ns = 400'000'000;
  s.self.host_steal_ns = 0;
  for (uint64_t id = 1; id <= s.flows.active_flows; ++id) {
    FlowRow flow;
    flow.id = id;
    flow.key.low = {{127, 0, 0, 1}, 8888};
    flow.key.high = {{127, 0, 0, 1}, static_cast<uint16_t>(40'000 + id)};
    flow.key.protocol = kProtocolUdp;
    flow.initiator_is_low = false;
    flow.first_ns = origin + static_cast<int64_t>((id - 1) / 50) * kSecond;
    flow.last_ns = s.flows.end_ns - 1000;
    flow.packets = {tick + (id == 7 ? 1 : 0), tick};
    flow.bytes = {tick * 64, tick * 64};
    flow.lateness_max_ns = 2'000'000;
    flow.replies = tick;
    flow.reply_latency_sum_ns = static_cast<int64_t>(tick) * 90'000;
    flow.reply_latency_max_ns = 300'000;
    flow.owners = {1, 2};
    s.changed_flows.push_back(flow);
  }
  for (int32_t i = 1; i <= 4; ++i) {
    ThreadRow thread;
    thread.pid = 100;
    thread.tid = 100 + i;
    thread.name = name.substr(0, 15);
    thread.cpu_ns = tick * 40'000'000 / static_cast<uint64_t>(i);
    thread.run_queue_wait_ns = tick * 9'000'000;
    thread.run_queue_waits = tick * 300;
    thread.run_queue_wait_max_ns = 1'500'000;
    thread.voluntary_switches = tick * 200;
    thread.involuntary_switches = tick * 9;
    thread.blocked_by[static_cast<size_t>(BlockedBy::kPoll)] = {tick * 150, tick * 600'000'000};
    thread.blocked_by[static_cast<size_t>(BlockedBy::kFutex)] = {tick * 50, tick * 20'000'000};
    thread.busy_stretch_max_ns = 4'000'000;
    s.changed_threads.push_back(thread);
  }
  for (uint32_t i = 1; i <= 12; ++i) {
    s.changed_cpu_holders.push_back({i, i == 1 ? CpuHolder::kSubject : CpuHolder::kProcess,
                                     name + std::to_string(i), "/" + name, 200, i == 2 ? 3u : 1u,
                                     tick * 1'000'000 / i});
  }
  if (tick == 1) {
    s.changed_owners = {{1, 90, 1, name, OwnerQuality::kExact},
                        {2, 100, 2, name, OwnerQuality::kShared}};
  }
  return s;
}

struct ReportRunOptions {
  std::string name = kHostile;
  int64_t started_wall_ns = 1'700'000'000 * kSecond;
  uint64_t ticks = 60;
  double slow = 1;
  std::vector<std::string> invalid_reasons = {};
  std::string side = "a";
};

/// Stores a run and returns its id.
inline std::string store_report_run(const std::string& path, const ReportRunOptions& o = {}) {
  RunInfo info = report_run(o.name, o.started_wall_ns);
  info.labels["side"] = o.side;
  auto writer = create(path, info);
  for (uint64_t tick = 1; tick <= o.ticks; ++tick)
    EXPECT_OK(writer->append(report_tick(tick, o.name, o.slow)));
  EXPECT_OK(writer->add_event(20 * kSecond, o.name));
  // A run is judged from its first load stage on.
  const int64_t load_ns = static_cast<int64_t>(o.ticks / 4) * kSecond;
  EXPECT_OK(writer->put_stage(0, {"warm up", StageKind::kWarmUp, 0, load_ns, 0, 200}));
  EXPECT_OK(writer->put_stage(1, {o.name, StageKind::kLoad, load_ns, {}, 200, 200}));
  LoadResult load;
  load.target = o.name;
  load.total.clients_to = 200;
  load.total.accounts.sent = 200 * o.ticks;
  load.total.accounts.replied = 200 * o.ticks - 4;
  load.total.accounts.lost = 4;
  load.total.latency_intended.record_n(2'000'000, 200 * o.ticks);
  load.stages = {load.total};
  load.stages[0].name = o.name;
  if (o.name == kHostile) load.invalid_reasons = {o.name};
  EXPECT_OK(writer->put_load(load));
  RunEnd end;
  end.duration_ns = static_cast<int64_t>(o.ticks) * kSecond;
  end.exit_status = 0;
  end.invalid_reasons = o.invalid_reasons;
  EXPECT_OK(writer->finish(end));
  return info.id;
}

inline ReportPage read_page(const std::string& path, const std::vector<std::string>& selectors) {
  return must(read_report_page(*open(path), selectors));
}

/// Calls visit(name, closes) for each "<name" and "</name" of a text, name in lower case.
template <typename Visit>
void for_each_tag(const std::string& text, Visit visit) {
  for (size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at + 1)) {
    const bool closes = at + 1 < text.size() && text[at + 1] == '/';
    std::string name;
    for (size_t i = at + (closes ? 2 : 1); i < text.size(); ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      if (!std::isalnum(c) && c != '!') break;
      name += static_cast<char>(std::tolower(c));
    }
    if (!name.empty()) visit(name, closes);
  }
}

/// A rule that was broken, with hostile names in it.
inline SloResult broken_rule() { return {kHostile + " < 5", SloVerdict::kBroken, 7, 5, kHostile}; }

}  // namespace topspin::test
