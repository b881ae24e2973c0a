// The CSV reader: what it accepts, and that a refusal names the line and the cell.
#include "core/number/csv.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Csv, TakesQuotesLineEndsAndAByteOrderMark) {
  const auto table =
      parse_csv("\xef\xbb\xbfname,value\r\n\"a, \"\"b\"\"\",1\r\n\"two\nlines\",+2.5e3\r\n", "t");
  ASSERT_TRUE(table.ok()) << table.error().message;
  EXPECT_THAT(table->columns, ElementsAre("name", "value"));
  EXPECT_THAT(table->rows[0], ElementsAre("a, \"b\"", "1"));
  EXPECT_THAT(table->rows[1], ElementsAre("two\nlines", "+2.5e3"));
  EXPECT_THAT(table->lines, ElementsAre(2u, 3u));
  EXPECT_THAT(*column_numbers(*table, 1), ElementsAre(1, 2500));
}

TEST(Csv, TakesAFileWithAndWithoutALastLineEnd) {
  for (const char* text : {"x\n1\n2", "x\n1\n2\n", "x\n1\n2\n\n"}) {
    const auto table = parse_csv(text, "t");
    ASSERT_TRUE(table.ok()) << table.error().message;
    EXPECT_THAT(*column_numbers(*table, 0), ElementsAre(1, 2)) << text;
  }
  const auto empty = parse_csv("x,y\n", "t");
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->rows.empty());
}

TEST(Csv, RefusesWithLineAndCell) {
  const auto message = [](std::string_view text) {
    const auto table = parse_csv(text, "t.csv");
    return table.ok() ? std::string("taken") : table.error().message;
  };
  EXPECT_THAT(message(""), HasSubstr("t.csv is empty"));
  EXPECT_THAT(message("1\n2\n"), HasSubstr("line 1, column 1: \"1\" is a number"));
  EXPECT_THAT(message("x,x\n"), HasSubstr("names two columns"));
  EXPECT_THAT(message("x,\n"), HasSubstr("without a name"));
  EXPECT_THAT(message("x,y\n1,2\n3\n"), HasSubstr("line 3: 1 cells where the first line names 2"));
  EXPECT_THAT(message("x,y\n1,2,3\n"), HasSubstr("line 2: 3 cells"));
  EXPECT_THAT(message("x,y\n\n1,2\n"), HasSubstr("line 2: 1 cells"));
  EXPECT_THAT(message("x\n\"1\n"), HasSubstr("does not end"));
  EXPECT_THAT(message("x\n\"1\"2\n"), HasSubstr("line 2, cell 1: text follows a quoted cell"));
  EXPECT_THAT(message("x\n1\"2\n"), HasSubstr("a quote inside a cell"));
  EXPECT_THAT(message(std::string_view("x\n1\0\n", 5)), HasSubstr("zero byte"));
}

TEST(Csv, RefusesWhatIsNoFiniteNumber) {
  for (const char* cell : {"abc", "", "1,", "1 2", "nan", "inf", "-inf", "1e999", "0x10", "1_000",
                           "--1", "+", "1.2.3"}) {
    const auto table = parse_csv("x,\"a b\"\n0,1\n0,\"" + std::string(cell) + "\"\n", "t.csv");
    ASSERT_TRUE(table.ok()) << cell;
    const auto numbers = column_numbers(*table, 1);
    ASSERT_FALSE(numbers.ok()) << cell;
    EXPECT_EQ(numbers.error().code, ErrorCode::kInput);
    EXPECT_THAT(numbers.error().message,
                HasSubstr("t.csv, line 3, column a b: \"" + std::string(cell) + "\""));
  }
}

TEST(Csv, NamesTheColumnsThereAre) {
  const auto table = parse_csv("x,y\n1,2\n", "t.csv");
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(*find_column(*table, "y"), 1u);
  EXPECT_THAT(find_column(*table, "z").error().message, HasSubstr("no column z; it has x, y"));
  EXPECT_THAT(only_column(*table).error().message, HasSubstr("--column: x, y"));
  EXPECT_EQ(*only_column(*parse_csv("x\n1\n", "t.csv")), 0u);
}

TEST(Csv, ReadsFilesAndSaysWhyNot) {
  test::TempDir dir;
  std::ofstream(dir.file("a.csv")) << "x\n1\n";
  EXPECT_TRUE(read_csv_file(dir.file("a.csv")).ok());
  const auto missing = read_csv_file(dir.file("b.csv"));
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kInput);
  EXPECT_THAT(missing.error().message, HasSubstr("No such file"));
  EXPECT_FALSE(read_csv_file(dir.path().string()).ok());
  std::ofstream(dir.file("empty.csv")) << "";
  EXPECT_THAT(read_csv_file(dir.file("empty.csv")).error().message, HasSubstr("is empty"));
}

}  // namespace
}  // namespace topspin
