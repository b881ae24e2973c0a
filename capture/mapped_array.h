// MappedArray: room for many elements, of which only those touched cost memory.
//
// Reserved from the kernel at once and never moved, so that a growing table copies nothing; zeroed;
// on huge pages where the kernel gives them, since a table walked at random is bound by the TLB.
// Owned by its user; thread-agnostic.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "core/result.h"

namespace topspin {

/// Zeroed memory of the kernel's, as large as asked for; fails with kUsage if there is none.
Result<void*> map_memory(size_t bytes);
void unmap_memory(void* memory, size_t bytes);

template <typename T>
class MappedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  MappedArray() = default;
  MappedArray(MappedArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedArray& operator=(MappedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedArray() {
    if (data_ != nullptr) unmap_memory(data_, size_ * sizeof(T));
  }

  static Result<MappedArray> create(size_t size) {
    TOPSPIN_ASSIGN(void* memory, map_memory(size * sizeof(T)));
    MappedArray array;
    array.data_ = static_cast<T*>(memory);
    array.size_ = size;
    return array;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace topspin
