// FlowTracker on files written here: intervals by packet time, gzip, filters, cut files, nonsense.
// Also the conversion of wall-clock stamps to the monotonic clock.
#include <cstdio>
#include <tuple>

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include "capture/flow_tracker.h"
#include "capture/source/file_clock.h"
#include "capture/source/packet_source.h"
#include "capture/source/stamp_clock.h"
#include "tests/capture/scratch_file.h"
#include "tests/capture/times.h"

namespace topspin {
namespace {

std::string word(uint32_t v) { return {reinterpret_cast<const char*>(&v), 4}; }

/// A raw-IP capture with nanosecond stamps: UDP from 10.0.0.1:port to 10.0.0.2:8888.
struct Capture {
  std::string bytes =
      word(0xa1b23c4d) + word(2 | 4 << 16) + word(0) + word(0) + word(65'535) + word(101);

  void packet(int64_t at_ns, uint16_t port) { add(at_ns, "\x0a\0\0\1\x0a\0\0\2", port, 8888); }
  void reply(int64_t at_ns, uint16_t port) { add(at_ns, "\x0a\0\0\2\x0a\0\0\1", 8888, port); }

 private:
  void add(int64_t at_ns, const char* ends, uint16_t from, uint16_t to) {
    std::string ip("\x45\0\0\x20\0\0\0\0\x40\x11\0\0", 12);
    ip += std::string(ends, 8);
    for (const uint16_t port : {from, to}) {
      ip += static_cast<char>(port >> 8);
      ip += static_cast<char>(port);
    }
    ip += std::string("\0\x0c\0\0data", 8);
    bytes += word(static_cast<uint32_t>(at_ns / kNanosPerSecond)) +
             word(static_cast<uint32_t>(at_ns % kNanosPerSecond)) +
             word(static_cast<uint32_t>(ip.size())) + word(static_cast<uint32_t>(ip.size())) + ip;
  }
};

using test::ScratchFile;

struct Reading {
  std::vector<ClosedInterval> intervals;
  FlowInterval totals;
  std::optional<Error> error;
};

Reading read_file(FileOptions file, const FlowTableOptions& table = {}) {
  Reading reading;
  auto tracker = FlowTracker::open_file(file, table);
  if (!tracker.ok()) {
    reading.error = tracker.error();
    return reading;
  }
  const IntervalSink sink = [&](ClosedInterval&& i) { reading.intervals.push_back(std::move(i)); };
  while (true) {
    auto outcome = (*tracker)->step(sink);
    if (!outcome.ok()) reading.error = outcome.error();
    if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
  }
  (*tracker)->finish(0, sink);
  reading.totals = (*tracker)->totals();
  return reading;
}

std::string gzip(const std::string& bytes) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(bytes.size() + 1000, '\0');
  std::string in = bytes;
  z.next_in = reinterpret_cast<Bytef*>(in.data());
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

TEST(FileTracker, IntervalsAreCutByPacketTime) {
  Capture capture;
  for (const int64_t at_ms : {0, 400, 999, 1000, 1500, 3200}) {
    capture.packet(kStart + at_ms * kMs, static_cast<uint16_t>(1000 + at_ms % 3));
  }
  const ScratchFile scratch(capture.bytes);
  FileOptions file;
  file.path = scratch.path();
  file.interval_ns = kNanosPerSecond;
  file.max_rows_per_interval = 10;
  const Reading reading = read_file(file);
  ASSERT_FALSE(reading.error) << reading.error->message;
  std::vector<uint64_t> packets;
  for (size_t i = 0; i < reading.intervals.size(); ++i) {
    const FlowInterval& flows = reading.intervals[i].flows;
    packets.push_back(flows.packets);
    EXPECT_EQ(flows.begin_ns, kStart + static_cast<int64_t>(i) * kNanosPerSecond);
  }
  EXPECT_EQ(packets, (std::vector<uint64_t>{3, 2, 0, 1}));
  EXPECT_EQ(reading.intervals.back().flows.end_ns, kStart + 3200 * kMs);
  EXPECT_EQ(reading.totals.packets, 6u);
  EXPECT_EQ(reading.totals.begin_ns, kStart);
  // Silent flows change once more, when their requests time out.
  EXPECT_EQ(reading.intervals[2].flows.unanswered, 2u);
  EXPECT_EQ(reading.intervals[2].changed.size(), 2u);
  EXPECT_EQ(reading.intervals[3].changed.size(), 3u);
}

/// Adds pings a tenth of a second apart, each answered after 1 ms.
void ping(Capture& capture, int64_t at_ns, int pings) {
  for (int i = 0; i < pings; ++i) {
    capture.packet(at_ns + i * 100 * kMs, 1000);
    capture.reply(at_ns + i * 100 * kMs + kMs, 1000);
  }
}

TEST(FileTracker, AClockThatIsSetWhileTheFileIsWrittenIsFollowed) {
  Capture back, ahead, steady;
  ping(steady, kStart, 300);
  ping(back, kStart, 150);
  ping(back, kStart - 15'000 * kMs, 150);
  ahead.packet(kStart + 3600 * kNanosPerSecond, 1000);
  ahead.reply(kStart + kMs, 1000);
  ping(ahead, kStart + 100 * kMs, 299);
  for (const Capture* capture : {&steady, &back, &ahead}) {
    const ScratchFile scratch(capture->bytes);
    FileOptions file;
    file.path = scratch.path();
    const Reading reading = read_file(file);
    const FlowInterval& t = reading.totals;
    EXPECT_EQ(t.reply_latency.count(), 300u);
    EXPECT_LE(t.reply_latency.sum(), static_cast<uint64_t>(300 * kMs));
    EXPECT_EQ(t.unanswered, 0u);
    EXPECT_EQ(t.missed_ticks, 0u);
    EXPECT_EQ(t.active_flows, 1u);
    EXPECT_EQ(t.time_steps, capture == &steady ? 0u : 1u);
  }
}

TEST(FileTracker, AJumpAheadOfMoreThanADayIsAStep) {
  constexpr int64_t kDay = 86'400 * kNanosPerSecond;
  for (const auto& [before_ns, after_ns, steps] :
       {std::tuple(int64_t{0}, kStart, 1u), std::tuple(kStart, kStart + 2 * kDay, 1u),
        std::tuple(kStart, kStart + kDay / 2, 0u)}) {
    Capture capture;
    ping(capture, before_ns, 20);
    ping(capture, after_ns, 20);
    const ScratchFile scratch(capture.bytes);
    FileOptions file;
    file.path = scratch.path();
    const FlowInterval t = read_file(file).totals;
    EXPECT_EQ(t.time_steps, steps) << before_ns;
    EXPECT_EQ(t.time_went_backwards, 0u);
    EXPECT_EQ(t.reply_latency.count(), 40u);
  }
}

TEST(FileClock, TellsStepsFromDisorderAndFromSilence) {
  FileClock clock;
  EXPECT_EQ(clock.read(100 * kS).ns, 100 * kS);
  EXPECT_EQ(clock.read(99 * kS).ns, 99 * kS) << "out of order";
  EXPECT_EQ(clock.read(5000 * kS).ns, 5000 * kS) << "silence";
  FileClock::Time time = clock.read(70 * kS);
  EXPECT_EQ(time.ns, 5000 * kS);
  EXPECT_TRUE(time.stepped);
  time = clock.read(71 * kS);
  EXPECT_EQ(time.ns, 5001 * kS);
  EXPECT_FALSE(time.stepped);
  // A stamp of another clock, seen before, comes in between.
  time = clock.read(5001 * kS + 5);
  EXPECT_EQ(time.ns, 5001 * kS + 5);
  EXPECT_TRUE(time.stepped);
  EXPECT_EQ(clock.read(71 * kS + 9).ns, 5001 * kS + 9);
  time = clock.read(INT64_MAX / 2);
  EXPECT_EQ(time.ns, INT64_MAX / 2);
  EXPECT_TRUE(time.jumped);
  EXPECT_EQ(clock.read(0).ns, INT64_MAX / 2);
}

TEST(FileTracker, AStampFromAnotherCenturyCostsNothing) {
  Capture capture;
  capture.packet(kNanosPerSecond, 1000);
  capture.packet(kNanosPerSecond * 4'000'000'000, 1000);
  const ScratchFile scratch(capture.bytes);
  FileOptions file;
  file.path = scratch.path();
  file.interval_ns = kMs;
  const Reading reading = read_file(file);
  EXPECT_EQ(reading.totals.packets, 2u);
  EXPECT_LT(reading.intervals.size(), 10u);
  for (size_t i = 1; i < reading.intervals.size(); ++i) {
    EXPECT_EQ(reading.intervals[i].flows.begin_ns, reading.intervals[i - 1].flows.end_ns);
  }
}

TEST(FileTracker, EveryPacketIsInAnIntervalThatHasALength) {
  const auto intervals_of = [](const std::vector<int64_t>& stamps_ms) {
    Capture capture;
    for (const int64_t at_ms : stamps_ms) capture.packet(kStart + at_ms * kMs, 1000);
    const ScratchFile scratch(capture.bytes);
    FileOptions file;
    file.path = scratch.path();
    file.interval_ns = kNanosPerSecond;
    file.max_rows_per_interval = 10;
    const Reading reading = read_file(file);
    uint64_t packets = 0;
    for (const ClosedInterval& one : reading.intervals) {
      EXPECT_GT(one.flows.end_ns, one.flows.begin_ns);
      packets += one.flows.packets;
    }
    EXPECT_EQ(packets, stamps_ms.size());
    EXPECT_FALSE(reading.intervals.back().changed.empty());
    return reading.intervals;
  };
  EXPECT_EQ(intervals_of({0}).size(), 1u);
  EXPECT_EQ(intervals_of({0, 0, 0, 0})[0].flows.end_ns, kStart + kNanosPerSecond);
  // A packet stamped where the last interval would begin joins the one before.
  const auto edge = intervals_of({0, 500, 1000});
  ASSERT_EQ(edge.size(), 1u);
  EXPECT_EQ(edge[0].flows.packets, 3u);
  EXPECT_EQ(intervals_of({0, 500, 1000, 1500, 2001}).size(), 2u);
  EXPECT_EQ(intervals_of({0, 500, 1500}).size(), 2u);
}

TEST(FileTracker, SilenceIsOneIntervalAndTheNumbersCountIt) {
  Capture capture;
  for (int i = 0; i < 50; ++i) capture.packet(kStart + i * 3599 * kNanosPerSecond, 1000);
  capture.packet(kStart + (49 * 3599 + 3) * kNanosPerSecond + kNanosPerSecond / 2, 1000);
  const ScratchFile scratch(capture.bytes);
  FileOptions file;
  file.path = scratch.path();
  file.interval_ns = kNanosPerSecond;
  const Reading reading = read_file(file);
  EXPECT_LE(reading.intervals.size(), 110u);
  uint64_t packets = 0;
  for (const ClosedInterval& one : reading.intervals) {
    packets += one.flows.packets;
    // Its number is that of the last interval that it stands for.
    EXPECT_EQ(one.number, static_cast<uint64_t>((one.flows.end_ns - kStart - 1) / kNanosPerSecond));
  }
  EXPECT_EQ(packets, 51u);
  EXPECT_EQ(reading.intervals.back().number, 49u * 3599 + 3);
  for (size_t i = 1; i < reading.intervals.size(); ++i) {
    EXPECT_EQ(reading.intervals[i].flows.begin_ns, reading.intervals[i - 1].flows.end_ns);
  }
}

TEST(FileTracker, TheEndHandsOverABoundedNumberOfRowsAndCountsTheRest) {
  Capture capture;
  for (uint16_t i = 0; i < 100; ++i)
    capture.packet(kStart + i * kMs, static_cast<uint16_t>(1000 + i));
  const ScratchFile scratch(capture.bytes);
  FileOptions file;
  file.path = scratch.path();
  file.interval_ns = kNanosPerSecond;
  file.max_rows_per_interval = 30;
  file.max_rows_at_end = 40;
  const Reading reading = read_file(file);
  ASSERT_EQ(reading.intervals.size(), 1u);
  EXPECT_EQ(reading.intervals[0].changed.size(), 40u);
  EXPECT_EQ(reading.intervals[0].rows_lost, 60u);
}

/// A capture of Ethernet frames with microsecond stamps, written as given.
struct MicroCapture {
  std::string bytes =
      word(0xa1b2c3d4) + word(2 | 4 << 16) + word(0) + word(0) + word(65'535) + word(1);
  void frame(uint32_t seconds, uint32_t fraction, bool tagged = false) {
    Capture ip;
    const size_t before = ip.bytes.size() + 16;
    ip.packet(0, 1000);
    std::string frame(12, '\2');
    if (tagged) frame += std::string("\x81\0\0\x0a", 4);
    frame += std::string("\x08\0", 2) + ip.bytes.substr(before);
    const auto size = static_cast<uint32_t>(frame.size());
    bytes += word(seconds) + word(fraction) + word(size) + word(size) + frame;
  }
};

std::pair<std::vector<int64_t>, FileNotes> stamps_of(const std::string& bytes,
                                                     const std::string& filter = "") {
  const ScratchFile scratch(bytes);
  std::pair<std::vector<int64_t>, FileNotes> out;
  auto source = open_file_source(scratch.path(), filter);
  EXPECT_TRUE(source.ok());
  while (true) {
    const auto outcome = (*source)->read(
        [](void* context, const PacketView& view) {
          static_cast<std::vector<int64_t>*>(context)->push_back(view.stamp_ns);
        },
        &out.first);
    EXPECT_TRUE(outcome.ok());
    if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
  }
  out.second = (*source)->notes();
  return out;
}

TEST(FileTracker, AFractionOfASecondStaysInIt) {
  MicroCapture one_broken;
  for (uint32_t i = 0; i < 10; ++i) one_broken.frame(100 + i, i == 4 ? 8'915'240 : 500'000);
  one_broken.frame(200, UINT32_MAX);
  const auto [stamps, notes] = stamps_of(one_broken.bytes);
  ASSERT_EQ(stamps.size(), 11u);
  EXPECT_EQ(stamps[3], 103 * kNanosPerSecond + kNanosPerSecond / 2);
  EXPECT_EQ(stamps[4], 105 * kNanosPerSecond - 1);
  EXPECT_EQ(stamps[10], 201 * kNanosPerSecond - 1);
  EXPECT_EQ(notes.long_fractions, 2u);
  EXPECT_FALSE(notes.fractions_are_ns);
}

TEST(FileTracker, NanosecondsThatAreCalledMicrosecondsAreReadAsWhatTheyAre) {
  MicroCapture all;
  for (uint32_t i = 0; i < 20; ++i) all.frame(100, i * 50'000'000);
  const auto [stamps, notes] = stamps_of(all.bytes);
  ASSERT_EQ(stamps.size(), 20u);
  EXPECT_EQ(stamps[19], 100 * kNanosPerSecond + 950 * kMs);
  EXPECT_TRUE(notes.fractions_are_ns);
  EXPECT_EQ(notes.long_fractions, 0u);
}

TEST(FileTracker, SaysHowManyFramesAFilterHidBecauseOfTheirTag) {
  MicroCapture mixed;
  for (uint32_t i = 0; i < 10; ++i) mixed.frame(100, i, i % 2 == 1);
  EXPECT_EQ(stamps_of(mixed.bytes).second.hidden_by_tag, 0u);
  const auto [stamps, notes] = stamps_of(mixed.bytes, "udp port 8888");
  EXPECT_EQ(stamps.size(), 5u);
  EXPECT_EQ(notes.hidden_by_tag, 5u);
  EXPECT_EQ(stamps_of(mixed.bytes, "udp port 9").second.hidden_by_tag, 0u);
  const auto both = stamps_of(mixed.bytes, "udp port 8888 or (vlan and udp port 8888)");
  EXPECT_EQ(both.first.size(), 10u);
  EXPECT_EQ(both.second.hidden_by_tag, 0u);
}

TEST(FileTracker, GzipFiltersAndCuts) {
  Capture capture;
  for (int i = 0; i < 5000; ++i) {
    capture.packet(kStart + i * kMs, static_cast<uint16_t>(1000 + i % 10));
  }
  const ScratchFile plain(capture.bytes), packed(gzip(capture.bytes)),
      packed_twice(gzip(capture.bytes.substr(0, 10'000)) + gzip(capture.bytes.substr(10'000))),
      cut(capture.bytes.substr(0, capture.bytes.size() - 1)),
      packed_cut(gzip(capture.bytes).substr(0, 5000));
  for (const ScratchFile* scratch : {&plain, &packed, &packed_twice}) {
    FileOptions file;
    file.path = scratch->path();
    Reading reading = read_file(file);
    ASSERT_FALSE(reading.error) << reading.error->message;
    EXPECT_EQ(reading.totals.udp.packets, 5000u);
    EXPECT_EQ(reading.totals.udp.flows, 10u);
    file.filter = "port 1003";
    reading = read_file(file);
    EXPECT_EQ(reading.totals.packets, 500u);
    file.filter = "port port";
    reading = read_file(file);
    ASSERT_TRUE(reading.error);
    EXPECT_EQ(reading.error->code, ErrorCode::kUsage);
  }
  FileOptions file;
  file.path = cut.path();
  Reading reading = read_file(file);
  ASSERT_TRUE(reading.error);
  EXPECT_EQ(reading.error->code, ErrorCode::kInput);
  EXPECT_EQ(reading.totals.packets, 4999u);
  file.path = packed_cut.path();
  reading = read_file(file);
  ASSERT_TRUE(reading.error);
  EXPECT_EQ(reading.error->code, ErrorCode::kInput);
  EXPECT_GT(reading.totals.packets, 0u);
}

TEST(FileTracker, SaysWhatItCannotRead) {
  const ScratchFile empty(""), text("this is no capture, though it is long enough to be one");
  const auto code = [](const std::string& path) {
    FileOptions file;
    file.path = path;
    const Reading reading = read_file(file);
    EXPECT_TRUE(reading.error) << path;
    return reading.error ? exit_code(reading.error->code) : 0;
  };
  EXPECT_EQ(code(empty.path()), 5);
  EXPECT_EQ(code(text.path()), 5);
  EXPECT_EQ(code("/tmp"), 5);
  EXPECT_EQ(code("/no/such/file"), 5);
}

TEST(StampClock, AStepOfTheWallClockChangesNoDuration) {
  constexpr int64_t kHour = 3600 * kNanosPerSecond;
  for (const int64_t step_ns : {kHour, -kHour, 20 * kMs, -20 * kMs}) {
    StampClock clock;
    int64_t monotonic_ns = 1000 * kNanosPerSecond, offset_ns = kStart;
    clock.anchor({monotonic_ns, monotonic_ns + offset_ns, 0});
    const int64_t before_ns = clock.to_monotonic(monotonic_ns + 2 * kMs + offset_ns);
    EXPECT_EQ(before_ns, monotonic_ns + 2 * kMs);
    // The clock steps between two anchors. A packet stamped before the step is read after it.
    const int64_t stamped_before = monotonic_ns + 8 * kMs + offset_ns;
    offset_ns += step_ns;
    monotonic_ns += 10 * kMs;
    clock.anchor({monotonic_ns, monotonic_ns + offset_ns, 0});
    EXPECT_EQ(clock.to_monotonic(stamped_before), monotonic_ns - 2 * kMs);
    EXPECT_EQ(clock.to_monotonic(monotonic_ns - kMs + offset_ns), monotonic_ns - kMs);
    // Long after, only the new offset counts.
    monotonic_ns += 5 * kNanosPerSecond;
    clock.anchor({monotonic_ns, monotonic_ns + offset_ns, 0});
    EXPECT_EQ(clock.to_monotonic(monotonic_ns + offset_ns), monotonic_ns);
  }
}

TEST(StampClock, AStampFromAfterAStepThatNoAnchorSawIsNotCovered) {
  StampClock clock;
  clock.anchor({kNanosPerSecond, kStart, 0});
  EXPECT_TRUE(clock.covers(kStart - 10 * kNanosPerSecond)) << "it waited in the ring";
  EXPECT_TRUE(clock.covers(kStart + 5 * kMs));
  EXPECT_FALSE(clock.covers(kStart + 3600 * kNanosPerSecond));
  clock.anchor({kNanosPerSecond + kMs, kStart + 3600 * kNanosPerSecond + kMs, 0});
  EXPECT_TRUE(clock.covers(kStart + 3600 * kNanosPerSecond));
  EXPECT_EQ(clock.to_monotonic(kStart + 3600 * kNanosPerSecond), kNanosPerSecond);
}

/// How many packets a source gives until it ends, and its error. After `after_packets` of them, the
/// file is cut to `to_bytes`.
struct CutReading {
  uint64_t packets = 0;
  uint64_t not_ip = 0;
  std::optional<Error> error;
};
CutReading read_while_cutting(const std::string& path, uint64_t after_packets, off_t to_bytes) {
  CutReading reading;
  auto source = open_file_source(path, "", FileReader::kMapped);
  EXPECT_TRUE(source.ok());
  struct Context {
    CutReading& reading;
    const std::string& path;
    uint64_t after_packets;
    off_t to_bytes;
  } context{reading, path, after_packets, to_bytes};
  const PacketVisitor visit = [](void* user, const PacketView& view) {
    auto* c = static_cast<Context*>(user);
    c->reading.not_ip += !parse_packet(LinkType::kRaw, KeyMode::kOuter, view).in_flow();
    if (++c->reading.packets == c->after_packets) {
      EXPECT_EQ(truncate(c->path.c_str(), c->to_bytes), 0);
    }
  };
  while (true) {
    auto outcome = (*source)->read(visit, &context);
    if (!outcome.ok()) reading.error = outcome.error();
    if (!outcome.ok() || *outcome == StepOutcome::kEnd) return reading;
  }
}

TEST(MappedFile, ThatShrinksIsAnErrorAndNoCrash) {
  constexpr size_t kPackets = 100'000;  // several windows of 1 MiB
  constexpr off_t kHeader = 24, kPacket = 16 + 32;
  Capture capture;
  for (size_t i = 0; i < kPackets; ++i) capture.packet(kStart + static_cast<int64_t>(i) * kMs, 1);
  struct Case {
    uint64_t after_packets;
    off_t to_bytes;
    uint64_t packets;  // that are read
  };
  for (const Case& one : {
           // The new end is inside the mapped window, at the edge of a page and within a page; at
           // 0; inside what was read already; in a window that is still to come.
           Case{100, 8 * 4096, (8 * 4096 - kHeader) / kPacket},
           Case{100, kHeader + 1000 * kPacket, 1000},
           Case{100, 0, 100},
           Case{60'000, kHeader + 50'000 * kPacket, 60'000},
           Case{100, kHeader + 90'000 * kPacket, 90'000},
       }) {
    const ScratchFile file(capture.bytes);
    const CutReading reading = read_while_cutting(file.path(), one.after_packets, one.to_bytes);
    // The packet that the new end cuts may still be given.
    EXPECT_GE(reading.packets + 1, one.packets) << one.to_bytes;
    EXPECT_LE(reading.packets, one.packets + 1) << one.to_bytes;
    EXPECT_LE(reading.not_ip, 1u) << one.to_bytes;
    const bool whole_packets_left = one.to_bytes == kHeader + 90'000 * kPacket;
    EXPECT_EQ(reading.error.has_value(), !whole_packets_left) << one.to_bytes;
  }
}

TEST(MappedFile, ThatGrowsIsReadToItsNewEnd) {
  Capture capture;
  for (int i = 0; i < 10; ++i) capture.packet(kStart + i * kMs, 1);
  const ScratchFile file(capture.bytes);
  auto source = open_file_source(file.path(), "", FileReader::kMapped);
  ASSERT_TRUE(source.ok());
  uint64_t packets = 0;
  const PacketVisitor count = [](void* user, const PacketView&) {
    ++*static_cast<uint64_t*>(user);
  };
  ASSERT_TRUE((*source)->read(count, &packets).ok());
  EXPECT_EQ(packets, 10u);
  {
    std::FILE* out = std::fopen(file.path().c_str(), "ab");
    ASSERT_NE(out, nullptr);
    std::fwrite(capture.bytes.data() + 24, 1, capture.bytes.size() - 24, out);
    std::fclose(out);
  }
  while (true) {
    const auto outcome = (*source)->read(count, &packets);
    ASSERT_TRUE(outcome.ok());
    if (*outcome == StepOutcome::kEnd) break;
  }
  EXPECT_EQ(packets, 20u);
}

TEST(StandardInput, IsReadFromAPipeAndFromAFile) {
  Capture capture;
  for (int i = 0; i < 1000; ++i) {
    capture.packet(kStart + i * kMs, static_cast<uint16_t>(1 + i % 7));
  }
  const ScratchFile file(capture.bytes);
  const int kept = dup(STDIN_FILENO);
  for (const bool pipe_it : {true, false}) {
    std::FILE* from = pipe_it ? popen(("cat " + file.path()).c_str(), "r")
                              : std::fopen(file.path().c_str(), "rb");
    ASSERT_NE(from, nullptr);
    ASSERT_EQ(dup2(fileno(from), STDIN_FILENO), STDIN_FILENO);
    FileOptions options;
    options.path = "-";
    const Reading reading = read_file(options);
    if (pipe_it) {
      pclose(from);
    } else {
      std::fclose(from);
    }
    EXPECT_FALSE(reading.error);
    EXPECT_EQ(reading.totals.packets, 1000u);
    EXPECT_EQ(reading.totals.udp.flows, 7u);
  }
  if (kept >= 0) {
    dup2(kept, STDIN_FILENO);
    close(kept);
  }
}

}  // namespace
}  // namespace topspin
