// From inside the sandbox, each thing that an attacker would want is tried, and must be refused.
// What commands need must work; that it does in each command is tested in
// tests/app/commands/sandboxed_test.cc.
#include "app/sandbox/sandbox.h"

#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/host/privileges.h"
#include "core/base/unique_fd.h"
#include "store/sqlite/file_access.h"
#include "tests/support/in_child.h"
#include "tests/support/privileges.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using testing::HasSubstr;

void write_file(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string contents(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

/// "0" for success, else the name of the errno.
std::string outcome(long status) { return status >= 0 ? "0" : ::strerrorname_np(errno); }

/// A draft that is renamed to "out" in its directory.
class Draft final : public Output {
 public:
  explicit Draft(std::string directory) : directory_(std::move(directory)) {
    write_file(directory_ + "/.draft", "new");
  }
  std::string directory() const override { return directory_; }
  Status finish_here() const override {
    const std::string from = directory_ + "/.draft", to = directory_ + "/out";
    if (::rename(from.c_str(), to.c_str()) == 0) return {};
    return make_error(ErrorCode::kOutput, "cannot rename", errno);
  }
  void discard_here() const override { ::unlink((directory_ + "/.draft").c_str()); }

 private:
  std::string directory_;
};

/// What a command may do that reads `input` and `read.db`, changes `changed.db`, and writes a file.
class Sandbox : public testing::Test {
 protected:
  void SetUp() override {
    ::mkdir(place().c_str(), 0755);
    ::mkdir(elsewhere().c_str(), 0755);
    write_file(input(), "bytes of a stranger");
    write_file(elsewhere() + "/secret", "secret");
    write_file(place() + "/there", "old");
    for (const char* name : {"/read.db", "/changed.db"}) write_file(place() + name, "database");
  }
  std::string input() const { return dir_.file("input"); }
  std::string place() const { return dir_.file("place"); }
  std::string elsewhere() const { return dir_.file("elsewhere"); }

  /// What `work` returned inside the sandbox.
  std::string inside(const std::function<std::string(const Output&)>& work,
                     bool screen = false) const {
    return in_child([&] {
      const Draft draft(place());
      const Status entered = enter_sandbox({.inputs = {input()},
                                            .databases = {place() + "/read.db"},
                                            .changed_databases = {place() + "/changed.db"},
                                            .output = &draft,
                                            .screen = screen});
      return entered.ok() ? work(draft) : entered.error().message;
    });
  }
  std::string inside(const std::function<std::string()>& work) const {
    return inside([&](const Output&) { return work(); });
  }
  bool is_there(const std::string& name) const {
    return ::access((place() + "/" + name).c_str(), F_OK) == 0;
  }

  test::TempDir dir_;
};

class RefusedFiles : public Sandbox {
 protected:
  void SetUp() override {
    if (sandbox_support().landlock_version == 0) GTEST_SKIP() << "needs Landlock";
    Sandbox::SetUp();
  }
  /// The outcome of open().
  std::string opened(const std::string& path, int flags) const {
    return inside([&] { return outcome(::open(path.c_str(), flags | O_CLOEXEC, 0644)); });
  }
};

TEST_F(Sandbox, ReadsItsInput) {
  EXPECT_EQ(inside([&] { return contents(input()); }), "bytes of a stranger");
}

TEST_F(Sandbox, ItsOutputIsPutIntoPlaceOrRemoved) {
  EXPECT_EQ(inside([&](const Output& output) {
              const Status finished = finish_output(output);
              discard_output(output);  // has no effect any more
              return finished.ok() ? "ok" : finished.error().message;
            }),
            "ok");
  EXPECT_EQ(contents(place() + "/out"), "new");
  EXPECT_EQ(inside([&](const Output& output) {
              discard_output(output);
              return std::to_string(is_there(".draft"));
            }),
            "0");
  EXPECT_EQ(inside([&](const Output& output) {
              discard_output(output);
              const Status finished = finish_output(output);
              return finished.ok() ? "nothing to do" : finished.error().message;
            }),
            "nothing to do");
}

TEST_F(Sandbox, ItsOutputIsRemovedIfItIsKilled) {
  EXPECT_THAT(inside([] {
                ::raise(SIGKILL);
                return std::string();
              }),
              HasSubstr("ended with status"));
  for (int i = 0; i < 2000 && is_there(".draft"); ++i) ::usleep(10'000);
  EXPECT_FALSE(is_there(".draft"));
}

TEST_F(Sandbox, AFailureToPutTheOutputIntoPlaceIsReported) {
  ASSERT_EQ(::mkdir((place() + "/out").c_str(), 0755), 0);
  EXPECT_EQ(inside([&](const Output& output) {
              const Status finished = finish_output(output);
              return finished.ok() ? "ok" : finished.error().message;
            }),
            "cannot rename");
}

TEST_F(Sandbox, ItsDatabasesAreOpenedOutside) {
  const auto in_place = [&](const std::string& name, int flags) {
    return inside([&] {
      return outcome(open_database_file((place() + "/" + name).c_str(), flags | O_CLOEXEC, 0644));
    });
  };
  EXPECT_EQ(in_place("changed.db", O_RDWR), "0");
  EXPECT_EQ(in_place("changed.db-wal", O_RDWR | O_CREAT), "0");
  EXPECT_EQ(in_place("read.db", O_RDONLY), "0");
  EXPECT_EQ(in_place("read.db", O_RDWR), "EACCES");
  EXPECT_EQ(in_place("read.db-shm", O_RDWR | O_CREAT), "0");
  // Its directory, which SQLite syncs.
  EXPECT_EQ(inside([&] { return outcome(open_database_file(place().c_str(), O_RDONLY)); }), "0");
  EXPECT_TRUE(is_there("changed.db-wal"));
}

TEST_F(Sandbox, FilesOfPacketsAreRemovedOnlyBesideADatabaseThatMayChange) {
  const std::string of_a_run = "-01a2312f-33e7-7b74-8c69-153666f556f9.pcapng";
  const auto removed = [&](const std::string& name) {
    write_file(place() + "/" + name, "packets");
    return inside([&] { return outcome(remove_database_file((place() + "/" + name).c_str())); });
  };
  EXPECT_EQ(removed("changed.db" + of_a_run), "0");
  EXPECT_FALSE(is_there("changed.db" + of_a_run));
  for (const std::string& name :
       {"read.db" + of_a_run, "there" + of_a_run, std::string("changed.db.pcapng"),
        std::string("changed.db-01a2312f-33e7-7b74-8c69-153666f556fX.pcapng"),
        std::string("changed.db")}) {
    EXPECT_EQ(removed(name), "EACCES") << name;
    EXPECT_TRUE(is_there(name)) << name;
  }
}

TEST_F(RefusedFiles, WhatIsBesideItsDatabasesAndOutputIsNotOpened) {
  for (const char* name : {"/there", "/read.db", "/changed.db", "/changed.db-wal", "/new"}) {
    EXPECT_EQ(opened(place() + name, O_RDWR | O_CREAT), "EACCES") << name;
    EXPECT_EQ(opened(place() + name, O_RDONLY), is_there(name) ? "EACCES" : "ENOENT") << name;
  }
  EXPECT_EQ(
      inside([&] { return outcome(open_database_file((place() + "/there").c_str(), O_RDONLY)); }),
      "EACCES");
}

TEST_F(RefusedFiles, ALinkInThePlaceOfADatabaseIsNotFollowed) {
  ::unlink((place() + "/changed.db").c_str());
  ASSERT_EQ(::symlink((elsewhere() + "/secret").c_str(), (place() + "/changed.db").c_str()), 0);
  EXPECT_EQ(inside([&] {
              return outcome(open_database_file((place() + "/changed.db").c_str(), O_RDWR));
            }),
            "ELOOP");
}

TEST_F(Sandbox, AScreenIsSavedToANewFileOnly) {
  EXPECT_EQ(inside([&](const Output&) {
              const auto made = save_screen();
              return made.ok() ? "made" : "refused";
            }),
            "refused");
  const std::string name = inside(
      [&](const Output&) {
        const auto made = save_screen();
        return made.ok() ? made->name : made.error().message;
      },
      true);
  EXPECT_THAT(name, testing::StartsWith("topspin-"));
  EXPECT_EQ(::unlink(name.c_str()), 0);
}

TEST_F(Sandbox, StartsThreads) {
  EXPECT_EQ(inside([] {
              std::string text;
              std::thread([&] { text = std::string(100'000, 'x'); }).join();
              return std::to_string(text.size());
            }),
            "100000");
}

TEST_F(Sandbox, HasNoCapabilitiesAndCannotGetAny) {
  const std::string status = inside([] { return contents("/proc/self/status"); });
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1\n"));
  EXPECT_THAT(status, HasSubstr(sandbox_support().seccomp ? "Seccomp:\t2\n" : "Seccomp:"));
  // CAP_DAC_OVERRIDE is 1.
  const char* const kept = ::geteuid() == 0 ? "0000000000000002" : "0000000000000000";
  EXPECT_THAT(status, HasSubstr(fmt::format("CapPrm:\t{}\n", kept)));
  EXPECT_THAT(status, HasSubstr(fmt::format("CapEff:\t{}\n", kept)));
  EXPECT_THAT(status, HasSubstr("CapInh:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("CapAmb:\t0000000000000000\n"));
  if (::geteuid() == 0) {  // others cannot remove from it
    EXPECT_THAT(status, HasSubstr("CapBnd:\t0000000000000000\n"));
  }
}

TEST_F(Sandbox, BecomesTheUserWhoCalledSudo) {
  TOPSPIN_NEEDS_ROOT();
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  const std::string status = in_child([&] {
    ::setenv("SUDO_UID", "65534", 1);
    ::setenv("SUDO_GID", "65534", 1);
    const Status entered = enter_sandbox({.inputs = {input()}});
    return entered.ok() ? contents("/proc/self/status") : entered.error().message;
  });
  EXPECT_THAT(status, HasSubstr("Uid:\t65534\t65534\t65534\t65534\n"));
  EXPECT_THAT(status, HasSubstr("Gid:\t65534\t65534\t65534\t65534\n"));
  for (const char* set : {"CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"})
    EXPECT_THAT(status, HasSubstr(fmt::format("{}:\t0000000000000000\n", set)));
}

TEST_F(RefusedFiles, OtherFilesAreNotRead) {
  EXPECT_EQ(opened(elsewhere() + "/secret", O_RDONLY), "EACCES");
  EXPECT_EQ(opened("/etc/passwd", O_RDONLY), "EACCES");
  EXPECT_EQ(opened("/proc/1/environ", O_RDONLY), "EACCES");
  EXPECT_EQ(opened(elsewhere(), O_RDONLY | O_DIRECTORY), "EACCES");
  EXPECT_EQ(opened("/dev/zero", O_RDONLY), "EACCES");
}

TEST_F(RefusedFiles, OtherFilesAreNotWritten) {
  EXPECT_EQ(opened("/etc/passwd", O_WRONLY), "EACCES");
  EXPECT_EQ(opened(elsewhere() + "/secret", O_WRONLY), "EACCES");
  EXPECT_EQ(opened(elsewhere() + "/new", O_WRONLY | O_CREAT), "EACCES");
  EXPECT_EQ(opened(input(), O_WRONLY), "EACCES");
  EXPECT_EQ(opened("/proc/self/oom_score_adj", O_WRONLY), "EACCES");
  EXPECT_EQ(opened("/usr/lib/topspin", O_WRONLY | O_CREAT), "EACCES");
  EXPECT_EQ(contents(elsewhere() + "/secret"), "secret");
}

TEST_F(RefusedFiles, AnOpenFileOfAnotherProcessIsOutOfReach) {
  const UniqueFd mine(::open((elsewhere() + "/secret").c_str(), O_RDONLY | O_CLOEXEC));
  const std::string path = fmt::format("/proc/{}/fd/{}", ::getpid(), mine.get());
  EXPECT_EQ(opened(path, O_RDONLY), "EACCES");
}

/// A call that the sandbox refuses by ending the process.
struct RefusedCall {
  std::string name;
  std::function<void()> make;
};
void PrintTo(const RefusedCall& call, std::ostream* out) { *out << call.name; }

void call(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  ::syscall(number, a, b, c, d, 0, 0);
}

template <typename T>
long address(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

class RefusedCalls : public Sandbox, public testing::WithParamInterface<RefusedCall> {
 protected:
  /// Makes the call after `enter`, and expects that it ends the process and is named.
  void expect_refusal(const std::function<Status()>& enter) const {
    int status = 0;
    const std::string said = in_child([&] {
      const std::string log = dir_.file("said");
      const pid_t child = ::fork();
      if (child == 0) {
        const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT, 0644);
        ::dup2(fd, STDERR_FILENO);
        if (!enter().ok()) ::_exit(1);
        GetParam().make();
        ::_exit(0);
      }
      ::waitpid(child, &status, 0);
      return fmt::format("{} {}", WIFSIGNALED(status) ? WTERMSIG(status) : 0, contents(log));
    });
    EXPECT_EQ(said.substr(0, said.find(' ')), std::to_string(SIGSYS)) << said;
    EXPECT_THAT(said, HasSubstr("the system call " + GetParam().name + " ("));
  }
};

TEST_P(RefusedCalls, EndTheProcessAndAreNamed) {
  if (!sandbox_support().seccomp) GTEST_SKIP() << "needs seccomp filters";
  expect_refusal([&] { return enter_sandbox({.inputs = {input()}}); });
}

class RefusedToRecording : public RefusedCalls {};

TEST_P(RefusedToRecording, EndTheProcessAndAreNamed) {
  if (!sandbox_support().seccomp) GTEST_SKIP() << "needs seccomp filters";
  expect_refusal([]() -> Status {
    TOPSPIN_TRY(drop_privileges(std::nullopt, {CAP_NET_RAW}));
    return limit_recording({});
  });
}

const char* const kShell = "/bin/sh";

/// What neither a command that reads files nor a recording may do, and `more`.
std::vector<RefusedCall> refused_to_both_and(std::vector<RefusedCall> more) {
  const std::vector<RefusedCall> both = {
      RefusedCall{"execve", [] { call(SYS_execve, address(kShell)); }},
      RefusedCall{"execveat", [] { call(SYS_execveat, -1, address(kShell)); }},
      RefusedCall{"clone", [] { call(SYS_clone, SIGCHLD); }},
      RefusedCall{"ptrace", [] { call(SYS_ptrace, 0); }},
      RefusedCall{"process_vm_writev", [] { call(SYS_process_vm_writev, 1); }},
      RefusedCall{"connect", [] { call(SYS_connect, 0); }},
      RefusedCall{"io_uring_setup", [] { call(SYS_io_uring_setup, 1); }},
      RefusedCall{"userfaultfd", [] { call(SYS_userfaultfd, 0); }},
      RefusedCall{"keyctl", [] { call(SYS_keyctl, 0); }},
      RefusedCall{"kexec_load", [] { call(SYS_kexec_load, 0); }},
      RefusedCall{"init_module", [] { call(SYS_init_module, 0); }},
      RefusedCall{"mount", [] { call(SYS_mount, address("none"), address("/tmp")); }},
      RefusedCall{"chroot", [] { call(SYS_chroot, address("/tmp")); }},
      RefusedCall{"unshare", [] { call(SYS_unshare, 0); }},
      RefusedCall{"setns", [] { call(SYS_setns, -1, 0); }},
      RefusedCall{"setuid", [] { call(SYS_setuid, 0); }},
      RefusedCall{"setresuid", [] { call(SYS_setresuid, 0); }},
      RefusedCall{"capset", [] { call(SYS_capset, 0); }},
      RefusedCall{"symlinkat", [] { call(SYS_symlinkat, address("a"), AT_FDCWD); }},
      RefusedCall{"open_by_handle_at", [] { call(SYS_open_by_handle_at, -1); }},
      RefusedCall{"ioctl", [] { call(SYS_ioctl, 0, TIOCSTI, address("x")); }},
      RefusedCall{"seccomp", [] { call(SYS_seccomp, 1); }},
      RefusedCall{"reboot", [] { call(SYS_reboot, 0); }}};
  more.insert(more.end(), both.begin(), both.end());
  return more;
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedCalls,
    testing::ValuesIn(refused_to_both_and(
        {RefusedCall{"process_vm_readv", [] { call(SYS_process_vm_readv, 1); }},
         RefusedCall{"pidfd_open", [] { call(SYS_pidfd_open, 1); }},
         RefusedCall{"kill", [] { call(SYS_kill, ::getppid(), SIGUSR1); }},
         RefusedCall{"tgkill", [] { call(SYS_tgkill, ::getppid(), ::getppid(), SIGUSR1); }},
         RefusedCall{"fcntl", [] { call(SYS_fcntl, 2, F_SETOWN, 1); }},
         RefusedCall{"socketpair", [] { call(SYS_socketpair, AF_UNIX, SOCK_STREAM); }},
         RefusedCall{"bind", [] { call(SYS_bind, 0); }},
         RefusedCall{"sendto",
                     [] {
                       call(SYS_sendto, 0, 0, 0, 0); /* then with an address */
                       sockaddr to{};
                       ::syscall(SYS_sendto, 0, nullptr, 0, 0, &to, sizeof to);
                     }},
         RefusedCall{"bpf", [] { call(SYS_bpf, 0); }},
         RefusedCall{"perf_event_open", [] { call(SYS_perf_event_open, 0); }},
         RefusedCall{"add_key", [] { call(SYS_add_key, 0); }},
         RefusedCall{"umount2", [] { call(SYS_umount2, address("/tmp")); }},
         RefusedCall{"setgid", [] { call(SYS_setgid, 0); }},
         RefusedCall{"setgroups", [] { call(SYS_setgroups, 0); }},
         RefusedCall{"fchmodat", [] { call(SYS_fchmodat, AT_FDCWD, address("/tmp"), 0777); }},
         RefusedCall{"fchownat", [] { call(SYS_fchownat, AT_FDCWD, address("/tmp"), 0, 0); }},
         RefusedCall{"linkat", [] { call(SYS_linkat, AT_FDCWD, address("a"), AT_FDCWD); }},
         RefusedCall{"mkdirat", [] { call(SYS_mkdirat, AT_FDCWD, address("a")); }},
         RefusedCall{"mknodat", [] { call(SYS_mknodat, AT_FDCWD, address("a")); }},
         RefusedCall{"renameat2", [] { call(SYS_renameat2, AT_FDCWD, address("a")); }},
         RefusedCall{"unlinkat", [] { call(SYS_unlinkat, AT_FDCWD, address("a")); }},
         RefusedCall{"truncate", [] { call(SYS_truncate, address("a")); }},
         RefusedCall{"utimensat", [] { call(SYS_utimensat, AT_FDCWD, address("a")); }},
         RefusedCall{"setxattr", [] { call(SYS_setxattr, address("a")); }},
         RefusedCall{"openat2", [] { call(SYS_openat2, AT_FDCWD, address("/tmp")); }},
         RefusedCall{"prctl",
                     [] {
                       call(SYS_prctl, 38); /* PR_SET_NO_NEW_PRIVS */
                     }},
         RefusedCall{"prlimit64", [] { call(SYS_prlimit64, 1, RLIMIT_NOFILE); }},
         RefusedCall{"personality", [] { call(SYS_personality, 0); }},
         RefusedCall{"settimeofday", [] { call(SYS_settimeofday, 0); }}})),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    All, RefusedToRecording,
    testing::ValuesIn(refused_to_both_and(
        {RefusedCall{"fork", [] { call(SYS_fork); }},
         RefusedCall{"socket", [] { call(SYS_socket, AF_INET, SOCK_DGRAM); }},
         RefusedCall{"listen", [] { call(SYS_listen, 0); }},
         RefusedCall{"sendmsg", [] { call(SYS_sendmsg, 0); }},
         RefusedCall{"bpf",
                     [] {
                       call(SYS_bpf, 1); /* a look into a map */
                       call(SYS_bpf, 5); /* BPF_PROG_LOAD */
                     }},
         RefusedCall{"fchmodat", [] { call(SYS_fchmodat, AT_FDCWD, address("/tmp"), 0777); }}})),
    [](const auto& test) { return test.param.name; });

TEST_F(Sandbox, ANameIsNotLookedUpAndTheProcessGoesOn) {
  if (!sandbox_support().seccomp) GTEST_SKIP() << "needs seccomp filters";
  EXPECT_EQ(inside([] { return outcome(::socket(AF_INET, SOCK_DGRAM, 0)); }), "EACCES");
}

TEST_F(Sandbox, AnOpenFileKeepsItsModeAndOwner) {
  if (!sandbox_support().seccomp) GTEST_SKIP() << "needs seccomp filters";
  EXPECT_EQ(inside([&] {
              const int fd = ::open(input().c_str(), O_RDONLY | O_CLOEXEC);
              return outcome(::fchmod(fd, 0777)) + " " + outcome(::fchmod(fd, S_ISUID | 0755)) +
                     " " + outcome(::fchown(fd, 65534, 65534));
            }),
            "EPERM EPERM EPERM");
}

TEST_F(Sandbox, AFileBesideADatabaseIsForTheSameUsers) {
  const std::string database = place() + "/changed.db";
  ASSERT_EQ(::chmod(database.c_str(), 0664), 0);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(database.c_str(), 65534, 65534), 0);
  }
  ::umask(077);
  EXPECT_EQ(
      inside([&] {
        return outcome(open_database_file((database + "-wal").c_str(), O_RDWR | O_CREAT, 0664));
      }),
      "0");
  struct stat made {
  }, model{};
  ASSERT_EQ(::stat((database + "-wal").c_str(), &made), 0);
  ASSERT_EQ(::stat(database.c_str(), &model), 0);
  EXPECT_EQ(made.st_mode, model.st_mode);
  EXPECT_EQ(made.st_uid, model.st_uid);
}

TEST_F(Sandbox, NoMemoryBecomesCode) {
  if (!sandbox_support().seccomp) GTEST_SKIP() << "needs seccomp filters";
  EXPECT_EQ(inside([] {
              void* page =
                  ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return outcome(::mprotect(page, 4096, PROT_READ | PROT_EXEC));
            }),
            "EACCES");
  EXPECT_EQ(inside([] {
              void* page =
                  ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return outcome(page == MAP_FAILED ? -1 : 0);
            }),
            "EACCES");
}

}  // namespace
}  // namespace topspin
