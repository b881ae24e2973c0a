#include "capture/flows/mapped_array.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace topspin {
namespace {

constexpr size_t kHugePage = 2 * 1024 * 1024;  // on x86; another size elsewhere does no harm
constexpr size_t kSmallStep = 64 * 1024;
constexpr size_t kSmallShare = 128;  // populate ahead 1/128 of what is in use

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

Result<void*> map_memory(size_t bytes) {
  // Linux aligns mappings that are long enough for huge pages to a huge page.
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("cannot reserve {} MiB for the flow table: lower the limit of "
                                  "flows (--max-flows)",
                                  bytes >> 20),
                      errno);
  }
  // Only hints: it works even if the kernel refuses them.
  const size_t small = std::min(bytes, kSmallBytes);
  madvise(memory, small, MADV_NOHUGEPAGE);
  if (bytes > small) madvise(static_cast<char*>(memory) + small, bytes - small, MADV_HUGEPAGE);
  return memory;
}

size_t make_ready(void* memory, size_t bytes, size_t ready, size_t used) {
  const size_t small_end = round_up(used + used / kSmallShare, kSmallStep);
  const size_t end =
      std::min(bytes, small_end <= kSmallBytes ? small_end : round_up(used, kHugePage));
  // Older kernels refuse this, and populate pages at the first touch.
  if (end > ready) madvise(static_cast<char*>(memory) + ready, end - ready, MADV_POPULATE_WRITE);
  return std::max(end, ready);
}

void unmap_memory(void* memory, size_t bytes) { CHECK(munmap(memory, bytes) == 0); }

}  // namespace topspin
