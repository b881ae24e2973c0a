// MappedArray is memory for many elements, which is used from the front.
//
// All of it is reserved from the kernel at once and never moves, so a growing table copies nothing.
// It is zeroed. The first touch of a page causes a fault, which in a virtual machine costs more
// than all other work for one packet. So memory is populated ahead of use, in steps: first a small
// share of what is in use, on small pages, and beyond kSmallBytes one huge page at a time. Huge
// pages are faster, because random access to a table is limited by the TLB, but their unused part
// counts as used memory. Owned by its user; thread-agnostic.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "core/base/result.h"

namespace topspin {

/// The first kSmallBytes of an array are on small pages.
inline constexpr size_t kSmallBytes = 16 * 1024 * 1024;

/// Reserves zeroed memory; fails with kUsage if the kernel refuses.
Result<void*> map_memory(size_t bytes);
void unmap_memory(void* memory, size_t bytes);

/// Populates memory of `bytes` bytes, so far ready up to `ready`, at least up to `used`. Returns
/// how far it is ready now.
size_t make_ready(void* memory, size_t bytes, size_t ready, size_t used);

template <typename T>
class MappedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  MappedArray() = default;
  MappedArray(MappedArray&& other) noexcept { *this = std::move(other); }
  MappedArray& operator=(MappedArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    other.ready_bytes_ = ready_bytes_.exchange(other.ready_bytes_);
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

  /// The first `n` elements are about to be used. Another thread may ask for the same meanwhile: at
  /// worst both do it.
  void prepare(size_t n) {
    const size_t ready = ready_bytes_.load(std::memory_order_relaxed);
    if (n * sizeof(T) > ready) [[unlikely]] {
      ready_bytes_.store(make_ready(data_, size_ * sizeof(T), ready, n * sizeof(T)),
                         std::memory_order_relaxed);
    }
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
  std::atomic<size_t> ready_bytes_ = 0;
};

}  // namespace topspin
