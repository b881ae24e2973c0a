#include "probes/stacks/sleep_stacks.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "probes/bpf/bpf_object.h"
#include "probes/bpf/subject_watch.h"
#include "probes/scheduler/blocking_calls.h"
#include "probes/scheduler/bpf/scheduler_abi.h"
#include "probes/stacks/sleep_stacks_abi.h"
#include "sleep_stacks.skel.h"

namespace topspin {
namespace {

static_assert(kBlockedByCount == TOPSPIN_BLOCKED_BYS);
static_assert(TOPSPIN_SHORT_SLEEP_NS == 100'000, "kShortSleeps says so");

constexpr uint32_t kElementsAtOnce = 512;

using Key = std::array<char, sizeof(topspin_sleep_key)>;

std::string text_of(const char (&comm)[TOPSPIN_COMM]) {
  return std::string(comm, ::strnlen(comm, sizeof comm));
}

/// Who woke the thread, from the kernel's part of the waking stack. If an interrupt was being
/// handled, the thread that happened to run there is not the waker.
std::string name_waker(const topspin_sleep_key& key, const std::vector<std::string>& frames) {
  if (key.known_waker == 0) return "";
  const auto any = [&](auto... prefixes) {
    return std::ranges::any_of(
        frames, [&](const std::string& frame) { return (frame.starts_with(prefixes) || ...); });
  };
  std::string name = text_of(key.waker);
  const bool interrupted = name.empty() || any("asm_sysvec_", "asm_common_interrupt", "el1h_64_irq",
                                               "el0t_64_irq", "el0_interrupt", "el1_interrupt");
  if (interrupted) return any("hrtimer_", "__hrtimer_") ? "[timer]" : "[interrupt]";
  // Without the kernel's names it is not known whether it was an interrupt.
  return any("[kernel]") || frames.empty() ? "" : name;
}

}  // namespace

struct SleepStacks::Object {
  OwnedSkeleton<sleep_stacks> skeleton;
  std::optional<SubjectWatch> walked;  // in cgroup mode
  struct Seen {
    size_t row;
    topspin_sleep_sum counted;
  };
  std::map<Key, Seen> seen;
  using Place = std::tuple<std::string, std::string, BlockedBy, std::string>;
  std::map<Place, size_t> places;
  std::vector<SleepStackRow> rows;
  std::vector<bool> changed;
  RingBuffer ring;
  std::vector<BusyStretch> stretches;  // as they come out of it

  static int on_stretch(void* context, void* data, size_t size) {
    topspin_stretch from;
    if (size < sizeof from) return 0;
    std::memcpy(&from, data, sizeof from);
    BusyStretch& stretch = static_cast<Object*>(context)->stretches.emplace_back();
    stretch.pid = from.pid;
    stretch.tid = from.tid;
    stretch.thread = text_of(from.thread);
    stretch.began_ns = static_cast<int64_t>(from.began_ns);
    stretch.length_ns = from.length_ns;
    stretch.cpu_ns = std::min(from.cpu_ns, from.length_ns);
    return 0;
  }

  size_t row_of(Place place) {
    const auto [found, fresh] = places.try_emplace(std::move(place), rows.size());
    if (fresh) {
      SleepStackRow& row = rows.emplace_back();
      row.number = static_cast<uint32_t>(rows.size());
      std::tie(row.thread, row.frames, row.reason, row.woken_by) = found->first;
      changed.push_back(false);
    }
    return found->second;
  }

  void add(size_t row, const topspin_sleep_sum& now, topspin_sleep_sum& counted) {
    if (now.sleeps <= counted.sleeps) return;
    rows[row].sleeps += now.sleeps - counted.sleeps;
    rows[row].slept_ns += now.ns - std::min(counted.ns, now.ns);
    counted = now;
    changed[row] = true;
  }

  std::vector<uint64_t> addresses(int32_t stack) const {
    std::vector<uint64_t> frames(TOPSPIN_STACK_DEPTH);
    if (stack < 0 ||
        bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.stacks), &stack, frames.data()) != 0)
      return {};
    frames.erase(std::find(frames.begin(), frames.end(), 0u), frames.end());
    return frames;
  }

  /// Innermost first.
  std::vector<std::string> kernel_frames(int32_t stack, const CpuStacks& names) const {
    std::vector<std::string> frames;
    bool first = true;
    for (const uint64_t address : addresses(stack))
      frames.push_back(names.kernel_frame(std::exchange(first, false) ? address : address - 1));
    return frames;
  }

  Place place_of(const topspin_sleep_key& key, CpuStacks& names) const {
    // Every stack ends with the same frames: the kernel's switch, and this program within it.
    std::vector<std::string> kernel = kernel_frames(key.kernel_stack, names);
    const auto last = std::find_if(kernel.rbegin(), kernel.rend(), [](const std::string& frame) {
      return frame == "__schedule_[k]" || frame == "schedule_[k]";
    });
    kernel.erase(kernel.begin(), last.base());
    std::vector<std::string> frames;
    bool first = true;
    for (const uint64_t address : addresses(key.user_stack)) {
      const uint64_t at = std::exchange(first, false) ? address : address - 1;
      frames.push_back(key.pid > 0 ? names.user_frame(key.pid, at) : "[unknown]");
    }
    if (key.user_stack < 0) frames.emplace_back(kUnstoredStack);
    frames.insert(frames.begin(), kernel.begin(), kernel.end());
    std::string folded;
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
      if (!folded.empty()) folded += ';';
      folded += *frame;
    }
    const auto reason = static_cast<BlockedBy>(
        std::min<uint32_t>(key.reason, static_cast<uint32_t>(BlockedBy::kOther)));
    return {text_of(key.thread), std::move(folded), reason,
            name_waker(key, kernel_frames(key.waker_stack, names))};
  }

  void read_sums(CpuStacks& names) {
    std::vector<topspin_sleep_key> keys(kElementsAtOnce);
    std::vector<topspin_sleep_sum> sums(kElementsAtOnce);
    uint32_t in = 0, out = 0;
    for (bool first_batch = true;; first_batch = false) {
      uint32_t count = kElementsAtOnce;
      const int error =
          bpf_map_lookup_batch(bpf_map__fd(skeleton->maps.slept), first_batch ? nullptr : &in, &out,
                               keys.data(), sums.data(), &count, nullptr);
      if (error != 0 && errno != ENOENT) return;  // the rest is read in the next tick
      for (uint32_t i = 0; i < count; ++i) {
        Key bytes;
        std::memcpy(bytes.data(), &keys[i], sizeof(keys[i]));
        auto found = seen.find(bytes);
        if (found == seen.end())
          found = seen.emplace(bytes, Seen{row_of(place_of(keys[i], names)), {}}).first;
        add(found->second.row, sums[i], found->second.counted);
      }
      if (error != 0) return;
      in = out;
    }
  }

  std::array<topspin_sleep_sum, kBlockedByCount> counted_short{}, counted_unstored{};
  void read_rest() {
    for (size_t i = 0; i < kBlockedByCount; ++i) {
      const auto reason = static_cast<BlockedBy>(i);
      const auto take = [&](const topspin_sleep_sum& now, topspin_sleep_sum& counted,
                            std::string_view name) {
        if (now.sleeps > counted.sleeps)
          add(row_of({"", std::string(name), reason, ""}), now, counted);
      };
      take(skeleton->bss->short_sleeps[i], counted_short[i], kShortSleeps);
      take(skeleton->bss->unstored[i], counted_unstored[i], kUnstoredStack);
    }
  }
};

SleepStacks::SleepStacks(std::unique_ptr<Object> object) : object_(std::move(object)) {}
SleepStacks::~SleepStacks() = default;

Result<std::unique_ptr<SleepStacks>> SleepStacks::open(const Subject& subject) {
  const BpfLog log;
  auto object = std::make_unique<Object>();
  object->skeleton.reset(sleep_stacks::open(nullptr));
  sleep_stacks* skeleton = object->skeleton.get();
  if (skeleton == nullptr) return log.error("cannot read the BPF object", errno);
  const bool cgroup = subject.kind == SubjectSpec::Kind::kCgroup;
  skeleton->bss->subject_cgroup_id = cgroup ? subject.cgroup_id : 0;
  bpf_program__set_autoload(skeleton->progs.cgroup_attach_task, cgroup);
  name_blocking_calls(skeleton->rodata->blocked_by_of_call);
  if (const int error = sleep_stacks::load(skeleton))
    return log.error("cannot load the sleep stack programs", -error);
  TOPSPIN_TRY(attach_programs(*skeleton, log, "sleep stack"));
  const SubjectWatch watch{.threads_fd = bpf_map__fd(skeleton->maps.threads),
                           .thread_bytes = bpf_map__value_size(skeleton->maps.threads),
                           .walk = skeleton->links.walk_threads,
                           .threads_joined = &skeleton->bss->threads_joined};
  TOPSPIN_TRY(seed_subject(watch, subject));
  if (cgroup) object->walked = watch;
  TOPSPIN_ASSIGN(object->ring, open_ring(bpf_map__fd(skeleton->maps.stretches), Object::on_stretch,
                                         object.get(), "busy stretches"));
  return std::unique_ptr<SleepStacks>(new SleepStacks(std::move(object)));
}

std::vector<SleepStackRow> SleepStacks::take_interval(CpuStacks& names) {
  Object& o = *object_;
  if (o.walked) (void)walk_subject(*o.walked).ok();
  o.read_sums(names);
  o.read_rest();
  std::vector<SleepStackRow> grown;
  for (size_t i = 0; i < o.rows.size(); ++i) {
    if (o.changed[i]) grown.push_back(o.rows[i]);
    o.changed[i] = false;
  }
  return grown;
}

std::vector<BusyStretch> SleepStacks::take_stretches() {
  Object& o = *object_;
  __atomic_fetch_add(&o.skeleton->bss->stretch_epoch, 1, __ATOMIC_RELAXED);
  ring_buffer__consume(o.ring.get());
  return std::exchange(o.stretches, {});
}

uint64_t SleepStacks::stretches_lost() const { return object_->skeleton->bss->stretches_lost; }

}  // namespace topspin
