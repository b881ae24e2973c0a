// MappedArray: room for many elements, which fills from its front.
//
// Reserved from the kernel at once and never moved, so that a growing table copies nothing; zeroed.
// The first touch of a page is a fault, which in a virtual machine costs more than all that is done
// with one packet. So memory is made ready ahead of use, in steps: a small share of what is in use,
// on small pages, and from kSmallBytes on a huge page at a time. Huge pages are faster, also
// because a table walked at random is bound by the TLB, but their unused end counts as used
// memory. Owned by its user; thread-agnostic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "core/base/result.h"

namespace topspin {

/// What comes before this many bytes of an array is on small pages.
inline constexpr size_t kSmallBytes = 16 * 1024 * 1024;

/// Zeroed memory of the kernel's, as large as asked for; fails with kUsage if there is none.
Result<void*> map_memory(size_t bytes);
void unmap_memory(void* memory, size_t bytes);

/// Makes memory ready that was mapped so long and is ready up to `ready`: at least up to `used`.
/// Says how far it is ready now.
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
    std::swap(ready_bytes_, other.ready_bytes_);
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

  /// The first `n` elements are about to be used.
  void prepare(size_t n) {
    if (n * sizeof(T) > ready_bytes_) [[unlikely]]
      ready_bytes_ = make_ready(data_, size_ * sizeof(T), ready_bytes_, n * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t ready_bytes_ = 0;
};

}  // namespace topspin
