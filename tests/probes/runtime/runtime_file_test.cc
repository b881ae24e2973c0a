// The files that describe runtimes, and how the points that they name are found in ELF files.
#include "probes/runtime/runtime_file.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "probes/runtime/code_files.h"
#include "probes/runtime/runtime_points.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

extern "C" [[gnu::used]] void topspin_test_span_begins() { asm volatile("# begins"); }
extern "C" [[gnu::used]] void topspin_test_span_ends() { asm volatile("# ends"); }

const std::string kHead = "name = \"own\"\nobjects = [\"*\"]\n";

TEST(RuntimeFiles, ThoseThatAreBuiltInAreRight) {
  EXPECT_THAT(built_in_runtimes(),
              UnorderedElementsAre("cpython", "go", "go-tasks", "jvm", "node"));
  const auto all = select_runtimes("auto");
  ASSERT_TRUE(all.ok()) << all.error().message;
  EXPECT_THAT(*all, SizeIs(4)) << "go-tasks is expensive: not of auto";
  for (const RuntimeFile& runtime : *all) EXPECT_THAT(runtime.spans, testing::Not(IsEmpty()));
  const auto two = select_runtimes("node,go-tasks");
  ASSERT_TRUE(two.ok());
  EXPECT_EQ((*two)[0].name, "node");
  EXPECT_EQ((*two)[1].name, "go-tasks");
  EXPECT_THAT(select_runtimes("none").value(), IsEmpty());
  EXPECT_THAT(select_runtimes("perl").error().message,
              HasSubstr("use auto, none, a FILE.toml, or one of cpython, "));
  EXPECT_THAT(select_runtimes("/no/such.toml").error().message, HasSubstr("No such file"));
}

TEST(RuntimeFiles, SayWhereTheyAreWrong) {
  const auto refusal = [](const std::string& text) {
    const auto parsed = parse_runtime_file(text, "f.toml");
    return parsed.ok() ? "nothing" : parsed.error().message;
  };
  const std::string span = kHead + "[[span]]\nkind = \"gc\"\n";
  EXPECT_EQ(refusal(span + "begin = \"a\"\nend = \"b\"\n"), "nothing");
  EXPECT_THAT(refusal("name = \"x\"\n"), HasSubstr("objects is missing"));
  EXPECT_THAT(refusal(kHead), HasSubstr("at least one [[span]]"));
  EXPECT_THAT(refusal(span), HasSubstr("f.toml:3: a span needs begin"));
  EXPECT_THAT(refusal(span + "begin = \"a\"\n"), HasSubstr("needs begin (or resume) and end"));
  EXPECT_THAT(refusal(span + "begin = \"a\"\nend = \"b\"\nto = 1\n"), HasSubstr("unknown key to"));
  EXPECT_THAT(refusal(kHead + "[[span]]\nkind = \"x\"\nbegin = \"a\"\nend = \"b\"\n"),
              HasSubstr("kind must be one of gc, gc_cycle"));
  EXPECT_THAT(refusal(span + "by = 4\nbegin = \"a\"\nend = \"b\"\n"), HasSubstr("by must be"));
  EXPECT_THAT(refusal(span + "begin = \"usdt:a\"\nend = \"b\"\n"), HasSubstr("a point is"));
  EXPECT_THAT(refusal(span + "begin = { at = \"a\" }\nend = \"b\"\n"),
              HasSubstr("argument and is"));
  EXPECT_THAT(refusal(span + "by = 1\nbegin = \"a\"\nend = \"return:b\"\n"),
              HasSubstr("only the entry"));
  EXPECT_THAT(refusal("go = true\n" + span + "begin = \"a\"\nend = \"return:b\"\n"),
              HasSubstr("moves its stacks"));
  EXPECT_THAT(refusal("[[[\n"), HasSubstr("f.toml:1: "));
}

RuntimeInObject found_in_own(const std::string& spans, const std::string& head = kHead) {
  const auto elf = open_elf("/proc/self/exe");
  const auto runtime = parse_runtime_file(head + spans, "own.toml");
  EXPECT_TRUE(runtime.ok()) << runtime.error().message;
  return find_runtime(*runtime, *elf);
}

TEST(RuntimePoints, AreWhereTheFunctionsAre) {
  const RuntimeInObject found = found_in_own(
      "[[span]]\nkind = \"stop\"\nbegin = \"topspin_test_span_begins\"\n"
      "end = \"return:topspin_test_span_en*\"\n");
  ASSERT_TRUE(found.is_there);
  EXPECT_THAT(found.missing, IsEmpty());
  EXPECT_THAT(found.kinds, ElementsAre(2u));
  ASSERT_THAT(found.points, SizeIs(2));
  EXPECT_EQ(found.points[0].file_offset,
            own_file_offset(reinterpret_cast<uintptr_t>(&topspin_test_span_begins)));
  EXPECT_EQ(found.points[1].file_offset,
            own_file_offset(reinterpret_cast<uintptr_t>(&topspin_test_span_ends)));
  EXPECT_FALSE(found.points[0].is_return);
  EXPECT_TRUE(found.points[1].is_return);
}

TEST(RuntimePoints, WhatIsMissingIsSaid) {
  const RuntimeInObject found = found_in_own(
      "[[span]]\nkind = \"gc\"\nbegin = \"topspin_test_span_begins\"\nend = \"no_such_function\"\n"
      "[[span]]\nkind = \"gc\"\nbegin = \"usdt:a:b\"\nend = \"topspin_test_span_ends\"\n");
  EXPECT_TRUE(found.is_there);
  EXPECT_THAT(found.points, IsEmpty());
  EXPECT_THAT(found.kinds, IsEmpty());
  EXPECT_THAT(found.missing, ElementsAre("gc (no no_such_function, a:b)"));
}

TEST(RuntimePoints, AnObjectWithoutItsMarkIsNotTheRuntime) {
  const std::string span = "[[span]]\nkind = \"gc\"\nbegin = \"a\"\nend = \"b\"\n";
  EXPECT_TRUE(found_in_own(span, "section = \".symtab\"\n" + kHead).is_there);
  EXPECT_FALSE(found_in_own(span, "section = \".go.buildinfo\"\n" + kHead).is_there);
  EXPECT_TRUE(found_in_own(span, "symbol = \"main\"\n" + kHead).is_there);
  EXPECT_FALSE(found_in_own(span, "symbol = \"uv_run\"\n" + kHead).is_there);
}

TEST(CodeFiles, AreTheMappingsOfFilesWithCode) {
  const auto files = parse_code_files(
      "7f00-7f10 r-xp 00001000 fe:01 1234      /usr/bin/with space\n"
      "7f10-7f20 r--p 00002000 fe:01 1234      /usr/bin/node\n"
      "7f20-7f30 r-xp 00000000 00:00 0         [vdso]\n"
      "7f30-7f40 r-xp 00000000 00:00 0\n"
      "7f40-7f50 r-xp 00000000 fe:01 7         /tmp/gone (deleted)\n"
      "nonsense\n7f\n");
  ASSERT_THAT(files, SizeIs(1));
  EXPECT_EQ(files[0].path, "/usr/bin/with space");
  EXPECT_EQ(files[0].inode, 1234u);
  EXPECT_EQ(files[0].file_offset, 0x1000u);
}

}  // namespace
}  // namespace topspin
