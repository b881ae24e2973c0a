#include "app/sandbox/syscall_filter.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <string_view>
#include <type_traits>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <ucontext.h>
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

/// What a recording also does. It looks at processes and at the network, ends its command, and has
/// SQLite create and remove files beside its database.
constexpr int kAllowedToRecorder[] = {
    SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(fchmod), SCMP_SYS(fchown),
    // The interface, opened again after it went away, and lists of addresses and sockets.
    SCMP_SYS(bind), SCMP_SYS(getsockname), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
    SCMP_SYS(sendto),
    // Events.
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
    SCMP_SYS(inotify_init1), SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch),
    SCMP_SYS(perf_event_open), SCMP_SYS(pidfd_open),
    // The command. Which processes it may signal is the kernel's to check.
    SCMP_SYS(kill), SCMP_SYS(wait4), SCMP_SYS(waitid), SCMP_SYS(capget)};

/// Of bpf(). No program is loaded: what attaches later was loaded at the start.
constexpr unsigned kBpfCommands[] = {
    BPF_MAP_LOOKUP_ELEM,  BPF_MAP_UPDATE_ELEM,    BPF_MAP_DELETE_ELEM,
    BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_BATCH,   BPF_MAP_LOOKUP_AND_DELETE_BATCH,
    BPF_MAP_DELETE_BATCH, BPF_OBJ_GET_INFO_BY_FD, BPF_RAW_TRACEPOINT_OPEN,
    BPF_LINK_CREATE,      BPF_LINK_UPDATE,        BPF_ITER_CREATE};
constexpr unsigned long perf_request(unsigned number) { return _IO('$', number); }
constexpr unsigned long kRecorderRequests[] = {SIOCGIFNAME,
                                               SIOCGIFINDEX,
                                               SIOCGIFFLAGS,
                                               SIOCGIFHWADDR,
                                               SIOCGIFMTU,
                                               SIOCETHTOOL,
                                               FIONBIO,
                                               perf_request(0) /* ENABLE */,
                                               perf_request(1) /* DISABLE */,
                                               perf_request(3) /* RESET */,
                                               perf_request(5) /* SET_OUTPUT */,
                                               _IOC(_IOC_WRITE, '$', 8, 4) /* SET_BPF */,
                                               _IOC(_IOC_READ, '$', 7, 8) /* ID */};
/// No Internet socket: nothing that it reads leaves the host by one.
constexpr int kRecorderSockets[] = {AF_PACKET, AF_NETLINK, AF_UNIX};

/// Nothing in a recording makes these calls.
constexpr int kAttacks[] = {SCMP_SYS(execve),
                            SCMP_SYS(execveat),
                            SCMP_SYS(ptrace),
                            SCMP_SYS(process_vm_readv),
                            SCMP_SYS(process_vm_writev),
                            SCMP_SYS(mount),
                            SCMP_SYS(setns),
                            SCMP_SYS(unshare),
                            SCMP_SYS(init_module),
                            SCMP_SYS(finit_module),
                            SCMP_SYS(kexec_load),
                            SCMP_SYS(setuid),
                            SCMP_SYS(setresuid),
                            SCMP_SYS(keyctl),
                            SCMP_SYS(userfaultfd),
                            SCMP_SYS(io_uring_setup)};

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

/// What both kinds of process may do.
void add_common_rules(FilterBuilder& filter) {
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
  // Signals to itself.
  filter.allow_if(SCMP_SYS(tgkill), {equals(0, static_cast<scmp_datum_t>(::getpid()))});
  // Some builds of ncurses become the real user, whom the process is already, to read terminfo.
  filter.fail_if(SCMP_SYS(setfsuid), EPERM, {});
  filter.fail_if(SCMP_SYS(setfsgid), EPERM, {});
  // Limits are read, not set.
  filter.allow_if(SCMP_SYS(prlimit64), {equals(0, 0), is_null(2)});
  filter.allow(SCMP_SYS(getrlimit));
  for (const int option : {PR_SET_NAME, PR_GET_NAME})
    filter.allow_if(SCMP_SYS(prctl), {equals(0, static_cast<scmp_datum_t>(option))});
  // glibc can give names to memory, and takes this for a kernel that cannot.
  constexpr scmp_datum_t kSetVma = 0x53564d41;
  filter.fail_if(SCMP_SYS(prctl), EINVAL, {equals(0, kSetVma)});
}

void add_reader_rules(FilterBuilder& filter) {
  // The question whether another process is alive.
  filter.allow_if(SCMP_SYS(kill), {equals(1, 0)});
  // SQLite tries both on new files, for which the process outside has done it. For root, an open
  // file of the system would be enough.
  filter.fail_if(SCMP_SYS(fchmod), EPERM, {});
  filter.fail_if(SCMP_SYS(fchown), EPERM, {});
  // libpcap looks a name up if a filter has one that was not noticed before: it is unknown then.
  filter.fail_if(SCMP_SYS(socket), EACCES, {});
  // On a socket that is connected already.
  filter.allow_if(SCMP_SYS(sendto), {is_null(4)});
}

/// A server on a socket that listens already. It opens none, and connects none.
void add_server_rules(FilterBuilder& filter) {
  for (const int call :
       {SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(sendmsg)})
    filter.allow(call);
}

/// Names are relative to the directory, unless they are absolute: a filter cannot see them.
void add_rename_rules(FilterBuilder& filter, int directory) {
  const auto fd = static_cast<scmp_datum_t>(directory);
  filter.allow_if(SCMP_SYS(renameat), {equals(0, fd), equals(2, fd)});
  filter.allow_if(SCMP_SYS(renameat2), {equals(0, fd), equals(2, fd), equals(4, 0)});
}

void add_recorder_rules(FilterBuilder& filter) {
  for (const int call : kAllowedToRecorder) filter.allow(call);
  for (const unsigned command : kBpfCommands) filter.allow_if(SCMP_SYS(bpf), {equals(0, command)});
  for (const unsigned long request : kRecorderRequests)
    filter.allow_if(SCMP_SYS(ioctl), {equals(1, request)});
  // The subject's processes come to topspin while their command ends.
  filter.allow_if(SCMP_SYS(prctl), {equals(0, PR_SET_CHILD_SUBREAPER)});
  for (const int domain : kRecorderSockets)
    filter.allow_if(SCMP_SYS(socket), {equals(0, static_cast<scmp_datum_t>(domain))});
}

/// Names the refused call. Runs in a signal's handler, in a process that may not be trusted any
/// more, so it does little.
void report_call(int call, std::string_view sentence) {
  std::array<char, 240> text;
  char* const name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
  const auto end =
      fmt::format_to_n(text.data(), text.size(), "topspin: the system call {} ({}) {}\n",
                       name != nullptr ? name : "?", call, sentence)
          .out;
  (void)!::write(STDERR_FILENO, text.data(), static_cast<size_t>(end - text.data()));
}

[[noreturn]] void end_by_sigsys() {
  ::signal(SIGSYS, SIG_DFL);
  ::raise(SIGSYS);  // not blocked here
  ::_exit(128 + SIGSYS);
}

void end_reader(int, siginfo_t* info, void*) {
  restore_terminal_now();
  report_call(info->si_syscall,
              "is not allowed to a command that reads files; this is a bug, or an attack by one of "
              "the files");
  end_by_sigsys();
}

/// Lets the call fail with EPERM. False: not known how, on this processor.
bool fail_call(void* context) {
#if defined(__x86_64__)
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
  return true;
#elif defined(__aarch64__)
  static_cast<ucontext_t*>(context)->uc_mcontext.regs[0] = static_cast<uint64_t>(-EPERM);
  return true;
#else
  (void)context;
  return false;
#endif
}

/// A recording goes on without the call: what it has measured is worth more. In a test it ends.
constexpr bool is_end_of_recording(int call) {
#ifdef TOPSPIN_SANITIZED
  (void)call;
  return true;
#else
  return std::find(std::begin(kAttacks), std::end(kAttacks), call) != std::end(kAttacks);
#endif
}

void refuse_to_recorder(int, siginfo_t* info, void* context) {
  const int call = info->si_syscall;
  if (is_end_of_recording(call) || !fail_call(context)) {
    restore_terminal_now();
    report_call(call, "is not allowed to a recording; this is a bug, or an attack by packets");
    end_by_sigsys();
  }
  static std::atomic<int> last_reported = -1;
  if (last_reported.exchange(call) == call) return;
  report_call(call, "is not allowed to a recording, which goes on without it; please report this");
}

Error not_limited(int number) {
  return make_error(ErrorCode::kInternal,
                    fmt::format("cannot limit the system calls: {}", std::strerror(number)),
                    number);
}

using OnRefusal = void (*)(int, siginfo_t*, void*);

Status limit_calls(const std::function<void(FilterBuilder&)>& add_rules, OnRefusal on_refusal) {
  if (!has_syscall_filters()) return {};
  struct sigaction refused {};
  refused.sa_sigaction = on_refusal;
  refused.sa_flags = SA_SIGINFO | SA_NODEFER;
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
  add_common_rules(builder);
  add_rules(builder);
  if (builder.failure() != 0) return not_limited(builder.failure());
  if (const int status = seccomp_load(filter.get()); status < 0) return not_limited(-status);
  return {};
}

}  // namespace

bool has_syscall_filters() {
  const uint32_t action = SECCOMP_RET_TRAP;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

Status limit_system_calls(bool holds_connection) {
  const auto add_rules = [](FilterBuilder& builder) {
    add_reader_rules(builder);
    builder.allow(SCMP_SYS(sendto));
  };
  return limit_calls(holds_connection ? std::function<void(FilterBuilder&)>(add_rules)
                                      : std::function<void(FilterBuilder&)>(add_reader_rules),
                     end_reader);
}

Status limit_recorder_calls(const RecordingNeeds& needs) {
  const auto add_rules = [&](FilterBuilder& builder) {
    add_recorder_rules(builder);
    if (needs.serves) add_server_rules(builder);
    for (const int directory : needs.rename_directories) add_rename_rules(builder, directory);
  };
  return limit_calls(add_rules, refuse_to_recorder);
}

Status limit_sender_calls() {
  if (!has_syscall_filters()) return {};
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW));
  if (filter == nullptr) return not_limited(ENOMEM);
  FilterBuilder builder(filter.get());
  builder.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  for (const int call : kAttacks) builder.fail_if(call, EPERM, {});
  for (const int call : {SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(listen)})
    builder.fail_if(call, EPERM, {});
  builder.fail_if(SCMP_SYS(socket), EPERM, {equals(0, AF_PACKET)});
  if (builder.failure() != 0) return not_limited(builder.failure());
  if (const int status = seccomp_load(filter.get()); status < 0) return not_limited(-status);
  return {};
}

}  // namespace topspin
