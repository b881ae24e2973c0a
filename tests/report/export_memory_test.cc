// The memory of an export does not grow with the run: a long run with many flows takes about as
// much as a short one.
#include <fstream>
#include <sstream>

#include "exported_run.h"
#include "tests/support/every_night.h"

namespace topspin::test {
namespace {

/// The program's peak resident memory (VmHWM) in KiB, as last read while it ran. Its output is
/// discarded.
int64_t peak_kib(const std::vector<std::string>& arguments) {
  std::string command = "exec " + topspin_binary();
  for (const std::string& argument : arguments) command += " " + argument;
  // Freed memory in a sanitizer's quarantine is not the program's, so the quarantine is kept small.
  Process process({"sh", "-c", command + " >/dev/null"}, [] {
    setenv("ASAN_OPTIONS", "quarantine_size_mb=1:thread_local_quarantine_size_kb=64", 1);
  });
  int64_t peak = 0;
  for (;;) {
    std::ifstream status("/proc/" + std::to_string(process.pid()) + "/status");
    int64_t now = 0;
    bool ours = false;
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("Name:")) ours = line.ends_with("topspin");
      if (line.starts_with("VmHWM:")) now = std::stoll(line.substr(6));
    }
    if (now == 0) break;  // it has ended
    if (ours) peak = now;
    usleep(1000);
  }
  EXPECT_EQ(process.finish().exit_code, 0);
  return peak;
}

void store_run_of(const std::string& db, uint64_t ticks, uint64_t flows) {
  RunInfo info;
  info.id = make_run_id(kStart);
  info.started_wall_ns = kStart;
  auto writer = RunWriter::create(db, info, {});
  ASSERT_TRUE(writer.ok());
  for (uint64_t tick = 1; tick <= ticks; ++tick) {
    Sample sample;
    sample.tick = tick;
    sample.interval_ns = kNanosPerSecond;
    sample.elapsed_ns = static_cast<int64_t>(tick) * kNanosPerSecond;
    for (uint64_t i = 1; i < 300; ++i) sample.flows.reply_latency.record(i * i * tick);
    for (uint64_t id = tick; id <= flows; id += ticks)
      sample.changed_flows.push_back(make_flow(id, 4));
    ASSERT_TRUE((*writer)->append(sample).ok());
  }
  ASSERT_TRUE((*writer)->finish({}).ok());
}

TEST(ExportMemory, DoesNotGrowWithTheRun) {
  const TempDir directory;
  // Both runs fill the reader's batches (64 ticks, 4,096 flows); one is 20 times as large.
  store_run_of(directory.file("short.db"), 100, 5'000);
  store_run_of(directory.file("long.db"), 2'000, 100'000);
  std::vector<std::vector<std::string>> formats = {{"json"}, {"perfetto"}};
  if (every_night()) {
    formats.insert(formats.end(), {{"csv", "--table", "flows"},
                                   {"ipfix"},
                                   {"ndjson"},
                                   {"csv", "--table", "ticks"},
                                   {"openmetrics"},
                                   {"hdr"}});
  }
  for (const auto& format : formats) {
    const auto peak = [&](const std::string& db) {
      std::vector<std::string> arguments = {"export", "--db", directory.file(db), "--format"};
      arguments.insert(arguments.end(), format.begin(), format.end());
      return peak_kib(arguments);
    };
    const int64_t small = peak("short.db"), large = peak("long.db");
    EXPECT_GT(small, 0) << format[0];
    // The long run fills SQLite's page cache (2 MiB by default), and a sanitizer's allocator keeps
    // some freed memory. The run itself has 30 MB.
    EXPECT_LT(large - small, 12'000) << format[0] << ": " << small << " and " << large << " KiB";
    RecordProperty(format.back(), std::to_string(small) + " and " + std::to_string(large) + " KiB");
  }
}

}  // namespace
}  // namespace topspin::test
