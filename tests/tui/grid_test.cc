// The grid of cells: widths, clipping, wide characters, marks, hostile text, ASCII.
#include "tui/terminal/grid.h"

#include <gtest/gtest.h>

#include "core/base/text_width.h"
#include "tui/terminal/draw.h"

namespace topspin {
namespace {

std::string line(const Grid& grid) {
  std::string text = grid_text(grid);
  text.pop_back();
  return text;
}

TEST(Width, OfCodePoints) {
  EXPECT_EQ(code_point_width(U'a'), 1);
  EXPECT_EQ(code_point_width(U'é'), 1);
  EXPECT_EQ(code_point_width(U'\u0301'), 0);
  EXPECT_EQ(code_point_width(U'\u20DD'), 0);
  EXPECT_EQ(code_point_width(U'漢'), 2);
  EXPECT_EQ(code_point_width(U'한'), 2);
  EXPECT_EQ(code_point_width(U'！'), 2);
  EXPECT_EQ(code_point_width(U'😀'), 2);
  EXPECT_EQ(code_point_width(U'█'), 1);
  EXPECT_EQ(code_point_width(U'─'), 1);
  EXPECT_EQ(code_point_width(U'…'), 1);
  EXPECT_EQ(text_width("e\u0301漢x"), 4);
}

TEST(Grid, CutsWithAnEllipsis) {
  Grid grid({10, 1}, false);
  EXPECT_EQ(grid.put(0, 0, "abcdefgh", {}, 5), 5);
  EXPECT_EQ(line(grid), "abcd…");
  Grid whole({10, 1}, false);
  EXPECT_EQ(whole.put(0, 0, "abcde", {}, 5), 5);
  EXPECT_EQ(line(whole), "abcde");
}

TEST(Grid, NeverDrawsHalfAWideCharacter) {
  Grid grid({5, 1}, false);
  EXPECT_EQ(grid.put(0, 0, "漢字漢字"), 5);
  EXPECT_EQ(line(grid), "漢字…");
  EXPECT_EQ(grid.at(1, 0).code, U'\0');
  // Writing over one half removes the other.
  grid.put(1, 0, "x");
  EXPECT_EQ(line(grid), " x字…");
  grid.put(2, 0, "y");
  EXPECT_EQ(line(grid), " xy …");
}

TEST(Grid, AWideCharacterOverTwoOthersLeavesNoHalves) {
  Grid grid({6, 1}, false);
  grid.put(0, 0, "漢字漢");
  grid.put(1, 0, "語");
  EXPECT_EQ(line(grid), " 語 漢");
}

TEST(Grid, MarksJoinTheirCharacterAndAreBounded) {
  Grid grid({10, 1}, false);
  EXPECT_EQ(grid.put(0, 0, "e\u0301\u0302\u0303x"), 2);
  EXPECT_EQ(grid.at(0, 0).marks[0], U'\u0301');
  EXPECT_EQ(grid.at(0, 0).marks[1], U'\u0302');
  EXPECT_EQ(grid.at(1, 0).code, U'x');
  Grid alone({10, 1}, false);
  EXPECT_EQ(alone.put(0, 0, "\u0301x"), 1);
  EXPECT_EQ(line(alone), "x");
}

TEST(Grid, HostileTextIsMadeVisible) {
  Grid grid({60, 1}, false);
  grid.put(0, 0, "a\x1b[2Jb\nc\td\u202ee\u200bf\x9bg");
  EXPECT_EQ(line(grid), "a\\x1b[2Jb\\x0ac\\x09d\\u{202e}e\\u{200b}f\\x9bg");
}

TEST(Grid, AsciiHoldsNothingElse) {
  Grid grid({20, 1}, true);
  EXPECT_EQ(grid.put(0, 0, "é漢e\u0301 is cut here for sure"), 20);
  EXPECT_EQ(line(grid), "?? e is cut here fo~");
  grid.put_symbol(0, 0, U'█', '#');
  EXPECT_EQ(grid.at(0, 0).code, U'#');
}

TEST(Grid, EverythingOutsideIsClipped) {
  Grid grid({3, 2}, false);
  EXPECT_EQ(grid.put(5, 0, "x"), 0);
  EXPECT_EQ(grid.put(0, 7, "x"), 0);
  EXPECT_EQ(grid.put(0, -1, "x"), 0);
  grid.put(-1, 0, "abc");
  grid.fill(-5, -5, 100, Role::kBar);
  grid.restyle(2, 1, 100, Role::kBar);
  EXPECT_EQ(grid_text(grid), "bc\n\n");
  Grid none({0, 0}, false);
  none.put(0, 0, "x");
  EXPECT_EQ(grid_text(none), "");
}

TEST(Draw, ANumberThatDoesNotFitIsNotCut) {
  Grid grid({6, 1}, false);
  draw_value(grid, 0, 0, 6, "late", "1234567");
  EXPECT_EQ(line(grid), "late …");
}

TEST(Draw, AGraphShowsLittleAndGaps) {
  Grid grid({6, 1}, false);
  const std::vector<std::optional<double>> values = {0.0, 1.0, std::nullopt, 50.0, 100.0};
  draw_graph(grid, {0, 0, 6, 1, 0, Role::kGraph1}, values);
  EXPECT_EQ(line(grid), " ▁▁ ▄█");
}

TEST(Draw, SharesAndClocks) {
  EXPECT_EQ(share_text(std::nullopt), "-");
  EXPECT_EQ(share_text(0.0), "0.0%");
  EXPECT_EQ(share_text(0.0001), "<0.1%");
  EXPECT_EQ(share_text(0.1234), "12.3%");
  EXPECT_EQ(share_text(2.5), "250%");
  EXPECT_EQ(clock_text(3'723'000'000'000), "01:02:03");
}

}  // namespace
}  // namespace topspin
