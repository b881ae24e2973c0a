// Symbol tables and code maps find the right names, and hostile files do no harm.
#include "probes/stacks/symbols.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "probes/stacks/cpu_stacks.h"

namespace topspin {
namespace {

extern "C" void topspin_test_a_named_function() { asm volatile(""); }

std::vector<std::byte> own_file() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  const std::string text = bytes.str();
  std::vector<std::byte> out(text.size());
  std::memcpy(out.data(), text.data(), text.size());
  return out;
}

TEST(SymbolTable, finds_what_an_address_lies_in) {
  SymbolTable table;
  table.add(100, 10, "b");
  table.add(50, 0, "a");  // up to the next one
  table.add(200, 10, "c");
  table.finish();
  EXPECT_EQ(table.find(49), "");
  EXPECT_EQ(table.find(50), "a");
  EXPECT_EQ(table.find(99), "a");
  EXPECT_EQ(table.find(100), "b");
  EXPECT_EQ(table.find(109), "b");
  EXPECT_EQ(table.find(110), "");
  EXPECT_EQ(table.find(UINT64_MAX), "");
  EXPECT_EQ(SymbolTable().find(1), "");
}

TEST(Kallsyms, keeps_code_only_and_is_empty_where_addresses_are_hidden) {
  const auto table = parse_kallsyms(
      "ffffffff81000000 T _text\nffffffff81000100 t do_work\nffffffff81000180 D data\n"
      "ffffffffc0001000 t handler\t[module]\nnonsense\n");
  EXPECT_EQ(table.find(0xffffffff81000150), "do_work");
  EXPECT_EQ(table.find(0xffffffff81000190), "do_work");  // a data symbol does not end a function
  EXPECT_EQ(table.find(0xffffffffc0001004), "handler");
  EXPECT_TRUE(parse_kallsyms("0000000000000000 T _text\n0000000000000000 t b\n").empty());
}

TEST(PerfMap, names_have_spaces_and_later_lines_do_no_harm) {
  const auto table = parse_perf_map(
      "7f00 20 LazyCompile:~handler server.js:12\n8000 0 empty\nzz 1 x\n9000 10\n9100 10 ok\n");
  EXPECT_EQ(table.find(0x7f10), "LazyCompile:~handler server.js:12");
  EXPECT_EQ(table.find(0x8000), "");
  EXPECT_EQ(table.find(0x9105), "ok");
  EXPECT_EQ(table.size(), 2u);
}

TEST(Elf, finds_this_programs_own_function) {
  const auto elf = read_elf("/proc/self/exe");
  ASSERT_TRUE(elf);
  std::ifstream maps("/proc/self/maps");
  std::ostringstream text;
  text << maps.rdbuf();
  const CodeMap code = parse_code_maps(text.str());
  const auto address = reinterpret_cast<uint64_t>(&topspin_test_a_named_function);
  const auto* found = code.find(address);
  ASSERT_NE(found, nullptr);
  const auto linked = elf->address_of(address - found->first + found->second.file_offset);
  ASSERT_TRUE(linked);
  EXPECT_EQ(elf->functions.find(*linked), "topspin_test_a_named_function");
}

/// Only the tables are read of a program with gigabytes of debug information. Here it is this
/// program, followed by a hole that makes the file 8 GiB large.
TEST(Elf, of_any_size_costs_what_its_tables_do) {
  const std::vector<std::byte> whole = own_file();
  std::string path = (std::filesystem::temp_directory_path() / "topspin-elf-XXXXXX").string();
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  const bool written =
      ::write(fd, whole.data(), whole.size()) == static_cast<ssize_t>(whole.size()) &&
      ::ftruncate(fd, int64_t{8} << 30) == 0;
  ::close(fd);
  const auto elf = written ? read_elf(path) : std::nullopt;
  ::unlink(path.c_str());
  if (!written) GTEST_SKIP() << "needs a file system that holds a sparse file of 8 GiB";
  ASSERT_TRUE(elf);
  EXPECT_EQ(elf->functions.size(), parse_elf(whole)->functions.size());
  EXPECT_GT(elf->functions.size(), 100u);
}

TEST(Elf, damaged_anywhere_is_no_crash) {
  const std::vector<std::byte> whole = own_file();
  EXPECT_FALSE(parse_elf({}));
  for (const size_t length :
       {size_t{1}, size_t{16}, size_t{63}, size_t{64}, size_t{100}, whole.size() / 2})
    (void)parse_elf(std::span(whole).first(std::min(length, whole.size())));
  std::mt19937_64 random(5);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::byte> bytes = whole;
    for (int i = 0; i < 20; ++i) {
      // The header, and the section headers at the end.
      const size_t at = i % 2 == 0 ? 16 + random() % 48 : bytes.size() - 1 - random() % 4096;
      bytes[at] = static_cast<std::byte>(random());
    }
    (void)parse_elf(bytes);
  }
}

TEST(Elf, what_is_no_regular_file_is_not_read) {
  EXPECT_FALSE(read_elf("/dev/zero"));
  EXPECT_FALSE(read_elf("/nonexistent"));
  EXPECT_FALSE(read_elf("/proc/self/maps"));
}

TEST(FrameName, is_readable_and_on_one_line) {
  EXPECT_EQ(frame_name("_ZN7topspin10frame_nameEv"), "topspin::frame_name()");
  EXPECT_EQ(frame_name("_Znonsense"), "_Znonsense");
  EXPECT_EQ(frame_name("a;b\nc\x1b[2J"), "a:b?c?[2J");
}

TEST(CodeMap, a_new_mapping_takes_the_place_of_what_it_overlaps) {
  CodeMap map;
  map.add(0x1000, {0x5000, 0, "/old"});
  map.add(0x2000, {0x3000, 0x100, "/new"});
  EXPECT_EQ(map.find(0xfff), nullptr);
  EXPECT_EQ(map.find(0x1fff)->second.path, "/old");
  EXPECT_EQ(map.find(0x2000)->second.path, "/new");
  EXPECT_EQ(map.find(0x3000)->second.path, "/old");
  EXPECT_EQ(map.find(0x3000)->second.file_offset, 0x2000u);
  EXPECT_EQ(map.find(0x5000), nullptr);
  map.add(0x0, {0x10000, 0, "/all"});
  EXPECT_EQ(map.find(0x2500)->second.path, "/all");
  map.add(0x10, {0x10, 0, "/nothing"});
  EXPECT_EQ(map.find(0x10)->second.path, "/all");
}

TEST(CodeMaps, only_executable_lines_and_paths_with_spaces) {
  const CodeMap map = parse_code_maps(
      "1000-2000 r--p 00000000 08:01 1 /lib/a\n2000-3000 r-xp 00001000 08:01 1     /lib/a b\n"
      "4000-5000 r-xp 00000000 00:00 0 \nnonsense\n6000-5000 r-xp 0 0 0 /x\n");
  EXPECT_EQ(map.find(0x1800), nullptr);
  ASSERT_NE(map.find(0x2800), nullptr);
  EXPECT_EQ(map.find(0x2800)->second.path, "/lib/a b");
  EXPECT_EQ(map.find(0x2800)->second.file_offset, 0x1000u);
  EXPECT_EQ(map.find(0x4800)->second.path, "");
  EXPECT_EQ(map.find(0x5800), nullptr);
}

}  // namespace
}  // namespace topspin
