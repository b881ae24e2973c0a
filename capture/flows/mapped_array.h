// MappedArray: room for many elements, of which only those touched cost memory.
//
// Reserved from the kernel at once and never moved, so that a growing table copies nothing; zeroed;
// on huge pages where the kernel gives them, since a table walked at random is bound by the TLB.
// An array that fills from its front takes small pages first, and has each 2 MiB made into a huge
// page once they are full: its last huge page is not mostly empty. Owned by its user;
// thread-agnostic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "core/base/result.h"

namespace topspin {

enum class Filling : uint8_t {
  kEverywhere,  // huge pages from the first touch
  kFromFront,   // huge pages behind note_used() alone
};

/// Zeroed memory of the kernel's, as large as asked for; fails with kUsage if there is none.
Result<void*> map_memory(size_t bytes, Filling filling);
void unmap_memory(void* memory, size_t bytes);

/// All before `used` bytes is in use: makes what is whole of it into huge pages, and says at how
/// many bytes to come back; SIZE_MAX: never.
size_t collapse_pages(void* memory, size_t bytes, size_t used);

template <typename T>
class MappedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  MappedArray() = default;
  MappedArray(MappedArray&& other) noexcept { *this = std::move(other); }
  MappedArray& operator=(MappedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(collapse_at_, other.collapse_at_);
    return *this;
  }
  ~MappedArray() {
    if (data_ != nullptr) unmap_memory(data_, size_ * sizeof(T));
  }

  static Result<MappedArray> create(size_t size, Filling filling) {
    TOPSPIN_ASSIGN(void* memory, map_memory(size * sizeof(T), filling));
    MappedArray array;
    array.data_ = static_cast<T*>(memory);
    array.size_ = size;
    if (filling == Filling::kFromFront) array.collapse_at_ = collapse_pages(memory, 0, 0);
    return array;
  }

  /// The first `n` elements are in use.
  void note_used(size_t n) {
    if (n * sizeof(T) >= collapse_at_) [[unlikely]]
      collapse_at_ = collapse_pages(data_, size_ * sizeof(T), n * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t collapse_at_ = SIZE_MAX;  // bytes
};

}  // namespace topspin
