#include "probes/runtime/runtime_spans.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probes/bpf/bpf_object.h"
#include "probes/bpf/mapped_array.h"
#include "probes/bpf/subject_watch.h"
#include "probes/perf/uprobe_opener.h"
#include "probes/runtime/code_files.h"
#include "runtime_spans.skel.h"

namespace topspin {
namespace {

/// BPF numbers processes as the initial pid namespace does. Whether our /proc does too.
bool sees_initial_pids() {
  constexpr ino_t kInitialPidNamespace = 0xeffffffc;
  struct stat info {};
  return ::stat("/proc/self/ns/pid", &info) == 0 && info.st_ino == kInitialPidNamespace;
}

class BpfRuntimeSpans final : public RuntimeSpans {
 public:
  BpfRuntimeSpans(OwnedSkeleton<runtime_spans> skeleton, MappedBpfArray<topspin_cells> cells,
                  UprobeOpener opener, const Subject& subject)
      : skeleton_(std::move(skeleton)),
        opener_(std::move(opener)),
        cells_(std::move(cells)),
        program_fds_(loaded_programs(skeleton_->obj)),
        follows_cgroup_(subject.kind == SubjectSpec::Kind::kCgroup) {}

  SubjectWatch watch() const {
    return {.threads_fd = bpf_map__fd(skeleton_->maps.threads),
            .thread_bytes = bpf_map__value_size(skeleton_->maps.threads),
            .walk = skeleton_->links.walk_threads,
            .threads_joined = &skeleton_->bss->threads_joined};
  }

  Status attach(const std::string& path, std::span<const PlacedPoint> points) override {
    const BpfLog log;
    std::vector<UniqueFd> links;
    for (const PlacedPoint& point : points) {
      TOPSPIN_ASSIGN(UniqueFd event, opener_.open({path, point.file_offset, point.semaphore_offset,
                                                   point.is_return}));
      // libbpf would first test whether the kernel supports this, and lacks the privilege by now.
      bpf_link_create_opts options{};
      options.sz = sizeof(options);
      static_assert(sizeof(options.perf_event.bpf_cookie) == sizeof(point.what));
      std::memcpy(&options.perf_event.bpf_cookie, &point.what, sizeof(point.what));
      UniqueFd link(bpf_link_create(bpf_program__fd(skeleton_->progs.on_point), event.get(),
                                    BPF_PERF_EVENT, &options));
      if (!link) return log.error("cannot attach to it", errno, false);
      links.push_back(std::move(event));
      links.push_back(std::move(link));
    }
    std::ranges::move(links, std::back_inserter(links_));
    return {};
  }

  RuntimeReading read(const std::array<bool, TOPSPIN_RUNTIME_KINDS>& kinds) override {
    // If a walk fails, threads that joined the cgroup other than by fork are found by the next
    // walk.
    if (follows_cgroup_) (void)walk_subject(watch()).ok();
    RuntimeReading reading;
    for (uint32_t at = 0; at < cells_.size(); ++at) {
      const uint32_t kind = at % TOPSPIN_RUNTIME_KINDS;
      if (kinds[kind]) reading.spans[kind].merge(read_histogram(cells_[at]));
    }
    const ProgramStats stats = read_program_stats(program_fds_);
    reading.unfinished = skeleton_->bss->unfinished;
    reading.no_room = skeleton_->bss->no_room + skeleton_->bss->threads_refused + stats.missed_runs;
    reading.bpf_ns = stats.run_ns;
    return reading;
  }

  void forget_ended(const std::string& proc_root) override {
    if (!sees_initial_pids()) return;
    const int map = bpf_map__fd(skeleton_->maps.open_spans);
    topspin_runtime_open span{}, next{};
    std::vector<topspin_runtime_open> ended;
    for (int more = bpf_map_get_next_key(map, nullptr, &next); more == 0;
         more = bpf_map_get_next_key(map, &span, &next)) {
      span = next;
      if (::access(fmt::format("{}/{}", proc_root, span.process).c_str(), F_OK) != 0)
        ended.push_back(span);
    }
    for (const topspin_runtime_open& one : ended) (void)bpf_map_delete_elem(map, &one);
  }

  void follow_cgroup(uint64_t new_id) override {
    if (follows_cgroup_) skeleton_->bss->subject_cgroup_id = new_id;
  }

 private:
  OwnedSkeleton<runtime_spans> skeleton_;
  UprobeOpener opener_;
  MappedBpfArray<topspin_cells> cells_;
  std::vector<int> program_fds_;
  bool follows_cgroup_;
  std::vector<UniqueFd> links_;
};

}  // namespace

Result<std::unique_ptr<RuntimeSpans>> RuntimeSpans::open(const Subject& subject) {
  const BpfLog log;
  TOPSPIN_ASSIGN(UprobeOpener opener, UprobeOpener::start());
  // Try it on one of topspin's own functions, to find out at once whether the kernel allows it.
  const auto own = own_file_offset(reinterpret_cast<uintptr_t>(&sees_initial_pids));
  TOPSPIN_TRY(opener.open({fmt::format("/proc/{}/exe", ::getpid()), own.value_or(0)}));
  OwnedSkeleton<runtime_spans> skeleton(runtime_spans::open(nullptr));
  if (!skeleton) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  skeleton->bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  bpf_program__set_autoload(skeleton->progs.cgroup_attach_task, cgroup);
  TOPSPIN_ASSIGN(auto cells, load_programs<topspin_cells>(*skeleton, skeleton->maps.cells,
                                                          TOPSPIN_RUNTIME_KINDS, log, "runtime"));
  TOPSPIN_TRY(attach_programs(*skeleton, log, "runtime"));
  auto opened = std::make_unique<BpfRuntimeSpans>(std::move(skeleton), std::move(cells),
                                                  std::move(opener), subject);
  TOPSPIN_TRY(seed_subject(opened->watch(), subject));
  return Result<std::unique_ptr<RuntimeSpans>>(std::move(opened));
}

}  // namespace topspin
