// `-o FILE` of report and export, with the real binary: the file is written whole or not at all,
// and never through a planted link. A name that promises another format is refused.
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/pcap_writer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

std::string contents(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

class OutputFile : public testing::TestWithParam<std::vector<std::string>> {
 protected:
  void SetUp() override {
    PcapWriter writer;
    writer.udp(1'000'000'000, 1, 2, "x");
    writer.udp(3'000'000'000, 1, 2, "x");
    writer.save(dir_.file("a.pcap"));
    ASSERT_EQ(topspin({"read", dir_.file("a.pcap"), "--db", dir_.file("t.db")}).exit_code, 0);
    const Outcome whole = write_to("-");
    ASSERT_EQ(whole.exit_code, 0) << whole.err;
    expected_ = whole.out;
    ASSERT_GT(expected_.size(), 100u);
  }
  std::vector<std::string> command(const std::string& output) const {
    std::vector<std::string> words = {topspin_binary()};
    words.insert(words.end(), GetParam().begin(), GetParam().end());
    words.insert(words.end(), {"--db", dir_.file("t.db"), "-o", output});
    return words;
  }
  Outcome write_to(const std::string& output) const { return test::run(command(output)); }

  /// Runs in its own mount namespace, after the shell command `setup`; nullopt: not allowed here.
  std::optional<Outcome> write_behind_mount(const std::string& setup,
                                            const std::string& output) const {
    if (geteuid() != 0) return std::nullopt;
    if (test::run({"unshare", "-m", "sh", "-c", setup}).exit_code != 0) return std::nullopt;
    std::vector<std::string> words = {
        "unshare",
        "-m",
        "sh",
        "-c",
        setup + "; \"$@\"; status=$?; ls -A \"" + dir_.file("mount") + "\"; exit $status",
        "sh"};
    for (const std::string& word : command(output)) words.push_back(word);
    return test::run(words);
  }
  /// How many files there are, to show that nothing half written is left beside the output.
  size_t files() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir_.path()))
      ++count;
    return count;
  }

  TempDir dir_;
  std::string expected_;
};

TEST_P(OutputFile, IsNeverADatabase) {
  const std::string db = dir_.file("t.db"), other = dir_.file("other.db");
  std::filesystem::copy_file(db, other);
  std::filesystem::create_hard_link(db, dir_.file("hard"));
  std::ofstream(db + "-shm") << "not empty";
  std::filesystem::create_hard_link(db + "-shm", dir_.file("shm"));
  const std::string before = contents(db);
  for (const std::string& target : {db, dir_.file("./t.db"), other, dir_.file("hard"), db + "-wal",
                                    db + "-shm", db + "-journal", dir_.file("shm")}) {
    const std::string there = contents(target);
    std::vector<std::string> words = command(target);
    if (GetParam().front() == "report") words.insert(words.end(), {"--format", "text"});
    const Outcome run = test::run(words);
    EXPECT_EQ(run.exit_code, 2) << target << run.err;
    EXPECT_NE(run.err.find("choose another file for -o"), std::string::npos) << run.err;
    EXPECT_EQ(contents(target), there) << target;
  }
  EXPECT_FALSE(std::filesystem::exists(db + "-wal"));
  EXPECT_EQ(contents(db), before);
}

TEST_P(OutputFile, AppearsWholeAndReplacesWhatWasThere) {
  const std::string file = dir_.file("out");
  ASSERT_EQ(write_to(file).exit_code, 0);
  EXPECT_EQ(contents(file), expected_);
  std::ofstream(file) << std::string(1'000'000, 'x');
  chmod(file.c_str(), 0640);
  std::filesystem::create_hard_link(file, dir_.file("old"));
  const size_t before = files();
  ASSERT_EQ(write_to(file).exit_code, 0);
  EXPECT_EQ(contents(file), expected_);
  EXPECT_EQ(contents(dir_.file("old")).size(), 1'000'000u) << "the old file was written into";
  EXPECT_EQ(files(), before);
  struct stat info {};
  ASSERT_EQ(stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST_P(OutputFile, IsStandardOutputByTheNamesThatItHas) {
  for (const char* name : {"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}) {
    const Outcome run = write_to(name);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, expected_) << name;
  }
}

TEST_P(OutputFile, APipeIsWrittenAsItIs) {
  const std::string fifo = dir_.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Process writer(command(fifo));
  const Outcome read = test::run({"cat", fifo});
  EXPECT_EQ(writer.finish().exit_code, 0);
  EXPECT_EQ(read.out, expected_);
  EXPECT_TRUE(std::filesystem::is_fifo(fifo));
}

TEST_P(OutputFile, ALinkIsNotFollowedByRootAndElseLeadsToAWholeFile) {
  const std::string victim = dir_.file("victim"), link = dir_.file("link");
  std::ofstream(victim) << "precious";
  std::filesystem::create_symlink(victim, link);
  const Outcome run = write_to(link);
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  if (geteuid() == 0) {
    EXPECT_EQ(run.exit_code, 5) << run.err;
    EXPECT_NE(run.err.find("symbolic link"), std::string::npos) << run.err;
    EXPECT_EQ(contents(victim), "precious");
  } else {
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(contents(victim), expected_);
  }
}

TEST_P(OutputFile, WhatAnotherUserPlantedInASharedDirectoryIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can make files of another user";
  const std::string shared = dir_.file("shared");
  std::filesystem::create_directory(shared);
  chmod(shared.c_str(), 01777);
  std::ofstream(shared + "/planted") << "theirs";
  ASSERT_EQ(chown((shared + "/planted").c_str(), 65534, 65534), 0);
  const Outcome run = write_to(shared + "/planted");
  EXPECT_EQ(run.exit_code, 4) << run.err;
  EXPECT_EQ(contents(shared + "/planted"), "theirs");
}

TEST_P(OutputFile, AFileThatIsMountedIsWrittenInPlace) {
  const std::string mounted = dir_.file("mounted"), source = dir_.file("source");
  std::filesystem::create_directory(dir_.file("mount"));
  std::ofstream(source) << std::string(1'000'000, 'x');
  std::ofstream(mounted) << "below";
  const auto run = write_behind_mount("mount --bind " + source + " " + mounted, mounted);
  if (!run) GTEST_SKIP() << "mounting is not allowed here";
  EXPECT_EQ(run->exit_code, 0) << run->err;
  EXPECT_EQ(contents(source), expected_);
  EXPECT_EQ(contents(mounted), "below");
}

TEST_P(OutputFile, AFullDiskIs5AndLeavesNothingHalfWritten) {
  const std::string mount = dir_.file("mount");
  std::filesystem::create_directory(mount);
  // There is one block for the old file, and none for a new one.
  const auto run = write_behind_mount(
      "mount -t tmpfs -o size=4k none " + mount + " && echo old > " + mount + "/out",
      mount + "/out");
  if (!run) GTEST_SKIP() << "mounting is not allowed here";
  EXPECT_EQ(run->exit_code, 5) << run->err;
  EXPECT_EQ(run->out, "out\n") << "all that is left";
  EXPECT_EQ(write_to("/dev/full").exit_code, 5);
}

TEST_P(OutputFile, ANameOfAForeignFormatIsRefusedWithTheFormats) {
  for (const char* name : {"x.pdf", "X.PDF", "x.docx", "x.xlsx", "x.png"}) {
    const Outcome run = write_to(dir_.file(name));
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_NE(run.err.find("json"), std::string::npos) << run.err;
    EXPECT_FALSE(std::filesystem::exists(dir_.file(name)));
  }
}

INSTANTIATE_TEST_SUITE_P(Of, OutputFile,
                         testing::Values(std::vector<std::string>{"report"},
                                         std::vector<std::string>{"export", "--format", "json"}),
                         [](const auto& of) { return of.param[0]; });

TEST(OutputName, AnEndingThatNamesNoFormatWantsFormat) {
  TempDir dir;
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.udp(3'000'000'000, 1, 2, "x");
  writer.save(dir.file("a.pcap"));
  ASSERT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("t.db")}).exit_code, 0);
  const auto report = [&](const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> words = {"report", "--db", dir.file("t.db"), "-o", dir.file(name)};
    words.insert(words.end(), more.begin(), more.end());
    return topspin(words);
  };
  const Outcome unknown = report("x.csv", {});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.err.find("text, json, html, markdown"), std::string::npos) << unknown.err;
  EXPECT_EQ(report("x.csv", {"--format", "text"}).exit_code, 0);
  for (const char* name : {"x", "x.txt", "x.html", "x.md", "x.json"})
    EXPECT_EQ(report(name, {}).exit_code, 0) << name;
  EXPECT_TRUE(contents(dir.file("x.html")).starts_with("<!"));
}

}  // namespace
}  // namespace topspin::test
