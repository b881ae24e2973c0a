// Going back in a run shows what was there, reads a bounded number of ticks, and keeps a bounded
// number of pictures.
#include "app/screen/rewind.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "app/screen/recorded_run.h"
#include "tests/store/store_testing.h"
#include "tests/support/every_night.h"
#include "tests/tui/synthetic.h"
#include "tui/plain.h"
#include "tui/screens/screens.h"
#include "tui/views.h"

namespace topspin {
namespace {

/// Moves a model along the ticks as playback does, and counts the ticks that are read.
class Walk {
 public:
  Walk(const ReadTicks& read, Scene scene)
      : scene_(std::move(scene)),
        rewind_(
            [this, read](uint64_t after, size_t most) {
              auto ticks = read(after, most);
              if (ticks.ok()) read_ += ticks->size();
              return ticks;
            },
            scene_) {
    model_.scene = scene_;
  }
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  void step_on() {
    const Sample* next = must(rewind_.after(model_.tick()));
    ASSERT_NE(next, nullptr);
    model_.add(*next);
    rewind_.keep(++position_, model_);
  }
  void jump(size_t position) {
    model_ = must(rewind_.model_at(position));
    position_ = position;
  }
  /// Ticks read since the last call.
  size_t take_read() { return std::exchange(read_, 0); }
  const Model& model() const { return model_; }
  const Rewind& rewind() const { return rewind_; }
  size_t position() const { return position_; }

 private:
  Scene scene_;
  size_t read_ = 0;
  Rewind rewind_;
  Model model_;
  size_t position_ = 0;
};

std::string all_screens(const Model& model) {
  std::string text;
  for (const Screen* screen : screens()) {
    ViewState state = initial_view_state(model);
    open_screen(state, screen->name);
    state.ascii = true;
    text += plain_screen(model, std::move(state), 160, 60);
  }
  return text;
}

/// Stores a run in which flows come and go. Some last, flow 5 falls silent after tick 30, and every
/// tenth tick begins a flow that ends five ticks later. Tick 77 is missing.
std::string store_run_of_many_fates(const std::string& path, uint64_t ticks) {
  const test::Synthetic synthetic{.flows = 12, .losses_at = 50};
  const RunInfo run = make_run();
  auto writer = create(path, run);
  for (uint64_t tick = 1; tick <= ticks; ++tick) {
    Sample sample = synthetic.sample(tick);
    for (const uint64_t ago : {0, 5}) {
      if (tick <= ago || (tick - ago) % 10 != 0) continue;
      FlowRow flow = synthetic.row(1000 + tick - ago, ago + 1);
      flow.first_ns = sample.flows.begin_ns - static_cast<int64_t>(ago) * test::kSecond;
      flow.last_ns = sample.flows.begin_ns;
      flow.ended = ago > 0;
      sample.changed_flows.push_back(flow);
    }
    if (tick == 77) continue;
    EXPECT_OK(writer->append(sample));
  }
  EXPECT_OK(writer->finish({}));
  return run.id;
}

TEST(Rewind, ShowsTheSameAfterForwardBackForwardAsAStraightWalk) {
  TemporaryDirectory directory;
  constexpr size_t kTicks = 140;
  const std::string id = store_run_of_many_fates(directory.file(), kTicks + 1);
  std::shared_ptr<RunStore> store = must(RunStore::open(directory.file()));
  const Recorded recorded = must(recorded_run(store, must(store->find_run(id))));
  ASSERT_EQ(recorded.ticks, kTicks);

  // Most of the time goes into drawing. By day every seventh tick is drawn.
  const auto is_looked_at = [](size_t tick) {
    return tick % static_cast<size_t>(test::repeats(7, 1)) == 0;
  };
  std::vector<std::string> straight(kTicks + 1);
  size_t most_flows = 0, fewest_flows = SIZE_MAX;
  Walk walk(recorded.read, recorded.scene);
  while (walk.position() < kTicks) {
    walk.step_on();
    if (is_looked_at(walk.position())) straight[walk.position()] = all_screens(walk.model());
    most_flows = std::max(most_flows, walk.model().flows().size());
    fewest_flows = std::min(fewest_flows, walk.model().flows().size());
  }
  EXPECT_GT(most_flows, fewest_flows) << "no flow went";
  EXPECT_GT(walk.rewind().pictures(), 0u);

  for (size_t at = kTicks - 1; at >= 1; --at) {
    walk.jump(at);
    if (!is_looked_at(at)) continue;
    ASSERT_EQ(all_screens(walk.model()), straight[at]) << "back at " << at;
  }
  while (walk.position() < kTicks) {
    walk.step_on();
    if (!is_looked_at(walk.position())) continue;
    ASSERT_EQ(all_screens(walk.model()), straight[walk.position()])
        << "again at " << walk.position();
  }
}

/// Ticks of a long run, without flows, which are made when they are read.
Result<std::vector<Sample>> bare_ticks(uint64_t last, uint64_t after, size_t most) {
  std::vector<Sample> ticks;
  for (uint64_t tick = after + 1; tick <= last && ticks.size() < most; ++tick) {
    Sample& sample = ticks.emplace_back();
    sample.tick = tick;
    sample.interval_ns = test::kSecond;
    sample.elapsed_ns = static_cast<int64_t>(tick) * test::kSecond;
    sample.flows.begin_ns = sample.elapsed_ns - test::kSecond;
    sample.flows.end_ns = sample.elapsed_ns;
    sample.flows.packets = test::Synthetic::mix(tick) % 1000;
    sample.flows.unanswered = tick % 3;
  }
  return ticks;
}

class LongRun : public testing::Test {
 protected:
  static constexpr size_t kTicks = 20'000;
  LongRun() {
    while (walk_.position() < kTicks) {
      walk_.step_on();
      packets_until_.push_back(packets_until_.back() + walk_.model().last().flows.packets);
    }
    walk_.take_read();
  }
  /// The totals and the whole history are those of the ticks.
  void expect_is_at(size_t position) {
    const Model& model = walk_.model();
    ASSERT_EQ(model.tick(), position);
    EXPECT_EQ(model.packets_total(), packets_until_[position]);
    EXPECT_EQ(model.whole().flows.packets, packets_until_[position]);
    const TickHistory& history = model.history();
    ASSERT_EQ(history.size(), std::min(position, Rewind::kHistory));
    for (size_t ago = 0; ago < history.size(); ++ago) {
      ASSERT_EQ(history.back(ago).tick, position - ago);
      ASSERT_EQ(history.back(ago).packets, test::Synthetic::mix(position - ago) % 1000);
    }
  }
  /// The most ticks that a step reads, including read-ahead.
  size_t most_of_a_step() const { return 2 * (walk_.rewind().stride() + Rewind::kFirstStride); }

  std::vector<uint64_t> packets_until_ = {0};
  Walk walk_{[](uint64_t after, size_t most) { return bare_ticks(kTicks, after, most); }, Scene()};
};

TEST_F(LongRun, AStepBackReadsFewTicks) {
  size_t read = 0;
  for (size_t at = kTicks - 1; at > kTicks - 1500; --at) {
    walk_.jump(at);
    const size_t step = walk_.take_read();
    ASSERT_LE(step, most_of_a_step());
    read += step;
    if (at % 50 == 0) expect_is_at(at);
  }
  EXPECT_LE(read / 1500, 2 * Rewind::kFirstStride);
}

TEST_F(LongRun, AJumpReadsNoMoreThanTheHistoryItShows) {
  for (const size_t at : {size_t{1}, kTicks, size_t{7'777}, size_t{3'600}, size_t{3'601},
                          size_t{15'000}, size_t{14'999}}) {
    walk_.jump(at);
    EXPECT_LE(walk_.take_read(), Rewind::kHistory + most_of_a_step()) << at;
    expect_is_at(at);
  }
}

TEST_F(LongRun, WhatIsKeptDoesNotGrowWithIt) {
  for (const size_t at : {kTicks - 1, size_t{500}, size_t{12'345}}) {
    walk_.jump(at);
    EXPECT_LE(walk_.rewind().pictures(), Rewind::kMostPictures + 2 * Rewind::kMostFinePictures);
    EXPECT_LE(walk_.rewind().points(), Rewind::kHistory + 4 * walk_.rewind().stride());
  }
}

TEST_F(LongRun, AMomentIsFoundByItsTime) {
  const Rewind::Mark mark = walk_.rewind().mark_before_time(9'000 * test::kSecond);
  EXPECT_LT(mark.tick, 9'000u);
  EXPECT_GE(mark.tick + walk_.rewind().stride(), 9'000u);
}

TEST(Rewind, TakesNoPictureOfPurgedRows) {
  TemporaryDirectory directory;
  const std::string id = store_run_of_many_fates(directory.file(), 70);
  std::shared_ptr<RunStore> store = must(RunStore::open(directory.file()));
  const Recorded recorded = must(recorded_run(store, must(store->find_run(id))));
  Rewind rewind(recorded.read, recorded.scene);
  Model model;
  model.scene = recorded.scene;
  for (size_t position = 1; position <= 70; ++position) {
    model.add(*must(rewind.after(model.tick())));
    if (position == 30) model.purge_flows();
    rewind.keep(position, model);
  }
  EXPECT_EQ(rewind.pictures(), 0u);
  EXPECT_FALSE(must(rewind.model_at(69)).flows().empty());
}

}  // namespace
}  // namespace topspin
