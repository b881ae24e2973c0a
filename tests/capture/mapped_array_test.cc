// An array takes only little memory ahead of its use, and takes huge pages once it is long.
#include "capture/flows/mapped_array.h"

#include <cstdio>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace topspin {
namespace {

/// The sum of a field of smaps over the mappings that overlap the memory.
uint64_t mapped_bytes(const void* memory, size_t bytes, const std::string& field) {
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  std::ifstream in("/proc/self/smaps");
  uint64_t total = 0;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    uintptr_t from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      inside = from < begin + bytes && begin < to;
    } else if (inside && line.starts_with(field + ":")) {
      total += std::stoull(line.substr(field.size() + 1)) * 1024;
    }
  }
  return total;
}

constexpr size_t kWords = 8 << 20;  // 64 MiB
constexpr size_t kBytes = kWords * sizeof(uint64_t);

TEST(MappedArray, KeepsWhatIsInItAndTakesLittleMemoryAhead) {
  auto made = MappedArray<uint64_t>::create(kWords);
  ASSERT_TRUE(made.ok()) << made.error().message;
  MappedArray<uint64_t> array(std::move(made).value());
  for (size_t i = 0; i < kWords; ++i) {
    array.prepare(i + 1);
    ASSERT_EQ(array[i], 0u);
    array[i] = i;
    const size_t used = (i + 1) * sizeof(uint64_t);
    if ((i & (i + 1)) != 0) continue;
    const size_t ahead_max = used < kSmallBytes ? used / 32 + (128 << 10) : 2 << 20;
    EXPECT_LE(mapped_bytes(array.data(), kBytes, "Rss"), used + ahead_max) << used;
  }
  for (size_t i = 0; i < kWords; ++i) ASSERT_EQ(array[i], i);
}

TEST(MappedArray, IsOnHugePagesWhereItIsLongAlsoAfterAMove) {
  std::string setting;
  std::getline(std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled"), setting);
  if (setting.empty() || setting.find("[never]") != std::string::npos) {
    GTEST_SKIP() << "the kernel gives no huge pages: transparent_hugepage is '" << setting << "'";
  }
  auto made = MappedArray<uint64_t>::create(kWords);
  ASSERT_TRUE(made.ok()) << made.error().message;
  MappedArray<uint64_t> array(std::move(made).value());
  array.prepare(kWords / 2);
  MappedArray<uint64_t> moved(std::move(array));
  moved.prepare(kWords);
  const uint64_t huge = mapped_bytes(moved.data(), kBytes, "AnonHugePages");
  if (huge == 0) GTEST_SKIP() << "this kernel has no huge pages left: its memory is in fragments";
  EXPECT_GT(huge, kBytes / 2 - kSmallBytes);
  EXPECT_LE(huge, kBytes - kSmallBytes);
}

}  // namespace
}  // namespace topspin
