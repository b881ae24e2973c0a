// The cost of the screen: the time of a frame of each view, of adding a tick to the model, and of a
// search, and the CPU share of 4 frames and 1 tick per second. Measured at 1,000, 100,000 and
// 1,000,000 live flows (or as many as the arguments say), nearly all of which send in each tick.
// Prints one JSON object per line: {"name", "value", "unit"}.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <time.h>

#include "tests/tui/synthetic.h"
#include "tui/controller.h"
#include "tui/screens/screens.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr Size kSize{200, 60};

int64_t cpu_now_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * test::kSecond + now.tv_nsec;
}

int64_t median(std::vector<int64_t> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

void report(const std::string& name, uint64_t flows, double value, const char* unit) {
  std::printf("{\"name\": \"tui_%s_%llu_flows\", \"value\": %.3f, \"unit\": \"%s\"}\n",
              name.c_str(), static_cast<unsigned long long>(flows), value, unit);
  std::fflush(stdout);
}

void measure(uint64_t flows) {
  const test::Synthetic synthetic{.flows = flows};
  Model model;
  model.scene = synthetic.scene();
  const uint64_t warm = flows >= 1'000'000 ? 12 : 130;
  std::vector<int64_t> tick_times;
  for (uint64_t tick = 1; tick <= warm; ++tick) {
    const Sample sample = synthetic.sample(tick);
    const int64_t begin = cpu_now_ns();
    model.add(sample);
    tick_times.push_back(cpu_now_ns() - begin);
  }
  const int64_t tick_ns = median(tick_times);
  report("tick", flows, static_cast<double>(tick_ns) / 1e6, "ms");

  const int repeats = flows >= 1'000'000 ? 3 : 21;
  ViewState state = initial_view_state(model);
  int64_t first_frame_ns = 0, next_frame_ns = 0;
  const auto cpu_of = [](auto call) {
    const int64_t begin = cpu_now_ns();
    call();
    return cpu_now_ns() - begin;
  };
  const auto frame_ns = [&] { return cpu_of([&] { (void)draw_screen(model, state, kSize); }); };
  uint64_t tick = warm;
  for (const Screen* screen : screens()) {
    state.screen = screen->name;
    // The first frame after a tick reads all rows; those until the next tick show the same ones.
    std::vector<int64_t> first, next;
    for (int i = 0; i < repeats; ++i) {
      model.add(synthetic.sample(++tick));
      first.push_back(frame_ns());
      next.push_back(frame_ns());
    }
    if (state.screen == "flows") {
      first_frame_ns = median(first);
      next_frame_ns = median(next);
    }
    const std::string name = "frame_" + std::string(screen->title);
    report(name, flows, static_cast<double>(median(first)) / 1e6, "ms");
    report(name + "_again", flows, static_cast<double>(median(next)) / 1e6, "ms");
  }
  state = initial_view_state(model);
  /// Each call comes after a tick, so that nothing is kept from the call before.
  const auto median_ns = [&](auto call) {
    std::vector<int64_t> times;
    for (int i = 0; i < repeats; ++i) {
      model.add(synthetic.sample(++tick));
      times.push_back(cpu_of(call));
    }
    return median(times);
  };
  const auto key_then_frame = [&](const char* name, auto prepare, Key key) {
    const int64_t ns = median_ns([&] {
      ViewState now = state;
      prepare(now);
      const Pressed pressed = press(now, key, model, kSize, false);
      (void)draw_screen(model, pressed.state, kSize);
    });
    report(name, flows, static_cast<double>(ns) / 1e6, "ms");
  };
  key_then_frame(
      "sort", [](ViewState&) {}, character_key(U's'));
  key_then_frame("page_down_in_the_middle", [&](ViewState& s) { s.selected = s.top = flows / 2; },
                 {KeyCode::kPageDown, 0, 0, 0});
  key_then_frame(
      "search_not_found", [](ViewState& s) { s.search_text = "not there"; }, character_key(U'N'));
  key_then_frame(
      "search_found", [](ViewState& s) { s.search_text = ":41234"; }, character_key(U'N'));
  key_then_frame(
      "follow", [](ViewState& s) { s.followed_id = 777; }, character_key(U'S'));
  const int64_t filter_ns = median_ns([&] {
    ViewState now = state;
    now.filter = FlowFilter::parse("tcp and dst port 8888").value();
    (void)draw_screen(model, now, kSize);
  });
  report("frame_filtered", flows, static_cast<double>(filter_ns) / 1e6, "ms");
  const int64_t group_ns = median_ns([&] {
    ViewState now = state;
    now.grouping = Grouping::kInitiatorHost;
    (void)draw_screen(model, now, kSize);
  });
  report("frame_by_host", flows, static_cast<double>(group_ns) / 1e6, "ms");
  const double share = static_cast<double>(tick_ns + first_frame_ns + 3 * next_frame_ns) / 1e9;
  report("cpu_at_4_frames_a_second", flows, 100 * share, "% of a core");
}

}  // namespace
}  // namespace topspin

int main(int count, char** arguments) {
  std::vector<uint64_t> flows;
  for (int i = 1; i < count; ++i) flows.push_back(std::strtoull(arguments[i], nullptr, 10));
  if (flows.empty()) flows = {1'000, 100'000, 1'000'000};
  for (const uint64_t each : flows) topspin::measure(each);
  return 0;
}
