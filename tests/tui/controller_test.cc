// Every key does what the table of keys says, and no key changes what is counted.
#include "tui/controller.h"

#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "core/tick/numbers.h"
#include "tests/support/every_night.h"
#include "tests/tui/synthetic.h"
#include "tui/screens/screens.h"
#include "tui/views.h"

namespace topspin {
namespace {

using test::Synthetic;

constexpr Size kSize{80, 24};

Key code(KeyCode c) { return {c, 0, 0, 0}; }

class Hands {
 public:
  explicit Hands(Model model, bool replay = false) : model_(std::move(model)), replay_(replay) {
    state = initial_view_state(model_);
  }
  Hands& press(Key key) {
    Pressed pressed = topspin::press(std::move(state), key, model_, kSize, replay_);
    state = std::move(pressed.state);
    effect = pressed.effect;
    return *this;
  }
  Hands& press(char32_t c) { return press(character_key(c)); }
  Hands& type(std::string_view text) {
    for (const char c : text) press(static_cast<char32_t>(c));
    return press(code(KeyCode::kEnter));
  }
  std::string screen() const { return grid_text(draw_screen(model_, state, kSize)); }
  std::string footer() const {
    std::string text = screen();
    text.pop_back();
    return text.substr(text.rfind('\n') + 1);
  }
  const Model& model() const { return model_; }

  ViewState state;
  Effect effect = Effect::kNone;

 private:
  Model model_;
  bool replay_;
};

Hands hands(uint64_t flows = 100, uint64_t ticks = 40) {
  return Hands(Synthetic{.flows = flows}.model(ticks));
}

std::string picture(const Hands& h) {
  const Grid grid = draw_screen(h.model(), h.state, kSize);
  std::string roles;
  for (int y = 0; y < grid.height(); ++y) {
    for (int x = 0; x < grid.width(); ++x) {
      roles += static_cast<char>(grid.at(x, y).style.role);
    }
  }
  return grid_text(grid) + roles;
}

TEST(Keys, NoKeyMeansTwoThings) {
  std::set<std::tuple<KeyCode, char32_t>> seen;
  for (const KeyBinding& binding : key_bindings()) {
    EXPECT_FALSE(binding.keys.empty());
    EXPECT_FALSE(binding.what.empty());
    for (const Key& key : binding.keys) {
      EXPECT_TRUE(seen.insert({key.code, key.character}).second) << binding.label;
    }
  }
}

TEST(Screens, EachHasANameAKeyAndALineOfItsOwn) {
  std::set<std::string_view> names;
  for (const Screen* screen : screens()) {
    EXPECT_TRUE(names.insert(screen->name).second) << screen->name;
    EXPECT_FALSE(screen->what.empty()) << screen->name;
    // Only the key of an overlay is also in the table of keys.
    const KeyBinding* binding = find_binding(character_key(screen->key), true);
    EXPECT_TRUE(binding == nullptr || screen->is_overlay) << screen->name;
    Hands h = hands();
    h.press(screen->key);
    EXPECT_EQ(h.state.screen, screen->name);
    EXPECT_EQ(screen_of_key(character_key(screen->key)), screen);
  }
  EXPECT_GT(screens().size(), 9u);
}

TEST(Screens, TheMenuAndHelpNameEachOfThem) {
  for (const char32_t key : {U'm', U'h'}) {
    Hands h = hands();
    h.press(key);
    const std::string text = grid_text(draw_screen(h.model(), h.state, {120, 120}));
    for (const Screen* screen : screens())
      EXPECT_NE(text.find(screen->what), std::string::npos) << screen->name;
  }
}

TEST(Screens, TheMenuOpensTheRowUnderTheCursorAndEscGoesBack) {
  Hands h = hands();
  h.press(U'6').press(U'm').press(code(KeyCode::kDown)).press(code(KeyCode::kEnter));
  EXPECT_EQ(h.state.screen, screens()[1]->name);
  h.press(U'6').press(U'm').press(U'h').press(code(KeyCode::kEscape));
  EXPECT_EQ(h.state.screen, "losses");
  h.press(U'>').press(U'<').press(U'<');
  EXPECT_EQ(h.state.screen, "liveness");
}

TEST(Numbers, EachOfTheRegistryIsOnTheScreenAndIsFound) {
  Hands h = hands();
  h.press(U'#');
  const std::string screen =
      grid_text(draw_screen(h.model(), h.state, {120, static_cast<int>(numbers().size()) + 10}));
  for (const RegisteredNumber& number : numbers()) {
    EXPECT_NE(screen.find(number.name), std::string::npos) << number.name;
    h.press(U'/').type(number.name);
    EXPECT_NE(h.screen().find(std::string(number.name.substr(0, 20))), std::string::npos);
    EXPECT_EQ(h.state.message.substr(0, number.name.size()), number.name);
  }
  EXPECT_EQ(h.state.screen, "numbers");
  h.press(U'/').type("no such number");
  EXPECT_NE(h.footer().find("no number is called"), std::string::npos);
}

TEST(Numbers, TellTheLastTickAndAllTogether) {
  Model model;
  const Synthetic synthetic{.flows = 3};
  for (uint64_t tick = 1; tick <= 2; ++tick) {
    Sample sample = synthetic.sample(tick);
    sample.losses.stacks_unstored = 1'000 * tick;
    model.add(sample);
  }
  Hands h(std::move(model));
  h.press(U'#').press(U'/').type("loss_stacks_unstored");
  const std::string screen = h.screen();
  const size_t at = screen.find("loss_stacks_unstored");
  ASSERT_NE(at, std::string::npos) << screen;
  const std::string line = screen.substr(at, screen.find('\n', at) - at);
  EXPECT_NE(line.find("2,000"), std::string::npos) << line;
  EXPECT_NE(line.find("3,000"), std::string::npos) << line;
}

TEST(Head, ShowsTheSlowestReplyBesideFailedWorkAt80Columns) {
  Synthetic synthetic{.flows = 30, .periodic = false};
  Model model;
  for (uint64_t tick = 1; tick <= 5; ++tick) model.add(synthetic.sample(tick));
  const std::string screen = Hands(std::move(model)).screen();
  EXPECT_NE(screen.find("reply max"), std::string::npos) << screen;
  EXPECT_NE(screen.find("failed"), std::string::npos) << screen;
}

TEST(Processes, AddUpWhatTheirFlowsBringInATick) {
  const FlowKey key;
  Model model;
  Sample sample;
  sample.tick = 1;
  sample.interval_ns = test::kSecond;
  sample.flows.end_ns = test::kSecond;
  FlowOwner client, server;
  client.number = 1;
  client.pid = 11;
  client.name = "client";
  server.number = 2;
  server.pid = 22;
  server.name = "server";
  sample.changed_owners = {client, server};
  FlowRow row;
  row.key = key;
  row.id = 1;
  row.bytes = {3'000, 700};
  row.owners = {1, 2};
  sample.changed_flows = {row};
  row.id = 2;
  row.bytes = {0, 300};
  sample.changed_flows.push_back(row);
  model.add(sample);
  Hands h(std::move(model));
  h.press(U'0');
  const std::string screen = h.screen();
  const auto line_of = [&](const std::string& name) {
    const size_t at = screen.find(" " + name);
    return at == std::string::npos ? "" : screen.substr(at, screen.find('\n', at) - at);
  };
  // In and out, as seen from each end.
  const std::string of_client = line_of("client"), of_server = line_of("server");
  EXPECT_LT(of_client.find("1000 B/s"), of_client.find("2.93 KiB/s")) << screen;
  EXPECT_LT(of_server.find("2.93 KiB/s"), of_server.find("1000 B/s")) << screen;
  h.press(code(KeyCode::kDown)).press(U'w');
  EXPECT_EQ(h.effect, Effect::kWatchProcess);
  EXPECT_EQ(h.state.wanted_pid, 22);
}

// In a state in which every key of the table can do something, each one changes the picture or the
// theme, freezes, or asks for an effect.
TEST(Keys, EveryKeyOfTheTableDoesSomething) {
  for (const bool replay : {false, true}) {
    for (const KeyBinding& binding : key_bindings()) {
      for (const Key& key : binding.keys) {
        if (binding.replay_only && !replay) continue;
        Hands h(Synthetic{.flows = 100}.model(40), replay);
        h.state.selected = 50;
        h.state.top = 40;
        h.state.search_text = ":400";
        if (key == code(KeyCode::kEscape)) h.type("").press(U'a');
        const std::string before = picture(h);
        const ThemeName theme = h.state.theme;
        const bool frozen = h.state.frozen;
        h.press(key);
        EXPECT_TRUE(picture(h) != before || h.state.theme != theme || h.state.frozen != frozen ||
                    h.effect != Effect::kNone)
            << binding.label << (replay ? " (replay)" : "");
      }
    }
  }
}

// The head shows what is counted. No sequence of keys changes it.
TEST(Keys, NoKeyChangesTheCounts) {
  Hands h = hands();
  const auto head = [&] {
    const std::string text = h.screen();
    return text.substr(0, text.find("1Flow "));
  };
  const std::string expected = head();
  uint64_t random = 7;
  for (int i = 0; i < test::repeats(500, 2000); ++i) {
    random = Synthetic::mix(random + 1);
    const auto bindings = key_bindings();
    const KeyBinding& binding = bindings[random % bindings.size()];
    if (binding.command == Command::kFreeze) continue;  // writes FROZEN into the head
    h.press(binding.keys[(random >> 32) % binding.keys.size()]);
    ASSERT_EQ(head(), expected) << i << ' ' << binding.label;
  }
  EXPECT_EQ(h.model().history().back().active_flows, 97u);
}

TEST(Controller, MovesAndKeepsTheCursorInSight) {
  Hands h = hands();
  h.press(code(KeyCode::kDown)).press(U'j');
  EXPECT_EQ(h.state.selected, 2u);
  h.press(code(KeyCode::kUp)).press(U'k').press(U'k');
  EXPECT_EQ(h.state.selected, 0u);
  h.press(code(KeyCode::kEnd));
  EXPECT_EQ(h.state.selected, 99u);
  EXPECT_EQ(h.state.top, 100u - static_cast<uint64_t>(flow_rows_visible(kSize)));
  h.press(code(KeyCode::kPageUp));
  EXPECT_LT(h.state.selected, 99u);
  h.press(code(KeyCode::kHome));
  EXPECT_EQ(h.state.selected, 0u);
  EXPECT_EQ(h.state.top, 0u);
  h.press(code(KeyCode::kWheelDown));
  EXPECT_EQ(h.state.selected, 3u);
}

TEST(Controller, FilterShowsLessAndCountsTheSame) {
  Hands h = hands();
  h.press(U'f');
  EXPECT_EQ(h.state.prompt, Prompt::kFilter);
  h.type("tcp");
  h.press(code(KeyCode::kHome));  // any key removes the message
  EXPECT_NE(h.footer().find("100 flows"), std::string::npos) << h.footer();
  EXPECT_NE(h.footer().find("10 shown"), std::string::npos) << h.footer();
  h.press(U'f').type(" port");
  EXPECT_NE(h.state.message.find("is no port"), std::string::npos);
  EXPECT_EQ(h.state.filter_text, "tcp");  // a wrong filter does not replace the old one
  h.press(code(KeyCode::kEscape));
  EXPECT_TRUE(h.state.filter.empty());
}

TEST(Controller, PromptsTakeKeysAsText) {
  Hands h = hands();
  h.press(U'/').press(U'q').press(U'é').press(code(KeyCode::kBackspace)).press(U'1');
  EXPECT_EQ(h.state.input, "q1");
  EXPECT_EQ(h.effect, Effect::kNone);
  h.press(code(KeyCode::kEscape));
  EXPECT_EQ(h.state.prompt, Prompt::kNone);
  EXPECT_EQ(h.state.search_text, "");
  h.press(U'/');
  for (int i = 0; i < 1000; ++i) h.press(U'x');
  EXPECT_LE(h.state.input.size(), 200u);
}

TEST(Controller, SearchFollowsItsFlowThroughTheOrder) {
  Hands h = hands();
  h.press(U'/').type(":40042");
  ASSERT_TRUE(h.state.followed_id);
  EXPECT_EQ(*h.state.followed_id, 42u);
  for (int i = 0; i < 5; ++i) {
    h.press(U's');
    EXPECT_EQ(*h.state.followed_id, 42u);
    const std::string text = h.screen();
    EXPECT_NE(text.find(":40042"), std::string::npos) << text;
  }
  h.press(code(KeyCode::kDown));
  EXPECT_FALSE(h.state.followed_id);
  h.press(U'/').type("nothing like this");
  EXPECT_NE(h.state.message.find("not found"), std::string::npos);
}

TEST(Controller, EntersAFlowAndComesBack) {
  Hands h = hands();
  h.press(code(KeyCode::kEnter));
  ASSERT_TRUE(h.state.detail_id);
  EXPECT_NE(h.screen().find("missed ticks"), std::string::npos);
  h.press(U'q');
  EXPECT_FALSE(h.state.detail_id);
  EXPECT_EQ(h.effect, Effect::kNone);
  h.press(U'q');
  EXPECT_EQ(h.effect, Effect::kQuit);
}

TEST(Controller, QQuitsOnEachScreenAndEscGoesBackToTheFlows) {
  for (const Screen* screen : screens()) {
    Hands h = hands();
    h.press(screen->key).press(U'q');
    EXPECT_EQ(h.effect, screen->is_overlay ? Effect::kNone : Effect::kQuit) << screen->name;
    EXPECT_EQ(h.state.screen, screen->is_overlay ? "flows" : screen->name);
    h.press(screen->key).press(code(KeyCode::kEscape));
    EXPECT_EQ(h.effect, Effect::kNone) << screen->name;
    EXPECT_EQ(h.state.screen, "flows") << screen->name;
  }
}

TEST(Controller, EntersAGroupsFlows) {
  Hands h = hands(200);
  h.press(U'a').press(U'a');
  EXPECT_EQ(h.state.grouping, Grouping::kInitiatorHost);
  const FlowPage groups = query_flows(h.model(), h.state.flow_query(), 0, 1);
  h.press(code(KeyCode::kEnter));
  EXPECT_EQ(h.state.grouping, Grouping::kNone);
  EXPECT_EQ(query_flows(h.model(), h.state.flow_query(), 0, 1).matching, groups.page[0].flows);
}

TEST(Controller, RotatesAndSwaps) {
  Hands h = hands();
  EXPECT_NE(h.screen().find(" Size"), std::string::npos);
  h.press(U']');
  EXPECT_NE(h.screen().find(" Data"), std::string::npos) << h.screen();
  h.press(U']');
  EXPECT_NE(h.screen().find("Packets"), std::string::npos);
  h.press(code(KeyCode::kLeft)).press(U'[');
  EXPECT_NE(h.screen().find(" Size"), std::string::npos);
  EXPECT_NE(h.screen().find("10.0.0.1:40003 192.168.7.1:8888"), std::string::npos);
  h.press(code(KeyCode::kTab));
  EXPECT_NE(h.screen().find("192.168.7.1:8888 10.0.0.1:40003"), std::string::npos) << h.screen();
}

TEST(Controller, TheTimelinesCursorReadsOneMoment) {
  Hands h = hands();
  h.press(U'4').press(code(KeyCode::kLeft)).press(code(KeyCode::kLeft));
  EXPECT_EQ(h.state.cursor_tick, 38u);
  EXPECT_NE(h.screen().find("00:00:38"), std::string::npos);
  h.press(code(KeyCode::kRight)).press(code(KeyCode::kRight));
  EXPECT_EQ(h.state.cursor_tick, std::nullopt);
  h.press(code(KeyCode::kHome));
  EXPECT_EQ(h.state.cursor_tick, 1u);
}

TEST(Controller, TheTimelinesMomentLeadsToItsSlowReplies) {
  Hands h = hands();
  h.press(U'4');
  for (int i = 0; i < 9; ++i) h.press(code(KeyCode::kLeft));
  h.press(code(KeyCode::kEnter));
  EXPECT_EQ(h.state.screen, "slowest");
  EXPECT_NE(h.screen().find("00:00:31: 1 of 5; Esc: all"), std::string::npos) << h.screen();
  h.press(code(KeyCode::kEscape));
  EXPECT_EQ(h.state.screen, "slowest");
  EXPECT_EQ(h.screen().find("Esc: all"), std::string::npos);
  h.press(code(KeyCode::kEscape));
  EXPECT_EQ(h.state.screen, "flows");
  // A moment without slow replies.
  h.press(U'4').press(code(KeyCode::kRight)).press(code(KeyCode::kEnter));
  EXPECT_NE(h.screen().find("00:00:32: 0 of 5; Esc: all"), std::string::npos) << h.screen();
  EXPECT_NE(h.screen().find("none of the slowest replies was sent then"), std::string::npos);
}

TEST(Controller, AColumnOfTheWholeRunLeadsToTheSlowRepliesOfItsTicks) {
  Hands h(Synthetic{.flows = 5}.model(200));
  h.state.screen = "timeline";
  h.state.whole_run = true;
  h.state.cursor_tick = 158;  // in the column of ticks 157 to 160
  h.press(code(KeyCode::kEnter));
  ASSERT_TRUE(h.state.slowest_of);
  EXPECT_EQ(h.state.slowest_of->first, 157u);
  EXPECT_EQ(h.state.slowest_of->last, 160u);
  EXPECT_NE(h.screen().find("00:02:37-00:02:40: 1 of"), std::string::npos) << h.screen();
}

TEST(Controller, ChoosesColumns) {
  Hands h = hands();
  h.press(U'c').press(U'j').press(U'j').press(U' ').press(U'c');
  EXPECT_FALSE(h.state.choosing_columns);
  EXPECT_EQ(h.screen().find("Prot"), std::string::npos);
}

TEST(Controller, ClicksChooseRowsAndScreens) {
  Hands h = hands();
  const ScreenLayout layout = screen_layout(kSize);
  h.press({KeyCode::kClick, 0, 5, layout.body_y + 1 + 4});
  EXPECT_EQ(h.state.selected, 4u);
  h.press({KeyCode::kClick, 0, 10, layout.tabs_y});
  EXPECT_EQ(h.state.screen, "scheduler");
  h.press({KeyCode::kClick, 0, 10'000, 10'000});
  EXPECT_EQ(h.state.screen, "scheduler");
}

TEST(Controller, ReplayStepsWithArrows) {
  Hands h(Synthetic{.flows = 5}.model(4), true);
  EXPECT_EQ(h.press(code(KeyCode::kRight)).effect, Effect::kStepOn);
  EXPECT_EQ(h.press(code(KeyCode::kLeft)).effect, Effect::kStepBack);
  EXPECT_EQ(h.press(U'+').effect, Effect::kFaster);
  EXPECT_EQ(h.press(U'w').effect, Effect::kWorstLateness);
  EXPECT_EQ(hands().press(U'w').effect, Effect::kNone);
}

// Any key at any size on any screen with any model: nothing crashes, and the grid has the size that
// was asked for.
TEST(Controller, SurvivesAnything) {
  uint64_t random = 99;
  for (const uint64_t flows : {0u, 1u, 57u}) {
    Model model = flows == 0 ? Model() : Synthetic{.flows = flows, .hostile = true}.model(35);
    ViewState state = initial_view_state(model);
    for (int i = 0; i < test::repeats(750, 3000); ++i) {
      random = Synthetic::mix(random + 1);
      const Size size{static_cast<int>(random % 140), static_cast<int>((random >> 20) % 50)};
      const auto bindings = key_bindings();
      const KeyBinding& binding = bindings[(random >> 32) % bindings.size()];
      Key key = binding.keys[(random >> 50) % binding.keys.size()];
      if (i % 13 == 0) key = character_key(screens()[random % screens().size()]->key);
      if (i % 17 == 0)
        key = {KeyCode::kClick, 0, static_cast<int>(random % 150), static_cast<int>(random % 60)};
      const Pressed pressed = press(state, key, model, size, i % 2 == 0);
      state = pressed.state;
      state.ascii = i % 3 == 0;
      if (pressed.effect == Effect::kPurge && i % 5 == 0) model.purge_flows();
      const Grid grid = draw_screen(model, state, size);
      ASSERT_EQ(grid.width(), size.width);
      ASSERT_EQ(grid.height(), size.height);
    }
  }
}

Key click(int x, int y) { return {KeyCode::kClick, 0, x, y}; }

TEST(Controller, AClickOnATitleSortsAndAgainTurnsRound) {
  Hands h = hands();
  const std::string screen = h.screen();
  // The titles are in the first line below the tabs.
  const int y = screen_layout(kSize).body_y;
  std::istringstream lines(screen);
  std::string titles;
  for (int i = 0; i <= y; ++i) std::getline(lines, titles);
  const auto x = static_cast<int>(titles.find("Rate"));
  ASSERT_GT(x, 0) << screen;
  h.press(click(x, y));
  EXPECT_EQ(h.state.sort, FlowColumn::kRate);
  EXPECT_FALSE(h.state.reverse);
  h.press(click(x, y));
  EXPECT_EQ(h.state.sort, FlowColumn::kRate);
  EXPECT_TRUE(h.state.reverse);
  h.press(click(79, 23)).press(click(79, y + 500)).press(click(-1, -1));
  EXPECT_EQ(h.state.sort, FlowColumn::kRate);
  EXPECT_FALSE(h.state.detail_id);
}

TEST(Controller, AClickOnARowOpensIt) {
  Hands h = hands();
  const FlowPage page = query_flows(h.model(), h.state.flow_query(), 0, 5);
  h.press(click(3, screen_layout(kSize).body_y + 1 + 4));
  EXPECT_EQ(h.state.detail_id, page.page[4].entry.row.id);
}

TEST(Controller, PacketsOpenFromAFlowAndTheCursorStaysOnItsPacket) {
  const Synthetic synthetic{.flows = 100};
  Model model = synthetic.model(40);
  model.packets = FlowPackets(1);
  model.packets.add(synthetic.packets(1, 40));
  Hands h(std::move(model));
  h.state.detail_id = 1;
  h.press(code(KeyCode::kEnter));
  EXPECT_TRUE(h.state.packets_open);
  EXPECT_EQ(selected_packet(h.model(), h.state), 39u);
  h.press(code(KeyCode::kUp)).press(U'k');
  EXPECT_EQ(h.state.packet, 37u);
  EXPECT_NE(h.screen().find("bytes"), std::string::npos);
  h.press(code(KeyCode::kHome));
  EXPECT_EQ(h.state.packet, 0u);
  h.press(code(KeyCode::kEnd));
  EXPECT_EQ(h.state.packet, std::nullopt);  // follows new packets
  h.press(U'q');
  EXPECT_FALSE(h.state.packets_open);
  EXPECT_TRUE(h.state.detail_id);
  h.press(code(KeyCode::kEscape));
  EXPECT_FALSE(h.state.detail_id);
}

TEST(Controller, ChoosesAnInterface) {
  Hands h = hands();
  h.press(U'9').press(code(KeyCode::kDown)).press(U'j').press(code(KeyCode::kEnter));
  EXPECT_EQ(h.effect, Effect::kSwitchInterface);
  EXPECT_EQ(h.state.wanted_interface, "eth0");
  for (int i = 0; i < 10; ++i) h.press(code(KeyCode::kDown));
  h.press(code(KeyCode::kEnter));
  EXPECT_EQ(h.state.wanted_interface, "docker0");
  Hands none{Model()};
  none.press(U'9').press(code(KeyCode::kEnter));
  EXPECT_EQ(none.effect, Effect::kNone);
}

TEST(Controller, ReplayGoesToATime) {
  Hands h(Synthetic{.flows = 10}.model(20), true);
  const auto time_of = [&](const char* text) -> std::optional<int64_t> {
    h.press(U'g').type(text);
    if (h.effect != Effect::kToTime) return std::nullopt;
    return h.state.wanted_time_ns / 1'000'000'000;
  };
  EXPECT_EQ(time_of("90"), 90);
  EXPECT_EQ(time_of("1:30"), 90);
  EXPECT_EQ(time_of("1:00:01"), 3601);
  for (const char* text : {"", "x", "1:", ":1", "1:2:3:4", "-5", "99999999999"}) {
    EXPECT_EQ(time_of(text), std::nullopt) << text;
  }
  Hands live(Synthetic{.flows = 10}.model(20));
  live.press(U'g');
  EXPECT_EQ(live.state.prompt, Prompt::kNone);
}

TEST(Controller, NamesAreAskedForWhatIsVisibleOnly) {
  Hands h = hands(100);
  EXPECT_TRUE(missing_names(h.model(), h.state, kSize).hosts.empty());
  h.press(U'n');
  const NameWants wants = missing_names(h.model(), h.state, kSize);
  EXPECT_FALSE(wants.hosts.empty());
  EXPECT_LE(wants.hosts.size(), 2u * static_cast<size_t>(flow_rows_visible(kSize)));
  h.press(U'n');
  EXPECT_TRUE(missing_names(h.model(), h.state, kSize).hosts.empty());
}

TEST(Columns, OfLatenessAreThereWhereSomethingHasAPeriodOrTheyWereChosen) {
  const auto title_line = [](const Hands& h) {
    std::istringstream stream(grid_text(draw_screen(h.model(), h.state, {120, 24})));
    std::string line;
    for (int i = 0; i < 6; ++i) std::getline(stream, line);
    return line;
  };
  Hands periodic(Synthetic{.flows = 20}.model(40));
  Hands other(Synthetic{.flows = 20, .periodic = false}.model(40));
  for (const char* title : {"Late", "Worst", "Missed"}) {
    EXPECT_NE(title_line(periodic).find(title), std::string::npos) << title;
    EXPECT_EQ(title_line(other).find(title), std::string::npos) << title;
  }
  other.press(U'c');
  while (other.state.column_cursor < static_cast<size_t>(FlowColumn::kMissed))
    other.press(code(KeyCode::kDown));
  other.press(U' ').press(U'c');
  EXPECT_NE(title_line(other).find("Missed"), std::string::npos);
  EXPECT_EQ(title_line(other).find("Worst"), std::string::npos);
  // The same key hides a column that is shown.
  other.press(U'c').press(U' ').press(U'c');
  EXPECT_EQ(title_line(other).find("Missed"), std::string::npos);
}

TEST(Timeline, HasRowsForSilenceAndForRequestsWithoutAnAnswer) {
  const auto timeline = [](const Model& model) {
    ViewState state = initial_view_state(model);
    state.screen = "timeline";
    return grid_text(draw_screen(model, state, {120, 40}));
  };
  const std::string periodic = timeline(Synthetic{.flows = 80}.model(40));
  EXPECT_NE(periodic.find("silent flows"), std::string::npos);
  EXPECT_NE(periodic.find("unanswered"), std::string::npos);
  const std::string other = timeline(Synthetic{.flows = 80, .periodic = false}.model(40));
  EXPECT_EQ(other.find("silent"), std::string::npos);
  EXPECT_EQ(other.find("lateness"), std::string::npos);
}

TEST(Timeline, TheMostIsOfTheWholeRunAlsoWhereItIsOutOfSight) {
  Model model;
  const Synthetic synthetic{.flows = 10};
  for (uint64_t tick = 1; tick <= 120; ++tick) {
    Sample sample = synthetic.sample(tick);
    if (tick <= 5) sample.flows.active_flows = 2'000;
    model.add(sample);
  }
  ViewState state = initial_view_state(model);
  state.screen = "timeline";
  EXPECT_NE(grid_text(draw_screen(model, state, {80, 48})).find("most 2,000"), std::string::npos);
}

TEST(Timeline, ZoomsOutToTheWholeRunWithTheMostOfEachColumnsTicks) {
  Model model;
  const Synthetic synthetic{.flows = 10};
  for (uint64_t tick = 1; tick <= 600; ++tick) {
    Sample sample = synthetic.sample(tick);
    if (tick == 3) sample.flows.active_flows = 2'000;
    model.add(sample);
  }
  Hands h(std::move(model));
  h.press(U'4');
  EXPECT_EQ(h.screen().find("00:00:01"), std::string::npos) << h.screen();
  h.press(U'z');
  EXPECT_NE(h.screen().find("00:00:01"), std::string::npos) << h.screen();
  EXPECT_NE(h.screen().find("ticks a column"), std::string::npos) << h.screen();
  // The cursor moves from column to column. The peak is shown although it is one tick of many.
  h.press(code(KeyCode::kLeft));
  EXPECT_LT(h.state.cursor_tick.value_or(600), 599u);
  h.press(code(KeyCode::kHome));
  const std::string screen = h.screen();
  const size_t name = screen.rfind("active flows");
  EXPECT_NE(screen.find("\n 2,000 ", name), std::string::npos) << screen;
  h.press(U'z').press(U'q');
  EXPECT_EQ(h.screen().find("00:00:01"), std::string::npos) << h.screen();
}

TEST(Losses, NamesEachOfThemWithItsMeaningAndWhatOccurredFirst) {
  Model model;
  const Synthetic synthetic{.flows = 3};
  Sample sample = synthetic.sample(1);
  sample.losses.stacks_unstored = 4'711;  // far down in the list
  model.add(sample);
  ViewState state = initial_view_state(model);
  state.screen = "losses";
  const std::string screen = grid_text(draw_screen(model, state, {160, 50}));
  LossInterval::for_each_field([&](const char* name, auto) {
    const size_t at = screen.find(name);
    ASSERT_NE(at, std::string::npos) << name;
    const std::string line = screen.substr(at, screen.find('\n', at) - at);
    EXPECT_GT(line.size(), 80u) << name << " has no meaning beside it";
  });
  // If there is no room for all, the losses that occurred are shown.
  EXPECT_NE(grid_text(draw_screen(model, state, {80, 12})).find("4,711"), std::string::npos);
}

TEST(Processes, SayHowManyWereLeftOut) {
  Model model;
  model.add(Synthetic{.flows = 3}.sample(1));
  ViewState state = initial_view_state(model);
  state.screen = "processes";
  ProcessReadings readings;
  for (int32_t pid = 1; pid <= 100; ++pid)
    readings.processes[pid] = {1, "worker", static_cast<uint64_t>(pid), 0, 4096};
  readings.read_ns = 1'000'000'000;
  model.processes.update(readings);
  EXPECT_EQ(grid_text(draw_screen(model, state, {120, 20})).find("not read"), std::string::npos);
  readings.left_out = 1'234;
  readings.read_ns = 2'000'000'000;
  readings.processes[7].cpu_ns += 250'000'000;
  model.processes.update(readings);
  const std::string screen = grid_text(draw_screen(model, state, {120, 20}));
  EXPECT_NE(screen.find("1,234 more processes were not read"), std::string::npos) << screen;
  EXPECT_NE(screen.find(" 25.0% "), std::string::npos) << screen;
  EXPECT_EQ(model.processes.cpu(7), 0.25);
  EXPECT_EQ(model.processes.cpu(8), 0.0);
}

TEST(Sockets, OfAStoredRunAreShownAtEachMoment) {
  Model model;
  model.scene.flows_are_final = true;
  model.scene.subject = "server";
  const Synthetic synthetic{.flows = 3};
  Sample first = synthetic.sample(1);
  first.changed_sockets[0].closed = true;
  model.add(first);
  for (uint64_t tick = 2; tick <= 30; ++tick) {
    Sample sample = synthetic.sample(tick);
    sample.changed_sockets.clear();
    model.add(sample);
  }
  ViewState state = initial_view_state(model);
  state.screen = "sockets";
  const std::string screen = grid_text(draw_screen(model, state, {120, 40}));
  EXPECT_NE(screen.find("Socket (2), of the whole run"), std::string::npos);
  EXPECT_NE(screen.find("listen 192.168.7.1:8888"), std::string::npos);
}

}  // namespace
}  // namespace topspin
