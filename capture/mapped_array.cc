#include "capture/mapped_array.h"

#include <cerrno>

#include <fmt/format.h>
#include <sys/mman.h>

namespace topspin {

Result<void*> map_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("cannot reserve {} MiB for the flow table: lower the limit of "
                                  "flows (--max-flows)",
                                  bytes >> 20),
                      errno);
  }
  madvise(memory, bytes, MADV_HUGEPAGE);  // refused or not, it works
  return memory;
}

void unmap_memory(void* memory, size_t bytes) { CHECK(munmap(memory, bytes) == 0); }

}  // namespace topspin
