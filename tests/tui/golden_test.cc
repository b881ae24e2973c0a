// Golden screens: each view at four sizes, in UTF-8 and ASCII, with ordinary text, hostile text and
// nothing to show, must equal the files in golden/. TOPSPIN_UPDATE_GOLDEN=1 rewrites them; look at
// the difference before you keep it.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "tests/tui/synthetic.h"
#include "tui/views.h"

namespace topspin {
namespace {

struct GoldenCase {
  std::string name;
  std::string_view screen;
  bool detail = false;
  bool columns = false;
  Grouping grouping = Grouping::kNone;
  bool packets = false;
  bool names = false;
};

const std::vector<GoldenCase>& cases() {
  static const std::vector<GoldenCase> kCases = {
      {"flows", "flows"},
      {"flow_detail", "flows", true},
      {"columns", "flows", false, true},
      {"by_responder", "flows", false, false, Grouping::kResponder},
      {"by_host", "flows", false, false, Grouping::kInitiatorHost},
      {"by_nets", "flows", false, false, Grouping::kNets},
      {"scheduler", "scheduler"},
      {"resources", "resources"},
      {"timeline", "timeline"},
      {"liveness", "liveness"},
      {"losses", "losses"},
      {"syscalls", "syscalls"},
      {"sockets", "sockets"},
      {"interfaces", "interfaces"},
      {"packets", "flows", true, false, Grouping::kNone, true},
      {"names", "flows", false, false, Grouping::kNone, false, true},
      {"processes", "processes"},
      {"numbers", "numbers"},
      {"slowest", "slowest"},
      {"slowest_of", "slowest", true},
      {"menu", "menu"},
      {"help", "help"},
  };
  return kCases;
}

constexpr std::array<Size, 4> kSizes = {Size{80, 24}, Size{120, 40}, Size{40, 10}, Size{1, 1}};

/// The styles as a second picture, with one letter for the role of each cell.
std::string role_picture(const Grid& grid) {
  std::string out;
  for (int y = 0; y < grid.height(); ++y) {
    std::string line;
    for (int x = 0; x < grid.width(); ++x) {
      const auto role = static_cast<int>(grid.at(x, y).style.role);
      line += role == 0 ? ' ' : static_cast<char>('a' + role - 1);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

/// Every line of a screen must be harmless and at most as wide as the screen.
void expect_harmless(const Grid& grid, const std::string& text) {
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    EXPECT_EQ(sanitize_for_terminal(line), line);
    EXPECT_LE(text_width(line), grid.width()) << line;
  }
  if (!grid.ascii()) return;
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
}

void check_golden(const std::string& name, const Model& model, const GoldenCase& golden_case) {
  const bool update = std::getenv("TOPSPIN_UPDATE_GOLDEN") != nullptr;
  for (const bool ascii : {false, true}) {
    std::string pictures;
    for (const Size size : kSizes) {
      ViewState state = initial_view_state(model);
      state.ascii = ascii;
      state.colours = ascii ? 0 : 256;
      state.screen = golden_case.screen;
      state.choosing_columns = golden_case.columns;
      state.grouping = golden_case.grouping;
      state.packets_open = golden_case.packets;
      state.names = golden_case.names;
      if (golden_case.packets && model.flows().empty()) state.detail_id = 1;
      if (golden_case.detail && !model.flows().empty()) state.detail_id = model.flows()[2].row.id;
      if (golden_case.screen == "timeline" && model.tick() > 20) state.cursor_tick = 22;
      if (golden_case.screen == "slowest" && golden_case.detail)
        state.slowest_of = ChosenTicks{20, 24, "00:00:20-00:00:24"};
      const Grid grid = draw_screen(model, state, size);
      const std::string text = grid_text(grid);
      expect_harmless(grid, text);
      pictures +=
          "== " + std::to_string(size.width) + "x" + std::to_string(size.height) + '\n' + text;
      // Roles do not depend on the character set, so one picture of them is enough.
      if (!ascii && size == kSizes[0]) pictures += "== roles\n" + role_picture(grid);
    }
    const std::filesystem::path path = std::filesystem::path(TOPSPIN_SOURCE_DIR) /
                                       "tests/tui/golden" /
                                       (name + (ascii ? ".ascii.txt" : ".utf8.txt"));
    if (update) {
      std::ofstream(path) << pictures;
      continue;
    }
    std::ifstream file(path);
    std::stringstream expected;
    expected << file.rdbuf();
    EXPECT_EQ(expected.str(), pictures) << path << " (TOPSPIN_UPDATE_GOLDEN=1 writes it)";
  }
}

/// Adds what the owner of the screen looks up besides the Samples: names and packets.
Model looked_up(const test::Synthetic& synthetic, Model model) {
  const Endpoint client = synthetic.client(1), server = synthetic.server();
  const uint8_t version = synthetic.ipv6 ? 6 : 4;
  model.names.set_host({client.address, version},
                       synthetic.hostile ? "\x1b[2J\u202eevil\n" : "client-1.example.net");
  model.names.set_host({server.address, version}, "server");
  model.names.set_service({server.port, kProtocolUdp}, synthetic.hostile ? "p\tq" : "pings");
  model.names.set_service({client.port, kProtocolUdp}, "");
  const uint64_t id = model.flows()[2].row.id;
  model.packets = FlowPackets(id);
  model.packets.add(synthetic.packets(id, 40));
  return model;
}

TEST(Golden, EachViewShowsARun) {
  const test::Synthetic synthetic{.flows = 30, .losses_at = 12};
  const Model model = looked_up(synthetic, synthetic.model(45));
  for (const GoldenCase& c : cases()) {
    SCOPED_TRACE(c.name);
    check_golden(c.name, model, c);
  }
}

/// Clients come, stay and leave. A part of the memory that they took is not given back.
TEST(Golden, ResourcesSayWhatAFlowCostsWhereThatEndsAndWhatLeaked) {
  const test::Synthetic synthetic{.flows = 30};
  Model model;
  model.scene = synthetic.scene();
  for (int64_t tick = 1; tick <= 120; ++tick) {
    Sample sample = synthetic.sample(static_cast<uint64_t>(tick));
    const int64_t came = std::clamp<int64_t>(100 * (tick - 20), 0, 2000);
    const int64_t went = std::clamp<int64_t>(100 * (tick - 70), 0, 2000);
    sample.flows.active_flows = static_cast<uint64_t>(came - went);
    ResourceReading& r = *sample.resources;
    r.rss_bytes = (int64_t{48} << 20) + (came - went) * 30'000 + went * 6'000;
    r.fds = 20 + came - went;
    r.mappings = 320;
    r.vsz_bytes = (int64_t{1200} << 20) + came * 40'000;
    r.process_fds = {r.fds, 20'000};
    sample.pressure.host.cpu_some_ns = static_cast<uint64_t>(sample.interval_ns / 20);
    sample.pressure.host.memory_some_ns = 0;
    model.add(sample);
  }
  check_golden("resources_after_a_wave", model, {"resources", "resources"});
}

TEST(Golden, TheWorstCauseStandsInTheFooterAndAllStandInWhy) {
  const test::Synthetic synthetic{.flows = 30};
  for (const bool hostile : {false, true}) {
    Model model = synthetic.model(45);
    const std::string name = hostile ? "wr\x1b[31mite\u202e" : "renderPage";
    model.scene.causes = {
        {"The server was busy with other work instead of reading: requests lay unread in the "
         "socket "
         "for 62.0ms (p99) while a thread worked for up to 83.1ms without a pause; 91% of its CPU "
         "samples are in " +
             name,
         "p99 of reply_socket_ns 62.0ms, max of busy_stretch_ns 83.1ms",
         "the long stretches on a CPU are of threads that read no requests",
         "`topspin record --stacks 99` names the function; move it off the loop, or cut it up"},
        {"A limit is near", "fds used 700, fds limit 1,024", "", "raise the limit"}};
    check_golden(hostile ? "hostile_why" : "why", model, {"why", "why"});
    check_golden(hostile ? "hostile_cause" : "cause", model, {"flows", "flows"});
    model.scene.causes = {
        {"Nothing stands out: p99 of the reply latency is 473us", "", "", "", false}};
    if (!hostile) check_golden("why_nothing", model, {"why", "why"});
  }
}

TEST(Golden, HostileTextIsHarmlessInEachView) {
  const test::Synthetic synthetic{.flows = 8, .hostile = true, .ipv6 = true};
  const Model model = looked_up(synthetic, synthetic.model(12));
  for (const GoldenCase& c : cases()) {
    if (c.name == "help" || c.name == "menu" || c.name == "columns")
      continue;  // they show no text from outside
    SCOPED_TRACE(c.name);
    check_golden("hostile_" + c.name, model, c);
  }
}

TEST(Golden, EachViewHasSomethingToSayOfNothing) {
  Model model;
  model.scene.source = "lo";
  for (const GoldenCase& c : cases()) {
    if (c.name == "help" || c.name == "menu" || c.name == "columns") continue;
    SCOPED_TRACE(c.name);
    check_golden("nothing_" + c.name, model, c);
  }
}

}  // namespace
}  // namespace topspin
