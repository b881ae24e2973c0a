// Every number of the probes of sockets and resources can be seen on the screen of its probe,
// however small the terminal is.
#include "tui/screens/number_page.h"

#include <array>
#include <set>

#include <gtest/gtest.h>

#include "tests/tui/synthetic.h"
#include "tui/controller.h"
#include "tui/views.h"

namespace topspin {
namespace {

void measure(Histogram& histogram) { histogram.record(5'000); }
template <typename T>
void measure(T& value) {
  value = T(7);
}
template <typename T>
void measure(std::optional<T>& value) {
  measure(value.emplace());
}

/// A model with one tick in which every number of the probe, except losses, was measured.
Model model_with_all_of(std::string_view probe) {
  Model model;
  model.scene = test::Synthetic{}.scene();
  Sample sample = test::Synthetic{.subject = false}.sample(1);
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    if constexpr (!kIsEventCount<Value> && !std::is_same_v<Value, SignedHistogram>) {
      if (number.probe == probe && !number.loss) measure(at.make(sample));
    }
  });
  model.add(sample);
  return model;
}

/// Whether it is one of the 60 distributions of replies with, without and mostly of each part.
/// These are only on the screen of all numbers.
bool is_of_the_tail(std::string_view name) {
  return name.starts_with("reply_with_") || name.starts_with("reply_without_") ||
         name.starts_with("reply_mostly_");
}

/// The labels of the probe's numbers that are not in the text.
std::set<std::string_view> missing(std::string_view probe, const std::string& text) {
  std::set<std::string_view> labels;
  for (const RegisteredNumber& number : numbers()) {
    if (number.probe == probe && !number.loss && !is_of_the_tail(number.name) &&
        text.find(number.label) == std::string::npos)
      labels.insert(number.label);
  }
  return labels;
}

constexpr std::array<std::string_view, 2> kProbes = {"sockets", "resources"};

TEST(NumberPage, EachNumberOfTheProbeIsOnItsScreen) {
  for (const std::string_view probe : kProbes) {
    const Model model = model_with_all_of(probe);
    ViewState state = initial_view_state(model);
    state.screen = probe;
    EXPECT_EQ(missing(probe, grid_text(draw_screen(model, state, {160, 50}))),
              std::set<std::string_view>())
        << probe;
  }
}

TEST(NumberPage, WhatIsOnNoOtherScreenIsAmongAllNumbers) {
  const Model model = model_with_all_of("sockets");
  ViewState state = initial_view_state(model);
  state.screen = "numbers";
  const std::string text = grid_text(draw_screen(model, state, {160, 400}));
  size_t count = 0;
  for (const RegisteredNumber& number : numbers()) {
    if (!is_of_the_tail(number.name)) continue;
    ++count;
    EXPECT_NE(text.find(number.name), std::string::npos) << number.name;
  }
  EXPECT_EQ(count, 60u);
}

TEST(NumberPage, OnASmallTerminalTheKeysReachEachNumber) {
  for (const std::string_view probe : kProbes) {
    const Model model = model_with_all_of(probe);
    ViewState state = initial_view_state(model);
    state.screen = probe;
    const Size size{80, 15};
    const auto press_key = [&](KeyCode code) {
      state = press(std::move(state), Key{code, 0, 0, 0}, model, size, false).state;
    };
    const auto screen = [&] { return grid_text(draw_screen(model, state, size)); };
    const std::string first = screen();
    EXPECT_NE(first.find("more rows: Down, PageDown"), std::string::npos) << first;
    std::string seen = first;
    for (int page = 0; page < 10; ++page) {
      press_key(KeyCode::kPageDown);
      seen += screen();
    }
    EXPECT_EQ(missing(probe, seen), std::set<std::string_view>()) << probe;
    // PageDown stops at the end, so the next Up moves at once.
    const std::string last = screen();
    EXPECT_EQ(last.find("more rows"), std::string::npos) << last;
    press_key(KeyCode::kUp);
    EXPECT_NE(screen(), last);
    // In a replay, Home goes to the start of the run.
    EXPECT_EQ(press(state, Key{KeyCode::kHome, 0, 0, 0}, model, size, true).effect,
              Effect::kToStart);
    press_key(KeyCode::kHome);
    EXPECT_EQ(screen(), first);
  }
}

TEST(NumberPage, WhatTheLayoutDoesNotNameComesLast) {
  const std::array<std::string_view, 2> layout = {"udp_drops", "syn_drops"};
  const auto list = numbers_of_probe("sockets", layout);
  ASSERT_GT(list.size(), 3u);
  EXPECT_EQ(list[0]->name, "udp_drops");
  EXPECT_EQ(list[1]->name, "syn_drops");
  std::set<std::string_view> names;
  for (const RegisteredNumber* number : list) EXPECT_TRUE(names.insert(number->name).second);
  for (const RegisteredNumber& number : numbers()) {
    EXPECT_EQ(names.contains(number.name), number.probe == "sockets" && !number.loss)
        << number.name;
  }
}

TEST(NumberPage, CountsAreOfTheWholeRunAndGaugesOfTheLastTick) {
  Model model;
  for (const uint64_t tick : {1, 2}) {
    Sample sample = test::Synthetic{}.sample(tick);
    sample.sockets->syn_drops = 2 * tick;
    sample.sockets->tcp_connections = 10 * tick;
    sample.sockets->accept_queue_max = 9 / tick;
    model.add(sample);
  }
  const auto text_of = [&](std::string_view name) {
    const std::array<const RegisteredNumber*, 1> one = {find_number(name)};
    const auto cells = number_cells(one, model);
    return cells.empty() ? std::string("none") : cells.front().text;
  };
  EXPECT_EQ(text_of("syn_drops"), "6");
  EXPECT_EQ(text_of("tcp_connections"), "20");
  EXPECT_EQ(text_of("accept_queue_max"), "9");
  EXPECT_EQ(text_of("tcp_srtt_max_ns"), "none");
}

}  // namespace
}  // namespace topspin
