// Where the time went: flame graphs of CPU samples and of sleeps. Text and Markdown list the
// functions instead.
#include <cmath>

#include <fmt/format.h>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

Span weight_of(const Flame& flame, size_t side) {
  const double all = flame.frames.front().weight[side];
  return flame.is_sleep ? duration(all) : count(static_cast<uint64_t>(all));
}

Line sides_in_words(const Flame& flame) {
  std::vector<Line> sides;
  for (size_t side = 0; side < flame.sides; ++side) {
    Line line;
    if (flame.sides > 1) line = say("{}: ", side == 0 ? "A" : "B");
    append(line, flame.is_sleep ? say("{} asleep", weight_of(flame, side))
                                : say("{} samples", weight_of(flame, side)));
    if (flame.runs[side] != 1 || flame.sides > 1)
      append(line, say(" in {}", plural(flame.runs[side], "run", "runs")));
    sides.push_back(std::move(line));
  }
  return listed(sides, "; ");
}

Line note_on(const Flame& flame) {
  Line note = say("Each box is a function, below the one that called it. ");
  const char* of = flame.is_sleep ? "time asleep" : "CPU samples";
  if (flame.sides == 1)
    append(note, say("Its width is the share of the {} in which it was on the stack. ", of));
  else
    append(note, say("Its width is the share of B's {} in which it was on the stack, its colour "
                     "the change against its share in A. ",
                     of));
  append(note, sides_in_words(flame));
  append(note, ".");
  if (flame.frames_left_out > 0)
    append(note,
           say(" {} with less than {} {} left out.", plural(flame.frames_left_out, "box", "boxes"),
               share(flame.smallest_share), flame.frames_left_out == 1 ? "is" : "are"));
  return note;
}

/// "+2.10 points".
Span points(double change) { return words(fmt::format("{:+.2f} points", 100 * change)); }

Table functions_table(const Flame& flame) {
  Table table;
  table.title = flame.is_sleep ? "Asleep in" : "On a CPU in";
  table.most_in_text = 8;
  if (flame.sides == 1) {
    table.columns = columns({"", "Itself", "With what it calls"});
  } else {
    table.columns = columns({"", "A itself", "B itself", "Change", "A with what it calls",
                             "B with what it calls", "Change"});
  }
  for (const FlameFunction& f : flame.functions) {
    std::vector<Cell> cells{code(f.name, 120)};
    for (const FlameWeight& weight : {f.self, f.total}) {
      for (size_t side = 0; side < flame.sides; ++side)
        cells.emplace_back(share(flame.share(weight, side)));
      if (flame.sides > 1)
        cells.emplace_back(points(flame.share(weight, 1) - flame.share(weight, 0)));
    }
    table.rows.push_back({std::move(cells)});
  }
  return table;
}

}  // namespace

Blocks flames(const ReportPage& page) {
  Blocks blocks;
  for (const Flame& flame : page.flames) {
    Plot plot{flame.id, flame.is_sleep ? say("Where it slept") : say("Where CPU time went")};
    if (flame.sides > 1) append(plot.title, ", B against A");
    plot.note = note_on(flame);
    plot.tables.push_back(functions_table(flame));
    plot.tables_in_text = true;
    blocks.emplace_back(std::move(plot));
  }
  return blocks;
}

}  // namespace topspin::sections
