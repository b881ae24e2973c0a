// Compares every capture of the corpus with its reference, tier by tier, and the readers with each
// other. Reads every capture cut short and with flipped bits.
#include "tests/capture/corpus.h"

#include <algorithm>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "capture/flow_tracker.h"
#include "capture/source/packet_source.h"
#include "core/base/clock.h"
#include "tests/capture/whole_reading.h"

namespace topspin {
namespace {

struct Reading {
  std::optional<Error> error;
  bool opened = false;
  FlowInterval totals;
  uint64_t flows = 0;
};

Reading read_file(const std::string& path, FlowTableOptions table = {}, int64_t interval_ns = 0) {
  Reading reading;
  FileOptions file;
  file.path = path;
  file.interval_ns = interval_ns;
  auto tracker = FlowTracker::open_file(file, table);
  if (!tracker.ok()) {
    reading.error = tracker.error();
    return reading;
  }
  reading.opened = true;
  const IntervalSink sink = [](ClosedInterval&&) {};
  while (true) {
    auto outcome = (*tracker)->step(sink);
    if (!outcome.ok()) {
      reading.error = outcome.error();
      break;
    }
    if (*outcome == StepOutcome::kEnd) break;
  }
  (*tracker)->finish(0, sink);
  reading.totals = (*tracker)->totals();
  (*tracker)->for_each_flow([&](const FlowRow&) { ++reading.flows; });
  return reading;
}

/// The differences from the reference, in words; empty: none.
std::string differences(const test::CorpusRow& row, const FlowInterval& t) {
  std::string out;
  const auto compare = [&](const char* column, uint64_t got) {
    if (row.fields.at(column).empty()) return;  // the reference does not say
    const uint64_t wanted = row.number(column);
    if (got != wanted) out += fmt::format(" {}={} (reference {})", column, got, wanted);
  };
  compare("packets", t.packets);
  compare("outer_tcp_flows", t.tcp.flows);
  compare("outer_tcp_pkts", t.tcp.packets);
  compare("outer_tcp_bytes", t.tcp.bytes);
  compare("outer_udp_flows", t.udp.flows);
  compare("outer_udp_pkts", t.udp.packets);
  compare("outer_udp_bytes", t.udp.bytes);
  compare("frag_first", t.fragments_first);
  compare("frag_nonfirst", t.fragments_later);
  compare("peak_flows_1s", t.seen_flows_per_second_max);
  return out;
}

TEST(Corpus, ThreadsChangeNothingInTheAnswers) {
  TOPSPIN_REQUIRE_CORPUS();
  for (const auto& row : test::corpus_rows()) {
    FileOptions file;
    file.path = row.path();
    file.interval_ns = kNanosPerSecond;
    file.max_rows_per_interval = 1000;
    EXPECT_EQ(test::differences_by_threads(file), "") << row.file;
  }
}

TEST(Corpus, HardFilesEqualTheReference) {
  TOPSPIN_REQUIRE_CORPUS();
  int hard = 0;
  for (const auto& row : test::corpus_rows()) {
    if (row.tier != "hard") continue;
    ++hard;
    const Reading reading = read_file(row.path());
    if (!reading.opened) {
      ADD_FAILURE() << row.file << ": " << reading.error->message;
      continue;
    }
    const std::string wrong = differences(row, reading.totals);
    EXPECT_EQ(wrong, "") << row.file << (reading.error ? " " + reading.error->message : "");
    EXPECT_EQ(reading.flows, reading.totals.tcp.flows + reading.totals.udp.flows) << row.file;
  }
  EXPECT_GE(hard, 1);
}

TEST(Corpus, OtherTiersSayWhatTheReadmeWants) {
  TOPSPIN_REQUIRE_CORPUS();
  for (const auto& row : test::corpus_rows()) {
    if (row.tier == "hard") continue;
    const Reading reading = read_file(row.path());
    const std::string wrong = reading.opened ? differences(row, reading.totals) : "";
    const std::string said = reading.error ? reading.error->message : "";
    std::cout << row.tier << " " << row.file << ":" << (wrong.empty() ? " equal" : wrong)
              << (said.empty() ? "" : " | " + said) << "\n";
    if (row.tier == "linktype-unsup") {
      if (reading.opened) {
        EXPECT_EQ(wrong, "") << row.file;
      } else {
        EXPECT_NE(said.find("unsupported link type"), std::string::npos)
            << row.file << ": " << said;
        EXPECT_EQ(exit_code(reading.error->code), 5) << row.file;
      }
    } else if (row.tier == "packet-count-differs") {
      if (reading.totals.packets != row.number("packets")) {
        ASSERT_TRUE(reading.error.has_value()) << row.file;
        EXPECT_EQ(exit_code(reading.error->code), 5) << row.file;
      }
    } else if (row.tier == "unreadable" || row.tier == "libpcap-unreadable") {
      ASSERT_TRUE(reading.error.has_value()) << row.file;
      EXPECT_EQ(exit_code(reading.error->code), 5) << row.file << ": " << said;
    }
  }
}

/// Every packet that a reader gives, and how it ends.
struct Packets {
  std::vector<std::string> lines;
  std::string error;
  bool opened = false;
};

Packets packets_of(const std::string& path, const std::string& filter, FileReader reader) {
  Packets out;
  auto source = open_file_source(path, filter, reader);
  if (!source.ok()) {
    out.error = source.error().message;
    return out;
  }
  out.opened = true;
  while (true) {
    auto outcome = (*source)->read(
        [](void* context, const PacketView& p) {
          uint64_t digest = 14695981039346656037u;
          for (uint32_t i = 0; i < p.captured; ++i) digest = (digest ^ p.bytes[i]) * 1099511628211u;
          static_cast<Packets*>(context)->lines.push_back(
              fmt::format("{} {} {} {:x}", p.stamp_ns, p.captured, p.length, digest));
        },
        &out);
    if (!outcome.ok()) {
      out.error = outcome.error().message;
      return out;
    }
    if (*outcome == StepOutcome::kEnd) return out;
  }
}

bool is_pcapng(const std::string& path) {
  auto stream = ByteStream::open(path);
  if (!stream.ok()) return false;
  const auto magic = (*stream)->peek(4);
  return magic.ok() && *magic == "\x0a\x0d\x0d\x0a";
}

void expect_readers_agree(const std::string& path, const std::string& filter,
                          const std::string& what) {
  const Packets slow = packets_of(path, filter, FileReader::kLibpcap);
  for (const FileReader reader : {FileReader::kFastest, FileReader::kMapped}) {
    const Packets fast = packets_of(path, filter, reader);
    if (is_pcapng(path) && !slow.error.empty()) {
      // Where libpcap gives up, the pcapng reader may go on. What both read is the same.
      EXPECT_GE(fast.lines.size(), slow.lines.size()) << what << ": " << fast.error;
      const size_t both = std::min(fast.lines.size(), slow.lines.size());
      EXPECT_TRUE(std::equal(slow.lines.begin(), slow.lines.begin() + static_cast<int64_t>(both),
                             fast.lines.begin()))
          << what;
      continue;
    }
    EXPECT_EQ(fast.opened, slow.opened) << what << ": " << fast.error << " / " << slow.error;
    EXPECT_EQ(fast.error.empty(), slow.error.empty())
        << what << ": " << fast.error << " / " << slow.error;
    EXPECT_TRUE(fast.lines == slow.lines)
        << what << ": " << fast.lines.size() << " packets against " << slow.lines.size();
  }
}

TEST(Corpus, AllReadersGiveTheSamePackets) {
  TOPSPIN_REQUIRE_CORPUS();
  for (const auto& row : test::corpus_rows()) {
    expect_readers_agree(row.path(), "", row.file);
    expect_readers_agree(row.path(), "udp or tcp port 80", row.file + " filtered");
  }
}

TEST(Corpus, TheParsersShortcutSaysWhatTheParserSays) {
  TOPSPIN_REQUIRE_CORPUS();
  uint64_t packets = 0;
  for (const auto& row : test::corpus_rows()) {
    auto source = open_file_source(row.path(), "", FileReader::kFastest);
    if (!source.ok()) continue;
    struct Context {
      LinkType link;
      uint64_t packets = 0, differing = 0;
    } context{(*source)->link_type()};
    const PacketVisitor compare = [](void* user, const PacketView& view) {
      auto* c = static_cast<Context*>(user);
      ++c->packets;
      for (const KeyMode mode : {KeyMode::kOuter, KeyMode::kInner, KeyMode::kVlan}) {
        ParsedPacket general;
        parse_any_packet(c->link, mode, view, general);
        c->differing += !(parse_packet(c->link, mode, view) == general);
      }
    };
    while (true) {
      const auto outcome = (*source)->read(compare, &context);
      if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
    }
    EXPECT_EQ(context.differing, 0u) << row.file;
    packets += context.packets;
  }
  EXPECT_GT(packets, 0u);
}

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A file that is removed with the object.
class ScratchFile {
 public:
  ScratchFile() {
    char name[] = "/tmp/topspin-capture-XXXXXX";
    fd_ = mkstemp(name);
    path_ = name;
  }
  ~ScratchFile() {
    close(fd_);
    unlink(path_.c_str());
  }
  void write(const std::string& bytes) {
    ASSERT_EQ(ftruncate(fd_, 0), 0);
    ASSERT_EQ(pwrite(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

TEST(Corpus, CutAndFlippedFilesNeverCrashAndReadersStillAgree) {
  TOPSPIN_REQUIRE_CORPUS();
  std::mt19937_64 random(20'261'120);
  ScratchFile scratch;
  for (const auto& row : test::corpus_rows()) {
    const std::string whole = contents_of(row.path());
    if (whole.empty()) continue;
    for (int round = 0; round < 4; ++round) {
      std::string bytes = whole;
      if (round % 2 == 0) bytes.resize(random() % bytes.size());
      const size_t flips = round == 0 ? 0 : 1 + random() % (1 + bytes.size() / 50);
      for (size_t i = 0; i < flips && !bytes.empty(); ++i) {
        // The file header alone decides whether anything is read, so most rounds leave it as it is.
        const size_t from = bytes.size() > 64 && random() % 8 != 0 ? 24 : 0;
        bytes[from + random() % (bytes.size() - from)] ^= static_cast<char>(1 << random() % 8);
      }
      scratch.write(bytes);
      const std::string what = fmt::format("{} round {}", row.file, round);
      FlowTableOptions options;
      options.key = round == 1 ? KeyMode::kInner : round == 2 ? KeyMode::kVlan : KeyMode::kOuter;
      options.max_flows = round == 3 ? 3 : 1000;
      options.idle_timeout_ns = round == 2 ? 2'000'000'000 : 0;
      const Reading reading = read_file(scratch.path(), options, round == 3 ? 100'000'000 : 0);
      if (reading.opened) {
        uint64_t skipped = 0;
        for (const uint64_t n : reading.totals.skipped) skipped += n;
        EXPECT_EQ(reading.totals.packets,
                  skipped + reading.totals.tcp.packets + reading.totals.udp.packets)
            << what;
      }
      expect_readers_agree(scratch.path(), "", what);
    }
  }
}

}  // namespace
}  // namespace topspin
