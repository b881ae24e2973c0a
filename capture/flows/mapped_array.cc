#include "capture/flows/mapped_array.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif

namespace topspin {
namespace {

constexpr uintptr_t kHugePage = 2 * 1024 * 1024;  // elsewhere than on x86 it may differ: no harm

}  // namespace

Result<void*> map_memory(size_t bytes, Filling filling) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("cannot reserve {} MiB for the flow table: lower the limit of "
                                  "flows (--max-flows)",
                                  bytes >> 20),
                      errno);
  }
  // Refused or not, it works.
  madvise(memory, bytes, filling == Filling::kEverywhere ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return memory;
}

size_t collapse_pages(void* memory, size_t bytes, size_t used) {
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t full_end = (begin + used) & ~(kHugePage - 1);
  if (full_end >= first + kHugePage) {
    void* const newest = reinterpret_cast<void*>(full_end - kHugePage);  // NOLINT: an address
    madvise(newest, kHugePage, MADV_HUGEPAGE);
    if (madvise(newest, kHugePage, MADV_COLLAPSE) != 0 && errno == EINVAL) {
      // An older kernel gives huge pages at the first touch alone.
      madvise(newest, begin + bytes - (full_end - kHugePage), MADV_HUGEPAGE);
      return SIZE_MAX;
    }
  }
  return std::max(first, full_end) + kHugePage - begin;
}

void unmap_memory(void* memory, size_t bytes) { CHECK(munmap(memory, bytes) == 0); }

}  // namespace topspin
