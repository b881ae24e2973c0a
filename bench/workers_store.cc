// What N workers and their coordinator ask of the store: the statements of the protocol, at its
// pace, from THREADS connections that each stand for several workers. Prints the statements and
// rows per second that were reached, how long they took, and the CPU time of this process.
//
//   workers_store postgresql://owner@db/topspin [--workers 1000] [--seconds 20] [--threads 20]
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/number/histogram.h"
#include "load/share/job_epochs.h"
#include "load/share/job_text.h"
#include "store/worker_store.h"

namespace topspin {
namespace {

void require(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.error().message);
  std::exit(1);
}
template <typename T>
T required(Result<T> result) {
  if (!result.ok()) require(result.error());
  return std::move(result).value();
}

std::string id_of(size_t worker) { return fmt::format("{:016x}", worker * 0x9E3779B97F4A7C15u); }

/// A report as one of a second with 10,000 messages.
std::string busy_report() {
  LoadReport report;
  LoadPart part;
  part.accounts.scheduled = part.accounts.sent = part.accounts.replied = 10'000;
  for (uint64_t i = 0; i < 10'000; ++i) {
    part.latency_intended.record(50'000 + i * 97);
    part.latency_actual.record(40'000 + i * 89);
    part.own_lateness.record(1'000 + i * 11);
  }
  report.stages = {{1, part}};
  return encode_report(report);
}

struct Times {
  Histogram claim, view, report;
};

int bench(const std::string& address, size_t workers, int64_t seconds, size_t threads) {
  const auto store = required(WorkerStore::open(address));
  const std::string job = fmt::format("bench{:x}", wall_now_ns());
  require(store->create_job(job, "x"));
  EpochRow first;
  for (size_t w = 0; w < workers; ++w) {
    WorkerCard card;
    card.id = id_of(w);
    card.host = "bench";
    require(store->register_worker(card));
    first.members.push_back(card.id);
  }
  require(store->invite(job, {}, 3600 * kNanosPerSecond));
  require(store->begin(job, required(store->clock()), first));
  const std::string bytes = busy_report();
  const int64_t start_ns = monotonic_now_ns();
  std::atomic<uint64_t> late{0};
  std::vector<Times> times(threads);
  std::vector<std::thread> running;
  for (size_t t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      const auto own = required(WorkerStore::open(address));
      std::vector<size_t> mine;
      for (size_t w = t; w < workers; w += threads) mine.push_back(w);
      const auto timed = [](Histogram& into, const auto& call) {
        const int64_t before = monotonic_now_ns();
        call();
        into.record(static_cast<uint64_t>(monotonic_now_ns() - before));
      };
      for (int64_t half = 0; half < seconds * 2; ++half) {
        for (size_t i = 0; i < mine.size(); ++i) {
          // Spread over the half second, as independent workers are.
          const int64_t due_ns =
              start_ns + half * kClaimEveryNs +
              static_cast<int64_t>(i) * kClaimEveryNs / static_cast<int64_t>(mine.size());
          const int64_t now_ns = monotonic_now_ns();
          if (now_ns > due_ns + kClaimEveryNs) ++late;
          if (now_ns < due_ns)
            std::this_thread::sleep_for(std::chrono::nanoseconds(due_ns - now_ns));
          const std::string id = id_of(mine[i]);
          timed(times[t].claim, [&] { require(own->claim(job, id, half * kClaimEveryNs)); });
          timed(times[t].view, [&] { (void)required(own->view(job, half == 0 ? 0 : 1)); });
          if (half % 2 == 0)
            timed(times[t].report, [&] { require(own->put_report(job, {id, half / 2, bytes})); });
        }
      }
    });
  }
  Histogram members, reports;
  int64_t seen = -1;
  while (monotonic_now_ns() < start_ns + seconds * kNanosPerSecond) {
    int64_t before = monotonic_now_ns();
    require(store->coordinator_alive(job));
    (void)required(store->members(job));
    members.record(static_cast<uint64_t>(monotonic_now_ns() - before));
    before = monotonic_now_ns();
    for (const ReportRow& row : required(store->reports(job, std::max<int64_t>(0, seen - 1))))
      seen = std::max(seen, row.second);
    reports.record(static_cast<uint64_t>(monotonic_now_ns() - before));
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
  }
  for (std::thread& thread : running) thread.join();
  const double took = static_cast<double>(monotonic_now_ns() - start_ns) / 1e9;
  Times all;
  for (const Times& one : times) {
    all.claim.merge(one.claim);
    all.view.merge(one.view);
    all.report.merge(one.report);
  }
  const auto line = [&](const char* what, const Histogram& histogram) {
    const HistogramSummary s = histogram.summary();
    fmt::print("{:<22} {:>8.0f}/s  p50 {:>7.0f} us  p99 {:>8.0f} us  max {:>8.0f} us\n", what,
               static_cast<double>(s.count) / took, static_cast<double>(s.p50.value_or(0)) / 1e3,
               static_cast<double>(s.p99.value_or(0)) / 1e3,
               static_cast<double>(s.max.value_or(0)) / 1e3);
  };
  fmt::print(
      "{} workers for {:.1f} s (asked for {}), reports of {} bytes, {} claims late by more "
      "than their interval; CPU of this process {:.1f} s\n",
      workers, took, seconds, bytes.size(), late.load(),
      static_cast<double>(process_cpu_now_ns()) / 1e9);
  line("claims (UPDATE)", all.claim);
  line("views (SELECT)", all.view);
  line("reports (INSERT)", all.report);
  line("coordinator: members", members);
  line("coordinator: reports", reports);
  require(store->end_job(job));
  return 0;
}

}  // namespace
}  // namespace topspin

int main(int count, char** words) {
  std::string address;
  size_t workers = 1000, threads = 20;
  int64_t seconds = 20;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--workers" && i + 1 < count)
      workers = std::strtoul(words[++i], nullptr, 10);
    else if (word == "--seconds" && i + 1 < count)
      seconds = std::strtol(words[++i], nullptr, 10);
    else if (word == "--threads" && i + 1 < count)
      threads = std::strtoul(words[++i], nullptr, 10);
    else
      address = word;
  }
  if (address.empty() || workers == 0 || threads == 0 || seconds <= 0) {
    std::fputs("usage: workers_store ADDRESS [--workers N] [--seconds N] [--threads N]\n", stderr);
    return 2;
  }
  return topspin::bench(address, workers, seconds, threads);
}
