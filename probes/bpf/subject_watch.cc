#include "probes/bpf/subject_watch.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr int kMaxSeedingWalks = 32;

}  // namespace

Status read_iterator(bpf_link* link, const char* what,
                     const std::function<void(std::string_view)>& take) {
  const UniqueFd walk(bpf_iter_create(bpf_link__fd(link)));
  std::array<char, 4096> bytes;
  ssize_t got = walk ? 1 : -1;
  while (got > 0 || (got < 0 && walk && (errno == EINTR || errno == EAGAIN))) {
    got = ::read(walk.get(), bytes.data(), bytes.size());
    if (got > 0) take({bytes.data(), static_cast<size_t>(got)});
  }
  if (got < 0)
    return make_error(ErrorCode::kInternal,
                      fmt::format("cannot walk the {}: {}", what, std::strerror(errno)), errno);
  return {};
}

Status run_iterator(bpf_link* link, const char* what) {
  return read_iterator(link, what, [](std::string_view) {});
}

Status walk_subject(const SubjectWatch& watch) { return run_iterator(watch.walk, "threads"); }

Status seed_subject(const SubjectWatch& watch, const Subject& subject) {
  if (subject.kind == SubjectSpec::Kind::kProcessTree) {
    const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, subject.pid, 0)));
    const int key = pidfd.get();
    std::vector<uint64_t> thread((watch.thread_bytes + 7) / 8);
    std::memcpy(thread.data(), &watch.seed, sizeof(watch.seed));
    if (!pidfd || bpf_map_update_elem(watch.threads_fd, &key, thread.data(), BPF_NOEXIST) != 0)
      return make_error(ErrorCode::kUsage,
                        fmt::format("cannot mark process {}: {}; is it still running?", subject.pid,
                                    std::strerror(errno)),
                        errno);
  }
  // A thread forked before its parent was named is found by the walk after the one that names the
  // parent.
  const auto joined = [&] { return __atomic_load_n(watch.threads_joined, __ATOMIC_RELAXED); };
  uint64_t before = UINT64_MAX;
  for (int walk = 0; walk < kMaxSeedingWalks && before != joined(); ++walk) {
    before = joined();
    TOPSPIN_TRY(walk_subject(watch));
  }
  return {};
}

}  // namespace topspin
