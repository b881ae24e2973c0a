// MappedBpfArray: a BPF_F_MMAPABLE array map, mapped for reading. Reading needs no system call and
// no capability. Movable, not copyable; one thread.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/result.h"

namespace topspin {

/// REQUIRES: sizeof(T) is the size of the map's values, and a multiple of 8.
template <typename T>
class MappedBpfArray {
 public:
  static Result<MappedBpfArray> map(int map_fd, uint32_t count) {
    static_assert(sizeof(T) % 8 == 0);
    void* address = ::mmap(nullptr, bytes(count), PROT_READ, MAP_SHARED, map_fd, 0);
    if (address == MAP_FAILED)
      return make_error(ErrorCode::kInternal,
                        fmt::format("cannot map a BPF array: {}", std::strerror(errno)), errno);
    return MappedBpfArray(static_cast<const T*>(address), count);
  }
  MappedBpfArray(MappedBpfArray&& other) noexcept
      : elements_(std::exchange(other.elements_, nullptr)), count_(other.count_) {}
  MappedBpfArray& operator=(MappedBpfArray&&) = delete;
  ~MappedBpfArray() {
    if (elements_) ::munmap(const_cast<T*>(elements_), bytes(count_));
  }

  uint32_t size() const { return count_; }
  const T& operator[](size_t index) const { return elements_[index]; }

 private:
  MappedBpfArray(const T* elements, uint32_t count) : elements_(elements), count_(count) {}
  static size_t bytes(uint32_t count) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    return (count * sizeof(T) + page - 1) / page * page;
  }

  const T* elements_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace topspin
