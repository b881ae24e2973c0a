// Why: what stands out in the last minute, with its evidence, what would refute it, and what to do.
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/base/text_width.h"
#include "tui/screens/screens.h"

namespace topspin {
namespace {

struct WhyLine {
  std::string label, text;
  Role role = Role::kNormal;
};

/// Splits text at spaces into lines of at most `width` cells; a longer word gets its own line.
std::vector<std::string> wrapped(std::string_view text, int width) {
  std::vector<std::string> pieces(1);
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    std::string& last = pieces.back();
    if (!last.empty() && text_width(last) + 1 + text_width(word) > width)
      pieces.emplace_back(word);
    else
      last += (last.empty() ? "" : " ") + std::string(word);
  }
  return pieces;
}

void add_wrapped(std::vector<WhyLine>& lines, std::string_view label, std::string_view text,
                 Role role, int width) {
  if (text.empty()) return;
  for (std::string& piece : wrapped(text, width)) {
    lines.push_back({std::string(label), std::move(piece), role});
    label = "";
  }
}

constexpr int kWhyLabelWidth = 12;

std::vector<WhyLine> why_lines(const Model& model, int width) {
  std::vector<WhyLine> lines;
  const int room = std::max(width - kWhyLabelWidth - 1, 20);
  size_t number = 0;
  for (const CauseText& cause : model.scene.causes) {
    if (number > 0) lines.push_back({});
    add_wrapped(lines, fmt::format("{}", ++number), cause.sentence,
                cause.stands_out ? Role::kWarning : Role::kOnTime, room);
    add_wrapped(lines, "evidence", cause.evidence, Role::kNormal, room);
    add_wrapped(lines, "refuted by", cause.refuted_by, Role::kNormal, room);
    add_wrapped(lines, "next", cause.next_step, Role::kNormal, room);
  }
  return lines;
}

uint64_t why_rows(const Model& model, const ViewState&) { return why_lines(model, 80).size(); }

}  // namespace

static void draw_why(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const std::vector<WhyLine> lines = why_lines(model, area.width);
  const auto rows = static_cast<uint64_t>(area.height);
  const uint64_t most = lines.size() > rows ? lines.size() - rows : 0;
  const uint64_t top = std::min(state.list("why").top, most);
  for (uint64_t i = 0; i < rows && top + i < lines.size(); ++i) {
    const WhyLine& line = lines[top + i];
    const int y = area.y + static_cast<int>(i);
    grid.put(area.x + 1, y, line.label, Role::kDim, std::min(kWhyLabelWidth - 1, area.width - 1));
    grid.put(area.x + 1 + kWhyLabelWidth, y, line.text, line.role, area.width - kWhyLabelWidth - 1);
  }
  if (lines.empty()) grid.put(area.x + 1, area.y, "no tick yet", Role::kDim, area.width - 1);
}

const Screen& why_screen() {
  static const Screen kScreen = {
      .name = "why",
      .title = "Why",
      .short_title = "Why",
      .key = U'y',
      .what = "causes of late replies and failed work in the last minute, with evidence",
      .draw = draw_why,
      .rows = why_rows,
  };
  return kScreen;
}

}  // namespace topspin
