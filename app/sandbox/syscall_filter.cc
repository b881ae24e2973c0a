#include "app/sandbox/syscall_filter.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <type_traits>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "tui/terminal/curses_terminal.h"

namespace topspin {
namespace {

struct ReleaseFilter {
  void operator()(scmp_filter_ctx filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, ReleaseFilter>;

/// Allowed with any arguments. None of them reaches another process, and none renames or removes a
/// file; Landlock limits which files are opened. What only some processors or C libraries use is
/// among them.
constexpr int kAllowed[] = {
    // Files that are open.
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(write),
    SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(lseek), SCMP_SYS(close),
    SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
    SCMP_SYS(fadvise64), SCMP_SYS(flock), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
    SCMP_SYS(getdents64), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
    // Files by name.
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat),
    SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd), SCMP_SYS(memfd_create),
    // Memory and threads.
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex),
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(exit), SCMP_SYS(exit_group),
    // Waiting, time and signals to itself.
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(pipe2),
    SCMP_SYS(eventfd2), SCMP_SYS(signalfd4), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(timer_create), SCMP_SYS(timer_settime), SCMP_SYS(timer_delete), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    // Facts.
    SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getpgrp), SCMP_SYS(getpgid),
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(uname),
    SCMP_SYS(sysinfo), SCMP_SYS(getrusage), SCMP_SYS(times), SCMP_SYS(getrandom)};

// What a terminal and `isatty` need. TIOCSTI, which types for the user, is not among them. The
// calls with a 2 are those of glibc 2.42; <sys/ioctl.h> does not have them.
constexpr unsigned long kTermios2Bytes = 44;
constexpr unsigned long kTerminalRequests[] = {TCGETS,
                                               TCSETS,
                                               TCSETSW,
                                               TCSETSF,
                                               TCFLSH,
                                               TIOCGWINSZ,
                                               TIOCGPGRP,
                                               TIOCGDEV,
                                               FIONREAD,
                                               _IOC(_IOC_READ, 'T', 0x2A, kTermios2Bytes),
                                               _IOC(_IOC_WRITE, 'T', 0x2B, kTermios2Bytes),
                                               _IOC(_IOC_WRITE, 'T', 0x2C, kTermios2Bytes),
                                               _IOC(_IOC_WRITE, 'T', 0x2D, kTermios2Bytes)};

constexpr scmp_datum_t kLower32Bits = 0xffffffff;

scmp_arg_cmp equals(unsigned argument, scmp_datum_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, kLower32Bits, value};
}
scmp_arg_cmp is_null(unsigned argument) { return {argument, SCMP_CMP_EQ, 0, 0}; }
scmp_arg_cmp has_bits(unsigned argument, scmp_datum_t bits, scmp_datum_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, value};
}

class FilterBuilder {
 public:
  explicit FilterBuilder(scmp_filter_ctx filter) : filter_(filter) {}

  void allow(int call) { add(SCMP_ACT_ALLOW, call, {}); }
  void allow_if(int call, std::initializer_list<scmp_arg_cmp> conditions) {
    add(SCMP_ACT_ALLOW, call, conditions);
  }
  /// The call fails, and the caller does without it.
  void fail_if(int call, int os_errno, std::initializer_list<scmp_arg_cmp> conditions) {
    add(SCMP_ACT_ERRNO(static_cast<uint32_t>(os_errno)), call, conditions);
  }
  void set(scmp_filter_attr attribute, uint32_t value) {
    note(seccomp_attr_set(filter_, attribute, value));
  }
  /// The errno of the first step that failed, or 0.
  int failure() const { return failure_; }

 private:
  void add(uint32_t action, int call, std::initializer_list<scmp_arg_cmp> conditions) {
    note(seccomp_rule_add_array(filter_, action, call, static_cast<unsigned>(conditions.size()),
                                conditions.begin()));
  }
  void note(int status) {
    if (status < 0 && failure_ == 0) failure_ = -status;
  }

  scmp_filter_ctx filter_;
  int failure_ = 0;
};

void add_rules(FilterBuilder& filter) {
  for (const int call : kAllowed) filter.allow(call);
  for (const unsigned long request : kTerminalRequests)
    filter.allow_if(SCMP_SYS(ioctl), {equals(1, request)});

  // Not those by which a signal goes to another process (F_SETOWN, F_SETSIG).
  for (const int command :
       {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
        F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS})
    filter.allow_if(SCMP_SYS(fcntl), {equals(1, static_cast<scmp_datum_t>(command))});

  // No memory becomes code. A library that would load another one does without it.
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    filter.allow_if(call, {has_bits(2, PROT_EXEC, 0)});
    filter.fail_if(call, EACCES, {has_bits(2, PROT_EXEC, PROT_EXEC)});
  }
  // New threads, but no new processes. The flags of clone3 are out of a filter's sight, so glibc
  // is told that this kernel does not have it.
  filter.allow_if(SCMP_SYS(clone), {has_bits(0, CLONE_THREAD, CLONE_THREAD)});
  filter.fail_if(SCMP_SYS(clone3), ENOSYS, {});
  // Signals to itself, and the question whether another process is alive.
  filter.allow_if(SCMP_SYS(tgkill), {equals(0, static_cast<scmp_datum_t>(::getpid()))});
  filter.allow_if(SCMP_SYS(kill), {equals(1, 0)});
  // SQLite tries both on new files, for which the process outside has done it. For root, an open
  // file of the system would be enough.
  filter.fail_if(SCMP_SYS(fchmod), EPERM, {});
  filter.fail_if(SCMP_SYS(fchown), EPERM, {});
  // libpcap looks a name up if a filter has one that was not noticed before: it is unknown then.
  filter.fail_if(SCMP_SYS(socket), EACCES, {});
  // Some builds of ncurses become the real user, whom the process is already, to read terminfo.
  filter.fail_if(SCMP_SYS(setfsuid), EPERM, {});
  filter.fail_if(SCMP_SYS(setfsgid), EPERM, {});
  // Limits are read, not set.
  filter.allow_if(SCMP_SYS(prlimit64), {equals(0, 0), is_null(2)});
  filter.allow(SCMP_SYS(getrlimit));
  // On a socket that is connected already.
  filter.allow_if(SCMP_SYS(sendto), {is_null(4)});
  for (const int option : {PR_SET_NAME, PR_GET_NAME})
    filter.allow_if(SCMP_SYS(prctl), {equals(0, static_cast<scmp_datum_t>(option))});
  // glibc can give names to memory, and takes this for a kernel that cannot.
  constexpr scmp_datum_t kSetVma = 0x53564d41;
  filter.fail_if(SCMP_SYS(prctl), EINVAL, {equals(0, kSetVma)});
}

/// Runs instead of a refused call. The process cannot be trusted any more, so this does little.
void report_refused_call(int, siginfo_t* info, void*) {
  restore_terminal_now();
  std::array<char, 200> text;
  char* const name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, info->si_syscall);
  const auto [end, size] = fmt::format_to_n(
      text.data(), text.size(),
      "topspin: the system call {} ({}) is not allowed to a command that reads files; this is a "
      "bug, or an attack by one of the files\n",
      name != nullptr ? name : "?", info->si_syscall);
  (void)!::write(STDERR_FILENO, text.data(), static_cast<size_t>(end - text.data()));
  (void)size;
  ::raise(SIGSYS);  // its usual effect is back, and it is not blocked here
}

Error not_limited(int number) {
  return make_error(ErrorCode::kInternal,
                    fmt::format("cannot limit the system calls: {}", std::strerror(number)),
                    number);
}

}  // namespace

bool has_syscall_filters() {
  const uint32_t action = SECCOMP_RET_TRAP;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

Status limit_system_calls() {
  if (!has_syscall_filters()) return {};
  struct sigaction refused {};
  refused.sa_sigaction = report_refused_call;
  refused.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER;
  if (::sigaction(SIGSYS, &refused, nullptr) != 0) return not_limited(errno);
  const Filter filter(seccomp_init(SCMP_ACT_TRAP));
  if (filter == nullptr) return not_limited(ENOMEM);
  FilterBuilder builder(filter.get());
  builder.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  builder.set(SCMP_FLTATR_CTL_TSYNC, 1);
  // These two only make it faster, and not every libseccomp and kernel has them: a binary tree, a
  // dozen steps per call; and no protection from a side channel between programs of one process,
  // for which kernels before 5.16 slow it down.
  (void)seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  (void)seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_SSB, 1);
  add_rules(builder);
  if (builder.failure() != 0) return not_limited(builder.failure());
  if (const int status = seccomp_load(filter.get()); status < 0) return not_limited(-status);
  return {};
}

}  // namespace topspin
