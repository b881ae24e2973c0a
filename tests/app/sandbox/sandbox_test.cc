// From inside the sandbox, each thing that an attacker would want is tried, and must be refused.
// What commands need must work; that it does in each command is tested in
// tests/app/commands/sandboxed_test.cc.
#include "app/sandbox/sandbox.h"

#include <cerrno>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
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

/// What a command may do that reads `input`, and writes to `place`.
class Sandbox : public testing::Test {
 protected:
  void SetUp() override {
    ::mkdir(place().c_str(), 0755);
    ::mkdir(elsewhere().c_str(), 0755);
    write_file(input(), "bytes of a stranger");
    write_file(elsewhere() + "/secret", "secret");
    write_file(place() + "/there", "old");
  }
  std::string input() const { return dir_.file("input"); }
  std::string place() const { return dir_.file("place"); }
  std::string elsewhere() const { return dir_.file("elsewhere"); }
  SandboxFiles files() const { return {.inputs = {input()}, .outputs = {place() + "/out"}}; }

  /// What `work` returned inside the sandbox.
  std::string inside(const std::function<std::string()>& work) const {
    return in_child([&] {
      const Status entered = enter_sandbox(files());
      return entered.ok() ? work() : entered.error().message;
    });
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

TEST_F(Sandbox, ReadsItsInputAndWritesItsOutput) {
  EXPECT_EQ(inside([&] { return contents(input()); }), "bytes of a stranger");
  EXPECT_EQ(inside([&] {
              const std::string draft = place() + "/.draft";
              write_file(draft, "new");
              if (::rename(draft.c_str(), (place() + "/out").c_str()) != 0) return outcome(-1);
              return outcome(::unlink((place() + "/there").c_str()));
            }),
            "0");
  EXPECT_EQ(contents(place() + "/out"), "new");
  EXPECT_EQ(::access((place() + "/there").c_str(), F_OK), -1);
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
  if (sandbox_support().seccomp) EXPECT_THAT(status, HasSubstr("Seccomp:\t2\n"));
  // CAP_CHOWN is 0 and CAP_DAC_OVERRIDE is 1.
  const char* const kept = ::geteuid() == 0 ? "0000000000000003" : "0000000000000000";
  EXPECT_THAT(status, HasSubstr(fmt::format("CapPrm:\t{}\n", kept)));
  EXPECT_THAT(status, HasSubstr(fmt::format("CapEff:\t{}\n", kept)));
  EXPECT_THAT(status, HasSubstr("CapInh:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("CapAmb:\t0000000000000000\n"));
  if (::geteuid() == 0) EXPECT_THAT(status, HasSubstr(fmt::format("CapBnd:\t{}\n", kept)));
}

TEST_F(Sandbox, BecomesTheUserWhoCalledSudo) {
  TOPSPIN_NEEDS_ROOT();
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  const std::string status = in_child([&] {
    ::setenv("SUDO_UID", "65534", 1);
    ::setenv("SUDO_GID", "65534", 1);
    const Status entered = enter_sandbox(files());
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

TEST_F(RefusedFiles, OtherFilesAreNotRemovedOrMoved) {
  const std::string secret = elsewhere() + "/secret";
  EXPECT_EQ(inside([&] { return outcome(::unlink(secret.c_str())); }), "EACCES");
  EXPECT_NE(inside([&] { return outcome(::rename(secret.c_str(), (place() + "/x").c_str())); }),
            "0");
  EXPECT_NE(inside([&] { return outcome(::rename((place() + "/there").c_str(), secret.c_str())); }),
            "0");
  EXPECT_EQ(contents(secret), "secret");
}

TEST_F(RefusedFiles, AnOpenFileOfAnotherProcessIsOutOfReach) {
  const UniqueFd mine(::open((elsewhere() + "/secret").c_str(), O_RDONLY | O_CLOEXEC));
  const std::string path = fmt::format("/proc/{}/fd/{}", ::getpid(), mine.get());
  EXPECT_EQ(opened(path, O_RDONLY), "EACCES");
}

/// A read-only database at rest needs nothing but its file; one that was not closed needs its
/// directory.
TEST_F(RefusedFiles, ADatabaseAtRestOpensItsDirectoryToNobody) {
  const std::string database = dir_.file("elsewhere/run.db");
  std::string header(100, '\0');
  header.replace(0, 15, "SQLite format 3");
  header[18] = header[19] = 1;
  write_file(database, header);
  const auto create_beside = [&](bool screen) {
    return in_child([&] {
      const Status entered = enter_sandbox({.databases = {database}, .screen = screen});
      if (!entered.ok()) return entered.error().message;
      const std::string wal = database + "-wal";
      return outcome(::open(database.c_str(), O_RDONLY)) + " " +
             outcome(::open((elsewhere() + "/secret").c_str(), O_RDONLY)) + " " +
             outcome(::open(wal.c_str(), O_RDWR | O_CREAT, 0644));
    });
  };
  EXPECT_EQ(create_beside(false), "0 EACCES EACCES");
  EXPECT_EQ(create_beside(true), "0 0 EACCES");
  header[18] = header[19] = 2;  // write-ahead log
  write_file(database, header);
  EXPECT_EQ(create_beside(false), "0 0 0");
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

class RefusedCalls : public Sandbox, public testing::WithParamInterface<RefusedCall> {};

TEST_P(RefusedCalls, EndTheProcessAndAreNamed) {
  if (!sandbox_support().seccomp) GTEST_SKIP() << "needs seccomp filters";
  int status = 0;
  const std::string said = in_child([&] {
    const std::string log = dir_.file("said");
    const pid_t child = ::fork();
    if (child == 0) {
      const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT, 0644);
      ::dup2(fd, STDERR_FILENO);
      if (!enter_sandbox(files()).ok()) ::_exit(1);
      GetParam().make();
      ::_exit(0);
    }
    ::waitpid(child, &status, 0);
    return fmt::format("{} {}", WIFSIGNALED(status) ? WTERMSIG(status) : 0, contents(log));
  });
  EXPECT_EQ(said.substr(0, said.find(' ')), std::to_string(SIGSYS)) << said;
  EXPECT_THAT(said, HasSubstr("the system call " + GetParam().name + " ("));
}

const char* const kShell = "/bin/sh";

INSTANTIATE_TEST_SUITE_P(
    All, RefusedCalls,
    testing::Values(
        RefusedCall{"execve", [] { call(SYS_execve, address(kShell)); }},
        RefusedCall{"execveat", [] { call(SYS_execveat, -1, address(kShell)); }},
        RefusedCall{"clone", [] { call(SYS_clone, SIGCHLD); }},
        RefusedCall{"ptrace", [] { call(SYS_ptrace, 0); }},
        RefusedCall{"process_vm_readv", [] { call(SYS_process_vm_readv, 1); }},
        RefusedCall{"process_vm_writev", [] { call(SYS_process_vm_writev, 1); }},
        RefusedCall{"pidfd_open", [] { call(SYS_pidfd_open, 1); }},
        RefusedCall{"kill", [] { call(SYS_kill, ::getppid(), SIGUSR1); }},
        RefusedCall{"tgkill", [] { call(SYS_tgkill, ::getppid(), ::getppid(), SIGUSR1); }},
        RefusedCall{"socket", [] { call(SYS_socket, AF_INET, SOCK_STREAM); }},
        RefusedCall{"socketpair", [] { call(SYS_socketpair, AF_UNIX, SOCK_STREAM); }},
        RefusedCall{"connect", [] { call(SYS_connect, 0); }},
        RefusedCall{"bind", [] { call(SYS_bind, 0); }},
        RefusedCall{"sendto",
                    [] {
                      call(SYS_sendto, 0, 0, 0, 0); /* then with an address */
                      sockaddr to{};
                      ::syscall(SYS_sendto, 0, nullptr, 0, 0, &to, sizeof to);
                    }},
        RefusedCall{"bpf", [] { call(SYS_bpf, 0); }},
        RefusedCall{"perf_event_open", [] { call(SYS_perf_event_open, 0); }},
        RefusedCall{"io_uring_setup", [] { call(SYS_io_uring_setup, 1); }},
        RefusedCall{"userfaultfd", [] { call(SYS_userfaultfd, 0); }},
        RefusedCall{"keyctl", [] { call(SYS_keyctl, 0); }},
        RefusedCall{"add_key", [] { call(SYS_add_key, 0); }},
        RefusedCall{"kexec_load", [] { call(SYS_kexec_load, 0); }},
        RefusedCall{"init_module", [] { call(SYS_init_module, 0); }},
        RefusedCall{"mount", [] { call(SYS_mount, address("none"), address("/tmp")); }},
        RefusedCall{"umount2", [] { call(SYS_umount2, address("/tmp")); }},
        RefusedCall{"chroot", [] { call(SYS_chroot, address("/tmp")); }},
        RefusedCall{"unshare", [] { call(SYS_unshare, 0); }},
        RefusedCall{"setns", [] { call(SYS_setns, -1, 0); }},
        RefusedCall{"setuid", [] { call(SYS_setuid, 0); }},
        RefusedCall{"setgid", [] { call(SYS_setgid, 0); }},
        RefusedCall{"setresuid", [] { call(SYS_setresuid, 0); }},
        RefusedCall{"setgroups", [] { call(SYS_setgroups, 0); }},
        RefusedCall{"capset", [] { call(SYS_capset, 0); }},
        RefusedCall{"fchmodat", [] { call(SYS_fchmodat, AT_FDCWD, address("/tmp"), 0777); }},
        RefusedCall{"fchmod", [] { call(SYS_fchmod, 0, S_ISUID | 0755); }},
        RefusedCall{"fchownat", [] { call(SYS_fchownat, AT_FDCWD, address("/tmp"), 0, 0); }},
        RefusedCall{"linkat", [] { call(SYS_linkat, AT_FDCWD, address("a"), AT_FDCWD); }},
        RefusedCall{"symlinkat", [] { call(SYS_symlinkat, address("a"), AT_FDCWD); }},
        RefusedCall{"mkdirat", [] { call(SYS_mkdirat, AT_FDCWD, address("a")); }},
        RefusedCall{"mknodat", [] { call(SYS_mknodat, AT_FDCWD, address("a")); }},
        RefusedCall{"truncate", [] { call(SYS_truncate, address("a")); }},
        RefusedCall{"utimensat", [] { call(SYS_utimensat, AT_FDCWD, address("a")); }},
        RefusedCall{"setxattr", [] { call(SYS_setxattr, address("a")); }},
        RefusedCall{"open_by_handle_at", [] { call(SYS_open_by_handle_at, -1); }},
        RefusedCall{"openat2", [] { call(SYS_openat2, AT_FDCWD, address("/tmp")); }},
        RefusedCall{"ioctl", [] { call(SYS_ioctl, 0, TIOCSTI, address("x")); }},
        RefusedCall{"prctl",
                    [] {
                      call(SYS_prctl, 38); /* PR_SET_NO_NEW_PRIVS */
                    }},
        RefusedCall{"prlimit64", [] { call(SYS_prlimit64, 1, RLIMIT_NOFILE); }},
        RefusedCall{"seccomp", [] { call(SYS_seccomp, 1); }},
        RefusedCall{"personality", [] { call(SYS_personality, 0); }},
        RefusedCall{"reboot", [] { call(SYS_reboot, 0); }},
        RefusedCall{"settimeofday", [] { call(SYS_settimeofday, 0); }}),
    [](const auto& test) { return test.param.name; });

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
