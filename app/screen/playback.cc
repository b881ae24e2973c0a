#include "app/screen/playback.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>

#include "app/host/outlet.h"
#include "app/tick/tick_builder.h"
#include "capture/flow_tracker.h"
#include "core/clock.h"
#include "core/periods.h"
#include "core/text.h"
#include "core/unique_fd.h"
#include "tui/model/history.h"

namespace topspin {
namespace {

constexpr double kSlowest = 1.0 / 16;
constexpr double kFastest = 1024;
/// Ticks of a file are kept in memory: an hour's worth of seconds a thousand times over is a file
/// whose interval should be longer.
constexpr size_t kMaxTicks = 100'000;

class Player {
 public:
  Player(Recorded recorded, const LookOptions& options)
      : recorded_(std::move(recorded)), look_(options), plain_(look_.plain()) {}

  int run();

 private:
  int print_plain();
  void step_to(size_t position);
  void on_effect(Effect effect);
  void note();
  void show_packets();
  int64_t interval_ns(size_t position) const {
    return std::max<int64_t>(recorded_.ticks[position].interval_ns, kNanosPerMilli);
  }

  Recorded recorded_;
  Look look_;
  bool plain_;
  size_t position_ = 0;             // ticks shown so far
  std::optional<FlowKey> watched_;  // whose packets are shown
  size_t watched_position_ = 0;     // up to which tick
  double speed_ = 1;
  int64_t due_ns_ = 0;
};

/// Shows the first `position` ticks. Backwards means anew from the start: a model only adds.
void Player::step_to(size_t position) {
  position = std::min(position, recorded_.ticks.size());
  if (position < position_) {
    look_.replace_model(Model());
    position_ = 0;
  }
  look_.model().scene = recorded_.scene;
  while (position_ < position) look_.model().add(recorded_.ticks[position_++]);
  note();
}

void Player::note() {
  std::string speed =
      speed_ >= 1 ? fmt::format("{:.0f}x", speed_) : fmt::format("1/{:.0f}x", 1 / speed_);
  const bool end = position_ == recorded_.ticks.size();
  look_.model().scene.note =
      fmt::format("REPLAY {} {}/{}{}", speed, position_, recorded_.ticks.size(), end ? " end" : "");
  look_.changed();
}

void Player::on_effect(Effect effect) {
  const auto& ticks = recorded_.ticks;
  switch (effect) {
    case Effect::kStepBack: step_to(position_ > 1 ? position_ - 1 : 1); break;
    case Effect::kStepOn: step_to(position_ + 1); break;
    case Effect::kToStart: step_to(1); break;
    case Effect::kToEnd: step_to(ticks.size()); break;
    case Effect::kSlower: speed_ = std::max(speed_ / 2, kSlowest); break;
    case Effect::kFaster: speed_ = std::min(speed_ * 2, kFastest); break;
    case Effect::kToTime: {
      const auto at = std::find_if(ticks.begin(), ticks.end(), [&](const Sample& s) {
        return s.elapsed_ns >= look_.wanted_time_ns();
      });
      step_to(at == ticks.end() ? ticks.size() : static_cast<size_t>(at - ticks.begin()) + 1);
      break;
    }
    case Effect::kSwitchInterface: break;
    case Effect::kNextLoss: {
      const auto from = ticks.begin() + static_cast<std::ptrdiff_t>(position_);
      const auto loss =
          std::find_if(from, ticks.end(), [](const Sample& s) { return lost_count(s.losses) > 0; });
      if (loss == ticks.end())
        look_.say("no loss from here on");
      else
        step_to(static_cast<size_t>(loss - ticks.begin()) + 1);
      break;
    }
    case Effect::kWorstLateness: {
      const auto& declared = recorded_.scene.period_ns;
      const bool periods = std::any_of(ticks.begin(), ticks.end(), [&](const Sample& s) {
        return has_lateness(s.flows, declared) && !s.flows.lateness.empty();
      });
      const auto badness = [&](const Sample& s) -> std::optional<int64_t> {
        if (periods) return has_lateness(s.flows, declared) ? s.flows.lateness.max() : std::nullopt;
        return s.flows.reply_latency.summary().max;
      };
      const auto worst =
          std::max_element(ticks.begin(), ticks.end(),
                           [&](const auto& a, const auto& b) { return badness(a) < badness(b); });
      if (worst == ticks.end() || !badness(*worst))
        look_.say("neither lateness nor a reply was measured");
      else
        step_to(static_cast<size_t>(worst - ticks.begin()) + 1);
      break;
    }
    default: break;
  }
  due_ns_ = monotonic_now_ns();
  note();
}

/// Packets up to the moment that is shown, as often as either changes.
void Player::show_packets() {
  const auto flow = look_.watched_flow();
  if (!flow || position_ == 0) {
    watched_.reset();
    return;
  }
  if (flow == watched_ && position_ == watched_position_) return;
  watched_ = flow;
  watched_position_ = position_;
  if (!recorded_.packets_of) {
    look_.set_packets({}, "a stored run keeps no packets");
    return;
  }
  auto packets = recorded_.packets_of(*flow, recorded_.ticks[position_ - 1].flows.end_ns);
  if (!packets.ok())
    look_.set_packets({}, packets.error().message);
  else
    look_.set_packets(std::move(packets).value(), "none of its packets is in the file so far");
}

int Player::print_plain() {
  look_.begin();
  if (look_.batch() == 1) {
    // Once means as it stands in the end: a run that is over has one such picture.
    step_to(recorded_.ticks.size());
    fmt::print("{}", look_.plain_text());
    return 0;
  }
  for (int i = 0; i < look_.batch() && position_ < recorded_.ticks.size(); ++i) {
    step_to(position_ + 1);
    fmt::print("{}{}", i > 0 ? "\n" : "", look_.plain_text());
  }
  return 0;
}

int Player::run() {
  if (recorded_.ticks.empty()) {
    return fail(make_error(ErrorCode::kInput, "there is not one tick in it to show"));
  }
  look_.model().scene = recorded_.scene;
  if (auto loaded = look_.load_colours(); !loaded.ok()) return fail(loaded.error());
  if (plain_) return print_plain();

  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT}) {
    sigaddset(&set, number);
  }
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return fail(make_error(ErrorCode::kInternal, "signalfd failed", errno));
  if (auto opened = look_.open(); !opened.ok()) return fail(opened.error());
  look_.begin();
  step_to(1);
  due_ns_ = monotonic_now_ns();
  while (!look_.wants_stop()) {
    show_packets();
    look_.draw();
    const bool plays = !look_.frozen() && position_ < recorded_.ticks.size();
    int timeout_ms = -1;
    const int64_t now_ns = monotonic_now_ns();
    const int64_t next_ns =
        plays ? due_ns_ + static_cast<int64_t>(static_cast<double>(interval_ns(position_)) / speed_)
              : 0;
    if (plays)
      timeout_ms = static_cast<int>(
          std::clamp<int64_t>((next_ns - now_ns + 999'999) / kNanosPerMilli, 0, 60'000));
    if (const int refresh_ms = look_.refresh_ms(); refresh_ms >= 0) {
      timeout_ms = timeout_ms < 0 ? refresh_ms : std::min(timeout_ms, refresh_ms);
    }
    std::array<pollfd, 2> fds{{{signals.get(), POLLIN, 0}, {look_.input_fd(), POLLIN, 0}}};
    if (poll(fds.data(), fds.size(), timeout_ms) < 0 && errno != EINTR) {
      return fail(make_error(ErrorCode::kInternal, "poll failed", errno));
    }
    signalfd_siginfo info{};
    while (read(signals.get(), &info, sizeof info) == sizeof info) {
      const int number = static_cast<int>(info.ssi_signo);
      if (number == SIGWINCH || number == SIGTSTP || number == SIGCONT) {
        look_.on_signal(number);
        continue;
      }
      look_.close();
      return 128 + number;
    }
    if (fds[1].revents != 0) {
      const bool was_paused = look_.frozen();
      look_.on_input(true, [this](Effect effect) { on_effect(effect); });
      if (was_paused && !look_.frozen()) due_ns_ = monotonic_now_ns();
    }
    if (plays && !look_.frozen() && monotonic_now_ns() >= next_ns) {
      due_ns_ = next_ns;
      step_to(position_ + 1);
    }
  }
  look_.close();
  return 0;
}

}  // namespace

int play(Recorded recorded, const LookOptions& look) {
  return Player(std::move(recorded), look).run();
}

int play_file(const std::string& file, const ObserveOptions& observe, const LookOptions& look) {
  const auto table = flow_table_options(observe);
  if (!table.ok()) return fail(table.error());
  const auto filter = filter_text(observe);
  if (!filter.ok()) return fail(filter.error());
  const auto interval_ns = positive_duration(observe.interval, "--interval");
  if (!interval_ns.ok()) return fail(interval_ns.error());
  auto tracker = FlowTracker::open_file(
      {file, *filter, *interval_ns, table->max_flows, table->max_flows}, *table);
  if (!tracker.ok()) return fail(tracker.error());

  Recorded recorded;
  if (file == "-") {
    recorded.packets_of = [](const FlowKey&, int64_t) -> Result<PacketCopies> {
      return make_error(ErrorCode::kUsage,
                        "packets of standard input are gone once they were read");
    };
  } else {
    recorded.packets_of = [&](const FlowKey& flow, int64_t until_ns) {
      return read_packets_of({file, *filter, 0, 0, 0}, table->key, flow, until_ns);
    };
  }
  recorded.scene.source = file;
  recorded.scene.filter = *filter;
  recorded.scene.period_ns = table->period_ns;
  recorded.scene.reply_timeout_ns = table->reply_timeout_ns;
  TickBuilder ticks{TickSettings()};
  bool too_many = false;
  const IntervalSink sink = [&](ClosedInterval&& interval) {
    if (recorded.ticks.size() >= kMaxTicks) {
      too_many = true;
      return;
    }
    recorded.ticks.push_back(ticks.build_of_file(std::move(interval)));
  };
  std::optional<Error> error;
  while (true) {
    const auto outcome = (*tracker)->step(sink);
    if (!outcome.ok()) error = outcome.error();
    if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
    if (too_many) {
      return fail(make_error(
          ErrorCode::kUsage,
          fmt::format("{} spans more than {} ticks; give a longer --interval", file, kMaxTicks)));
    }
  }
  (*tracker)->finish(0, sink);
  // A file that breaks off is shown as far as it goes, and said to.
  const int code = play(std::move(recorded), look);
  if (error) return fail(*error);
  return code;
}

}  // namespace topspin
