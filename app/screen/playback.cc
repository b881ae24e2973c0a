#include "app/screen/playback.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>

#include "app/host/outlet.h"
#include "app/screen/causes.h"
#include "app/tick/tick_builder.h"
#include "capture/flow_tracker.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"
#include "core/flow/periods.h"
#include "tui/model/history.h"

namespace topspin {
namespace {

constexpr double kSlowest = 1.0 / 16;
constexpr double kFastest = 1024;
/// Ticks of a file are kept in memory. A file with more ticks needs a longer interval.
constexpr size_t kMaxTicks = 100'000;

class Player {
 public:
  Player(Recorded recorded, const LookOptions& options, UniqueFd name_process)
      : recorded_(std::move(recorded)),
        look_(options, std::move(name_process)),
        plain_(look_.plain()),
        rewind_(recorded_.read, recorded_.scene) {}

  int run();

 private:
  int print_plain();
  int play();
  int wait_and_handle(int signals, int64_t next_ns, bool plays);
  void step_to(size_t position);
  Status try_step_to(size_t position);
  void on_effect(Effect effect);
  Status seek_time();
  Status seek_loss();
  Status seek_worst();
  Result<std::optional<size_t>> find(Rewind::Mark from,
                                     const std::function<bool(const Sample&)>& wanted);
  void note();
  void show_packets();
  int64_t next_interval_ns();

  Recorded recorded_;
  Look look_;
  bool plain_;
  Rewind rewind_;
  size_t position_ = 0;  // ticks shown so far
  std::optional<Error> failure_;
  std::optional<std::optional<size_t>> worst_;  // its position, once it was requested
  std::optional<FlowKey> watched_;              // the flow whose packets are shown
  size_t watched_position_ = 0;                 // the tick up to which they are shown
  double speed_ = 1;
  int64_t due_ns_ = 0;
};

/// Shows the first `position` ticks, or all.
Status Player::try_step_to(size_t position) {
  position = std::min(position, recorded_.ticks);
  // A jump ahead also starts from a kept picture if that is shorter.
  const bool far = rewind_.mark_before(position).position > position_ + Rewind::kHistory;
  if (position < position_ || far) {
    TOPSPIN_ASSIGN(Model model, rewind_.model_at(position));
    look_.replace_model(std::move(model));
    position_ = position;
  }
  look_.model().scene = recorded_.scene;
  while (position_ < position) {
    TOPSPIN_ASSIGN(const Sample* next, rewind_.after(look_.model().tick()));
    if (next == nullptr) {
      recorded_.ticks = position_;
      break;
    }
    look_.model().add(*next);
    rewind_.keep(++position_, look_.model());
  }
  note();
  return {};
}

void Player::step_to(size_t position) {
  if (Status stepped = try_step_to(position); !stepped.ok()) failure_ = stepped.error();
}

void Player::note() {
  std::string speed =
      speed_ >= 1 ? fmt::format("{:.0f}x", speed_) : fmt::format("1/{:.0f}x", 1 / speed_);
  const bool end = position_ == recorded_.ticks;
  look_.model().scene.note =
      fmt::format("REPLAY {} {}/{}{}", speed, position_, recorded_.ticks, end ? " end" : "");
  explain(look_.model(), recorded_.run);
  look_.changed();
}

/// The position of the first tick after `from` that is wanted.
Result<std::optional<size_t>> Player::find(Rewind::Mark from,
                                           const std::function<bool(const Sample&)>& wanted) {
  while (from.position < recorded_.ticks) {
    TOPSPIN_ASSIGN(const Sample* next, rewind_.after(from.tick));
    if (next == nullptr) break;
    ++from.position;
    from.tick = next->tick;
    if (wanted(*next)) return std::optional(from.position);
  }
  return std::optional<size_t>();
}

Status Player::seek_time() {
  const int64_t wanted_ns = look_.wanted_time_ns();
  TOPSPIN_ASSIGN(const auto at, find(rewind_.mark_before_time(wanted_ns),
                                     [&](const Sample& s) { return s.elapsed_ns >= wanted_ns; }));
  return try_step_to(at.value_or(recorded_.ticks));
}

Status Player::seek_loss() {
  TOPSPIN_ASSIGN(const auto at, find({position_, look_.model().tick()},
                                     [](const Sample& s) { return lost_count(s.losses) > 0; }));
  if (at) return try_step_to(*at);
  look_.say("no loss from here on");
  return {};
}

/// Goes to the greatest lateness, or to the slowest reply if no flow has a period. Reads all ticks,
/// but only once.
Status Player::seek_worst() {
  if (!worst_) {
    std::optional<size_t> latest, slowest;
    std::optional<int64_t> lateness;
    std::optional<uint64_t> reply;
    size_t position = 0;
    TOPSPIN_ASSIGN(const auto none, find({}, [&](const Sample& s) {
                     ++position;
                     if (has_lateness(s.flows, recorded_.scene.period_ns) &&
                         s.flows.lateness.max() > lateness) {
                       lateness = s.flows.lateness.max();
                       latest = position;
                     }
                     if (s.flows.reply_latency.max() > reply) {
                       reply = s.flows.reply_latency.max();
                       slowest = position;
                     }
                     return false;
                   }));
    (void)none;
    worst_ = latest ? latest : slowest;
  }
  if (*worst_) return try_step_to(**worst_);
  look_.say("neither lateness nor a reply was measured");
  return {};
}

void Player::on_effect(Effect effect) {
  Status sought;
  switch (effect) {
    case Effect::kStepBack: step_to(position_ > 1 ? position_ - 1 : 1); break;
    case Effect::kStepOn: step_to(position_ + 1); break;
    case Effect::kToStart: step_to(1); break;
    case Effect::kToEnd: step_to(recorded_.ticks); break;
    case Effect::kSlower: speed_ = std::max(speed_ / 2, kSlowest); break;
    case Effect::kFaster: speed_ = std::min(speed_ * 2, kFastest); break;
    case Effect::kToTime: sought = seek_time(); break;
    case Effect::kNextLoss: sought = seek_loss(); break;
    case Effect::kWorstLateness: sought = seek_worst(); break;
    default: break;
  }
  if (!sought.ok()) failure_ = sought.error();
  due_ns_ = monotonic_now_ns();
  note();
}

/// Shows the flow's packets up to the current moment, whenever the flow or the moment changes.
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
  auto packets = recorded_.packets_of(*flow, look_.model().flow_now_ns());
  if (!packets.ok())
    look_.set_packets({}, packets.error().message);
  else
    look_.set_packets(std::move(packets).value(), "the file has no packet of this flow up to here");
}

int Player::print_plain() {
  look_.begin();
  if (look_.batch() == 1) {
    // With --once, show the end of the run.
    step_to(recorded_.ticks);
    if (failure_) return fail(*failure_);
    fmt::print("{}", look_.plain_text());
    return 0;
  }
  for (int i = 0; i < look_.batch() && position_ < recorded_.ticks; ++i) {
    step_to(position_ + 1);
    if (failure_) return fail(*failure_);
    fmt::print("{}{}", i > 0 ? "\n" : "", look_.plain_text());
  }
  return 0;
}

/// The length of the next tick.
int64_t Player::next_interval_ns() {
  const auto next = rewind_.after(look_.model().tick());
  if (!next.ok()) failure_ = next.error();
  if (!next.ok() || *next == nullptr) return kNanosPerMilli;
  return std::max<int64_t>((*next)->interval_ns, kNanosPerMilli);
}

int Player::run() {
  if (recorded_.ticks == 0) {
    return fail(make_error(ErrorCode::kInput, "it contains no ticks"));
  }
  look_.model().scene = recorded_.scene;
  if (auto loaded = look_.load_colours(); !loaded.ok()) return fail(loaded.error());
  if (plain_) return print_plain();
  const int code = play();
  look_.close();
  return failure_ ? fail(*failure_) : code;
}

int Player::play() {
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
  while (!look_.wants_stop() && !failure_) {
    show_packets();
    look_.draw();
    const bool plays = !look_.frozen() && position_ < recorded_.ticks;
    const int64_t next_ns =
        plays ? due_ns_ + static_cast<int64_t>(static_cast<double>(next_interval_ns()) / speed_)
              : 0;
    if (const int code = wait_and_handle(signals.get(), next_ns, plays); code != 0) return code;
    if (plays && !look_.frozen() && monotonic_now_ns() >= next_ns) {
      due_ns_ = next_ns;
      step_to(position_ + 1);
    }
  }
  return look_.is_hung_up() ? 128 + SIGHUP : 0;
}

/// Waits for a key, a signal, or until the next tick is due. Returns 0, or the exit code after a
/// signal that ends the playback.
int Player::wait_and_handle(int signals, int64_t next_ns, bool plays) {
  int timeout_ms = -1;
  if (plays) {
    timeout_ms = static_cast<int>(
        std::clamp<int64_t>((next_ns - monotonic_now_ns() + 999'999) / kNanosPerMilli, 0, 60'000));
  }
  if (const int refresh_ms = look_.refresh_ms(); refresh_ms >= 0) {
    timeout_ms = timeout_ms < 0 ? refresh_ms : std::min(timeout_ms, refresh_ms);
  }
  std::array<pollfd, 2> fds{{{signals, POLLIN, 0}, {look_.input_fd(), POLLIN, 0}}};
  if (poll(fds.data(), fds.size(), timeout_ms) < 0 && errno != EINTR) {
    failure_ = make_error(ErrorCode::kInternal, "poll failed", errno);
    return 0;
  }
  signalfd_siginfo info{};
  while (read(signals, &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number != SIGWINCH && number != SIGTSTP && number != SIGCONT) return 128 + number;
    look_.on_signal(number);
  }
  if (fds[1].revents != 0) {
    const bool was_paused = look_.frozen();
    look_.on_input(true, [this](Effect effect) { on_effect(effect); });
    if (was_paused && !look_.frozen()) due_ns_ = monotonic_now_ns();
  }
  return 0;
}

}  // namespace

int play(Recorded recorded, const LookOptions& look, UniqueFd name_process) {
  return Player(std::move(recorded), look, std::move(name_process)).run();
}

int play_file(const std::string& file, const ObserveOptions& observe, const LookOptions& look,
              uint64_t max_packets, UniqueFd name_process) {
  const auto table = flow_table_options(observe);
  if (!table.ok()) return fail(table.error());
  const auto filter = filter_text(observe);
  if (!filter.ok()) return fail(filter.error());
  const auto interval_ns = positive_duration(observe.interval, "--interval");
  if (!interval_ns.ok()) return fail(interval_ns.error());
  auto tracker = FlowTracker::open_file(
      {file, *filter, *interval_ns, table->max_flows, table->max_flows, max_packets}, *table);
  if (!tracker.ok()) return fail(tracker.error());

  Recorded recorded;
  if (file == "-") {
    recorded.packets_of = [](const FlowKey&, int64_t) -> Result<PacketCopies> {
      return make_error(ErrorCode::kUsage, "packets from standard input cannot be read again");
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
  recorded.run.settings.reply_timeout_ns = table->reply_timeout_ns;
  TickBuilder builder{TickSettings()};
  std::vector<Sample> ticks;  // numbered from 1
  bool too_many = false;
  const IntervalSink sink = [&](ClosedInterval&& interval) {
    if (ticks.size() >= kMaxTicks) {
      too_many = true;
      return;
    }
    ticks.push_back(builder.build_of_file(std::move(interval)));
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
  recorded.ticks = ticks.size();
  recorded.read = [&](uint64_t after, size_t most) -> Result<std::vector<Sample>> {
    const auto first = ticks.begin() + static_cast<std::ptrdiff_t>(std::min(after, ticks.size()));
    const auto left = static_cast<size_t>(ticks.end() - first);
    return std::vector<Sample>(first, first + static_cast<std::ptrdiff_t>(std::min(most, left)));
  };
  // A truncated file is shown up to where it ends, and then reported.
  const int code = play(std::move(recorded), look, std::move(name_process));
  if (error) return fail(*error);
  return code;
}

}  // namespace topspin
