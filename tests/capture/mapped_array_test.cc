// An array that fills from its front is on huge pages behind what is used of it.
#include "capture/flows/mapped_array.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace topspin {
namespace {

/// Of the mappings that overlap the memory.
uint64_t huge_bytes(const void* memory, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  std::ifstream in("/proc/self/smaps");
  uint64_t total = 0;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    uintptr_t from = 0, to = 0;
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      inside = from < begin + bytes && begin < to;
    } else if (inside && std::sscanf(line.c_str(), "AnonHugePages: %llu kB", &kib) == 1) {
      total += kib * 1024;
    }
  }
  return total;
}

TEST(MappedArray, IsOnHugePagesBehindWhatIsUsedAlsoAfterAMove) {
  std::string setting;
  std::getline(std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled"), setting);
  if (setting.empty() || setting.find("[never]") != std::string::npos) {
    GTEST_SKIP() << "the kernel gives no huge pages: transparent_hugepage is '" << setting << "'";
  }
  constexpr size_t kWords = 4 << 20;  // 32 MiB
  auto made = MappedArray<uint64_t>::create(kWords, Filling::kFromFront);
  ASSERT_TRUE(made.ok()) << made.error().message;
  MappedArray<uint64_t> array(std::move(made).value());
  MappedArray<uint64_t> moved(std::move(array));
  constexpr size_t kUsed = kWords / 2;
  for (size_t i = 0; i < kUsed; ++i) {
    moved[i] = i;
    moved.note_used(i + 1);
  }
  const uint64_t huge = huge_bytes(moved.data(), kWords * sizeof(uint64_t));
  if (huge == 0) {
    // The same without an array: does this kernel have any to give?
    auto plain = MappedArray<uint64_t>::create(kWords, Filling::kFromFront);
    ASSERT_TRUE(plain.ok());
    for (size_t i = 0; i < kUsed; ++i) (*plain)[i] = i;
    for (size_t used = 0; used != kUsed;) {
      used = std::min(kUsed, used + (256 << 10));
      collapse_pages(plain->data(), kWords * sizeof(uint64_t), used * sizeof(uint64_t));
    }
    if (huge_bytes(plain->data(), kWords * sizeof(uint64_t)) == 0) {
      GTEST_SKIP() << "no huge pages are to be had here (an old kernel, or fragmented memory)";
    }
  }
  EXPECT_GE(huge, 4u << 20);
  for (size_t i = 0; i < kUsed; ++i) ASSERT_EQ(moved[i], i);
}

}  // namespace
}  // namespace topspin
