// Bad input gives one clear sentence on standard error and the documented exit code, and leaves
// nothing half written.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/pcap_writer.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

/// The refusal is one line that starts with our name, contains `part`, and has no escape sequence.
void expect_refusal(const Outcome& run, int code, const std::string& part) {
  EXPECT_EQ(run.exit_code, code) << run.err;
  EXPECT_TRUE(run.err.starts_with("topspin: ")) << run.err;
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_NE(run.err.find(part), std::string::npos) << run.err;
  EXPECT_EQ(run.err.find('\x1b'), std::string::npos);
  EXPECT_EQ(run.out, "");
}

TEST(BadInput, WrongUsageIs2) {
  TempDir dir;
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.save(dir.file("a.pcap"));
  const std::string file = dir.file("a.pcap");
  expect_refusal(topspin({"no-such-command"}), 2, "");
  expect_refusal(topspin({"read"}), 2, "FILE");
  expect_refusal(topspin({"read", file, "--no-such-option"}), 2, "");
  expect_refusal(topspin({"read", file, "--period", "soon"}), 2, "--period");
  expect_refusal(topspin({"read", file, "--window", "0"}), 2, "--window");
  expect_refusal(topspin({"read", file, "--key", "middle"}), 2, "--key");
  expect_refusal(topspin({"read", file, "--format", "xml"}), 2, "--format");
  expect_refusal(topspin({"read", file, "this", "is", "no", "filter"}), 2, "filter");
  expect_refusal(topspin({"read", file, "--label", "nokey"}), 2, "KEY=VALUE");
  expect_refusal(topspin({"read", file, "--", "sh"}), 2, "record");
  expect_refusal(topspin({"record", "--pid", "1", "--", "true"}), 2, "one subject");
  expect_refusal(topspin({"record", "-i", "lo", "port", "and"}), 2, "filter");
  expect_refusal(topspin({"record", "--", "no-such-command-at-all"}), 2, "command not found");
  expect_refusal(topspin({"record", "--probe", "scheduler"}), 2, "NAME=RUNG");
  expect_refusal(topspin({"record", "--probe", "scheduler=off"}), 2, "NAME=on");
  expect_refusal(topspin({"record", "--probe", "stacks=on"}), 2, "--stacks HZ");
  expect_refusal(topspin({"record", "--max-stored-flows", "-1", "--", "true"}), 2, "-1");
  expect_refusal(topspin({"live", "--once", "--batch", "3"}), 2, "--once or --batch");
  expect_refusal(topspin({"report", "--max-bytes", "-1", "--format", "markdown"}), 2, "1 or more");
  expect_refusal(topspin({"report", "--max-bytes", "9", "--format", "text"}), 2, "--format text");
  EXPECT_EQ(topspin({}).exit_code, 2);
}

TEST(BadInput, AFileWithoutAnEndIsRefused) {
  TempDir dir;
  const std::string zero = "/dev/zero";
  expect_refusal(topspin({"run", "--check", zero}), 2, "it is a device");
  expect_refusal(topspin({"gate", "--config", zero, "a", "b"}), 5, "it is a device");
  expect_refusal(topspin({"compare", "--samples", zero, zero}), 5, "it is a device");
  expect_refusal(topspin({"gate", "--history", "--series", zero}), 5, "it is a device");
  // A plan may come from a pipe, but not from one that never ends.
  expect_refusal(test::run({"sh", "-c", "yes | " + topspin_binary() + " run --check /dev/stdin"}),
                 2, "it is larger than 1 MiB");
  // A sparse file, which fills no disk.
  std::ofstream(dir.file("big.csv")) << "x\n";
  std::filesystem::resize_file(dir.file("big.csv"), size_t{65} << 20);
  expect_refusal(topspin({"gate", "--history", "--series", dir.file("big.csv")}), 5,
                 "larger than 64 MiB");
}

TEST(BadInput, APlanWhoseCommitIsNotThereFailsItsCheck) {
  if (test::run({"git", "--version"}).exit_code != 0) TOPSPIN_SKIP("git is not installed");
  TempDir dir;
  const auto check = [&](const std::string& commit) {
    std::ofstream(dir.file("p.toml")) << "[subject.a]\ncommand = [\"true\"]\ncommit = \"" << commit
                                      << "\"\n[load]\nworkload = \"udp-pingpong\"\n"
                                      << "target = \"127.0.0.1:8888\"\n";
    return topspin({"run", "--check", dir.file("p.toml")});
  };
  expect_refusal(check("main"), 2, "is not in a git repository");
  ASSERT_EQ(test::run({"sh", "-c",
                       "cd " + dir.path().string() +
                           " && git init -q -b main && git -c user.email=a@b -c user.name=n commit "
                           "-q --allow-empty -m one && git tag v1"})
                .exit_code,
            0);
  expect_refusal(check("nope"), 2, "subject.a.commit: cannot check out nope: git knows no such");
  expect_refusal(check("0123456789012345678901234567890123456789"), 2, "git knows no such");
  for (const char* there : {"main", "v1", "HEAD"}) {
    const Outcome run = check(there);
    EXPECT_EQ(run.exit_code, 0) << run.err;
  }
}

TEST(BadInput, AMisspeltWordIsNamedWithWhatItWasMeantToBe) {
  expect_refusal(topspin({"recrod"}), 2, "no command \"recrod\"; did you mean record?");
  expect_refusal(topspin({"help", "recrod"}), 2, "did you mean record?");
  expect_refusal(topspin({"record", "--perid", "1s"}), 2,
                 "no option --perid; did you mean --period?");
  expect_refusal(topspin({"record", "--perid=1s"}), 2, "no option --perid; did you mean --period?");
  expect_refusal(topspin({"load", "htp"}), 2, "did you mean http?");
  expect_refusal(topspin({"load", "http", "--targt", "x"}), 2, "did you mean --target?");
  expect_refusal(topspin({"load"}), 2, "load needs one of udp-pingpong, ");
  expect_refusal(topspin({"load", "grpc"}), 2,
                 "load needs one of udp-pingpong, udp-flood, tcp-connect, http, accept-queue, "
                 "script, show; there is no load \"grpc\"; see topspin help load");
  expect_refusal(topspin({"load", "-q", "htp"}), 2, "there is no load \"htp\"; did you mean http?");
  expect_refusal(topspin({"gate", "-c", "5"}), 2, "record, live and read stop after");
  expect_refusal(topspin({"read", "a.pcap", "-w", "b.pcap"}), 2, "tcpdump -r FILE -w FILE");
  expect_refusal(topspin({"record", "--probe", "schedulr=proc"}), 2, "did you mean scheduler?");
  expect_refusal(topspin({"export", "--format", "csv", "--table", "thraeds"}), 2,
                 "did you mean threads?");
  // An unknown word that resembles no known one gets no suggestion.
  expect_refusal(topspin({"record", "--bogus"}), 2, "no option --bogus; see topspin help record");
  expect_refusal(topspin({"list", "foo"}), 2, "list does not take the word \"foo\"");
}

TEST(BadInput, AValueThatIsMissingOrNoNumberIsNamedWithWhatIsWanted) {
  expect_refusal(topspin({"record", "-c"}), 2, "--count needs a value: --count COUNT;");
  expect_refusal(topspin({"export", "--format"}), 2, "--format needs a value: --format FORMAT;");
  expect_refusal(topspin({"record", "--pid", "abc"}), 2,
                 "--pid: abc is not a whole number from 1 to 4194304;");
  expect_refusal(topspin({"record", "-c", "0"}), 2, "--count: 0 is not a whole number of at least");
  expect_refusal(topspin({"gate", "--aa", "x"}), 2, "--aa: x is not a number");
}

TEST(BadInput, OptionsOfALoadMayStandBeforeIt) {
  // The error is about the option after the workload, so those before it were read.
  for (const std::vector<std::string>& words : {std::vector<std::string>{"load", "-q", "http"},
                                                {"load", "--format", "json", "http"},
                                                {"load", "--format=json", "-q", "http"}}) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--target", "127.0.0.1:9", "--hold", "0"});
    expect_refusal(topspin(all), 2, "--hold \"0\" is not a duration above zero");
  }
  EXPECT_EQ(topspin({"load", "-h", "http"}).out, topspin({"load", "http", "--help"}).out);
}

TEST(BadInput, ACommandWithoutItsHyphensIsNamed) {
  expect_refusal(topspin({"record", "-i", "lo", "sh", "-c", "true"}), 2, "");
  expect_refusal(topspin({"record", "-i", "lo", "sleep", "1"}), 2,
                 "\"sleep 1\" is not a filter; if it is the command to start, put -- before it: -- "
                 "sleep 1");
  expect_refusal(topspin({"record", "-i", "lo", "udp", "and"}), 2, "filter");
}

TEST(BadInput, HelpIsACommandToo) {
  EXPECT_EQ(topspin({"help"}).out, topspin({"--help"}).out);
  EXPECT_EQ(topspin({"help", "record"}).out, topspin({"record", "--help"}).out);
  EXPECT_EQ(topspin({"-V"}).out, topspin({"--version"}).out);
}

TEST(BadInput, TheListThatAMessageAdvisesExists) {
  const Outcome list = topspin({"-D"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  EXPECT_NE(list.out.find("lo "), std::string::npos) << list.out;
  EXPECT_EQ(topspin({"--list-interfaces"}).out, list.out);
}

TEST(BadInput, AFilterFileIsBoundedAndNotPrinted) {
  TempDir dir;
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.save(dir.file("a.pcap"));
  std::ofstream(dir.file("good")) << "udp # the rest is a comment\n and port 2\n";
  EXPECT_EQ(topspin({"read", dir.file("a.pcap"), "-F", dir.file("good")}).exit_code, 0);
  std::ofstream(dir.file("wrong")) << std::string(60'000, 'q');
  const Outcome wrong = topspin({"read", dir.file("a.pcap"), "-F", dir.file("wrong")});
  expect_refusal(wrong, 2, "filter");
  EXPECT_LT(wrong.err.size(), 1000u);
  std::ofstream(dir.file("long")) << std::string(1 << 20, ' ');
  expect_refusal(topspin({"read", dir.file("a.pcap"), "-F", dir.file("long")}), 2, "64 KiB");
  expect_refusal(topspin({"read", dir.file("a.pcap"), "-F", "/dev/zero"}), 2, "64 KiB");
}

/// A result that cannot be written is an output error, even if the error cannot be printed.
TEST(BadInput, AFullStandardOutputIs5) {
  TempDir dir;
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.save(dir.file("a.pcap"));
  for (const std::string& words :
       {std::string("--help"), "read " + dir.file("a.pcap"), std::string("run --example")}) {
    for (const char* where : {" >/dev/full", " >/dev/full 2>/dev/full", " >&- 2>&-"}) {
      const Outcome run = test::run({"sh", "-c", topspin_binary() + " " + words + where});
      EXPECT_EQ(run.exit_code, 5) << words << where << run.err;
    }
  }
}

TEST(BadInput, UnreadableCapturesAre5) {
  TempDir dir;
  expect_refusal(topspin({"read", dir.file("missing.pcap")}), 5, "missing.pcap");
  expect_refusal(topspin({"read", dir.path().string()}), 5, "");
  std::ofstream(dir.file("text.pcap"))
      << "this is no capture file at all, but it is long enough to be one";
  expect_refusal(topspin({"read", dir.file("text.pcap")}), 5, "");
  std::ofstream(dir.file("empty.pcap")) << "";
  expect_refusal(topspin({"read", dir.file("empty.pcap")}), 5, "");
}

TEST(BadInput, DatabasesThatAreNoneAre5AndStayAsTheyWere) {
  TempDir dir;
  std::ofstream(dir.file("text.db")) << "hello, I am not a database, and I want to stay as I am";
  const auto size = std::filesystem::file_size(dir.file("text.db"));
  expect_refusal(topspin({"list", "--db", dir.file("missing.db")}), 5, "missing.db");
  expect_refusal(topspin({"list", "--db", dir.file("text.db")}), 5, "text.db");
  expect_refusal(topspin({"report", "last", "--db", dir.path().string()}), 5, "");
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.save(dir.file("a.pcap"));
  EXPECT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("text.db")}).exit_code, 5);
  EXPECT_EQ(topspin({"read", dir.file("a.pcap"), "--db", "/no/such/directory/t.db"}).exit_code, 5);
  EXPECT_EQ(std::filesystem::file_size(dir.file("text.db")), size);
}

TEST(BadInput, ARunThatIsNotThereIs2) {
  TempDir dir;
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.udp(3'000'000'000, 1, 2, "x");
  writer.save(dir.file("a.pcap"));
  ASSERT_EQ(topspin({"read", dir.file("a.pcap"), "--db", dir.file("t.db")}).exit_code, 0);
  expect_refusal(topspin({"report", "ffffffff", "--db", dir.file("t.db")}), 2, "ffffffff");
}

TEST(BadInput, HostileTextReachesNeitherTerminalNorJsonRaw) {
  TempDir dir;
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.udp(3'000'000'000, 1, 2, "x");
  const std::string hostile = "evil\x1b[31m\xe2\x80\xae\xff";
  writer.save(dir.file(hostile + ".pcap"));
  const std::string label = "key=\x1b]0;owned\x07\n\xe2\x80\xae";
  for (const char* format : {"text", "json"}) {
    const Outcome read = topspin({"read", dir.file(hostile + ".pcap"), "--format", format, "--db",
                                  dir.file("t.db"), "--label", label});
    EXPECT_EQ(read.exit_code, 0) << read.err;
    const Outcome report = topspin({"report", "--format", format, "--db", dir.file("t.db")});
    const Outcome list = topspin({"list", "--format", format, "--db", dir.file("t.db")});
    const Outcome explained = topspin({"explain", "--format", format, "--db", dir.file("t.db")});
    for (const std::string& text : {read.out, read.err, report.out, list.out, explained.out}) {
      EXPECT_EQ(text.find('\x1b'), std::string::npos) << format;
      EXPECT_EQ(text.find('\x07'), std::string::npos) << format;
      EXPECT_EQ(text.find("\xe2\x80\xae"), std::string::npos) << format;
      EXPECT_EQ(text.find('\xff'), std::string::npos) << format;
    }
  }
}

TEST(BadInput, AFullOutputIs5) {
  TempDir dir;
  PcapWriter writer;
  writer.udp(1'000'000'000, 1, 2, "x");
  writer.save(dir.file("a.pcap"));
  const Outcome run =
      test::run({"sh", "-c", topspin_binary() + " read " + dir.file("a.pcap") + " > /dev/full"});
  EXPECT_EQ(run.exit_code, 5) << run.err;
}

TEST(BadInput, EveryCommandHasHelpWithExamples) {
  for (const char* command : {"record", "read", "list", "report", "explain", "doctor"}) {
    const Outcome help = topspin({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_NE(help.out.find("Examples:"), std::string::npos) << command;
  }
  const Outcome version = topspin({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  for (const char* library : {"topspin ", "libpcap", "libbpf", "SQLite"}) {
    EXPECT_NE(version.out.find(library), std::string::npos) << library;
  }
}

TEST(BadInputPrivileged, NoSuchInterfaceOrProcessIs2) {
  TOPSPIN_NEEDS_ROOT();
  TempDir dir;
  expect_refusal(topspin({"record", "-i", "no-such-if", "--db", dir.file("t.db")}), 2,
                 "no-such-if");
  expect_refusal(topspin({"record", "-i", "lo0", "--db", dir.file("t.db")}), 2,
                 "no such interface: lo0; did you mean lo?");
  expect_refusal(topspin({"record", "-i", "lo", "--pid", "4194303", "--db", dir.file("t.db")}), 2,
                 "4194303");
  expect_refusal(
      topspin({"record", "-i", "lo", "--cgroup", "/no/such/cgroup", "--db", dir.file("t.db")}), 2,
      "/no/such/cgroup");
  EXPECT_FALSE(std::filesystem::exists(dir.file("t.db")));
}

TEST(BadInputPrivileged, WithoutPrivilegeALiveCaptureIs4AndSaysWhatToDo) {
  TOPSPIN_NEEDS_ROOT();  // to become nobody
  TempDir dir;
  chmod(dir.path().c_str(), 0777);
  const Outcome run =
      topspin({"record", "-i", "lo", "--duration", "1s", "--db", dir.file("t.db")}, [] {
        if (setgid(65534) != 0 || setuid(65534) != 0) _exit(99);
      });
  if (run.exit_code == 127) TOPSPIN_SKIP("an ordinary user cannot reach the program here");
  expect_refusal(run, 4, "CAP_NET_RAW");
  EXPECT_FALSE(std::filesystem::exists(dir.file("t.db")));
}

}  // namespace
}  // namespace topspin::test
