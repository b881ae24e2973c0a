#include "app/screen/live.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "app/host/outlet.h"
#include "app/screen/causes.h"
#include "app/screen/process_reader.h"
#include "capture/source/interface_counters.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "tui/tick_line.h"

namespace topspin {
namespace {

bool terminal_is_there() {
  const char* term = std::getenv("TERM");
  return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0 && term != nullptr &&
         *term != '\0' && std::strcmp(term, "dumb") != 0;
}

}  // namespace

bool screen_is_possible(const LookOptions& options) {
  return !options.once && options.batch == 0 && terminal_is_there();
}

Live::Live(const LookOptions& options, bool with_command, bool stay, UniqueFd name_process,
           const std::string& database)
    : look_(options, std::move(name_process)),
      writer_(database, {}),
      stay_(stay),
      screen_(screen_is_possible(options)) {
  stay_ = stay_ && screen_;
  if (!screen_ || !with_command) return;
  // The command must not read the screen's keys or print over the screen.
  std::array<int, 2> pipe_fds{};
  if (pipe2(pipe_fds.data(), O_CLOEXEC) != 0) return;
  output_read_.reset(pipe_fds[0]);
  output_write_.reset(pipe_fds[1]);
  fcntl(output_read_.get(), F_SETFL, O_NONBLOCK);
  null_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

std::span<const int> Live::signals() const {
  static constexpr std::array kSignals = {SIGWINCH, SIGTSTP, SIGCONT};
  return kSignals;
}

Status Live::on_start(const RunInfo& run) {
  TOPSPIN_TRY(look_.load_colours());
  run_ = run;
  look_.model().scene = make_scene(run);
  if (!look_.model().scene.subject.empty()) look_.model().scene.subject_state = "running";
  if (screen_) {
    if (auto opened = look_.open(); !opened.ok()) {
      say(opened.error().message);
      screen_ = stay_ = false;
    }
  }
  look_.begin();
  read_processes_if_shown(monotonic_now_ns());
  look_.draw();
  return {};
}

void Live::on_sample(const Sample& sample) {
  if (screen_ || look_.plain()) {
    look_.model().add(sample);
    explain(look_.model(), run_);
  }
  if (look_.plain()) read_processes_if_shown(monotonic_now_ns());
  if (screen_) {
    ring_.add(sample);
    if (!look_.frozen()) look_.changed();
    freeze_after_the_end(sample);
    return;
  }
  if (look_.plain()) {
    if (stop_) return;
    const std::string text = fmt::format("{}{}", printed_ > 0 ? "\n" : "", look_.plain_text());
    if (++printed_ >= look_.batch()) {
      last_text_ = text;  // printed after the recording, because the reader may be slow
      stop_ = true;
      return;
    }
    constexpr int kWaitMs = 1000;
    output_failed_ = !output_outlet().write(text, kWaitMs) || output_failed_;
  } else {
    if (printed_++ % kTickLinesPerHeader == 0)
      output_outlet().write(fmt::format("{}\n", tick_line_header()));
    output_outlet().write(fmt::format("{}\n", tick_line(sample, memory_)));
  }
  // If the reader went away, the recording ends, because its output is not wanted any more.
  if (output_outlet().silenced()) {
    output_failed_ = true;
    stop_ = true;
  }
}

/// The rows were those of the previous interface; the counts continue.
void Live::on_interface(const std::string& name) {
  look_.model().scene.source = name;
  look_.forget_rows();
}

void Live::on_input() {
  look_.on_input(false, [this](Effect effect) {
    if (effect == Effect::kSwitchInterface) interface_wish_ = look_.wanted_interface();
    if (effect == Effect::kWatchProcess) watch(look_.wanted_pid());
    if (effect == Effect::kKeep) keep_last_minute();
  });
}

/// Ends the observation of this subject; the parent then begins the next one.
void Live::watch(int32_t pid) {
  if (!can_change_subject_) {
    look_.say("the subject cannot change while a run is recorded or a command runs");
  } else if (kill(pid, 0) != 0 && errno == ESRCH) {
    look_.say(fmt::format("process {} has ended", pid));
  } else {
    subject_wish_ = pid;
    stop_ = true;
  }
}

/// Another thread stores it, and says so when it is done.
void Live::keep_last_minute() {
  if (ring_.empty()) {
    look_.say("there is no tick yet to keep");
  } else if (writer_.give(ring_.freeze(run_, {"", "", ring_.newest_ns(), ring_.newest_ns(), 0}))) {
    look_.say("the last minute is being stored");
  }  // else it says so itself
}

void Live::read_processes_if_shown(int64_t now_ns) {
  if (!look_.shows_processes() || now_ns - processes_read_ns_ < kNanosPerSecond) return;
  processes_read_ns_ = now_ns;
  look_.model().processes.update(read_processes(look_.model()));
  if (!look_.frozen()) look_.changed();
}

void Live::on_pass() {
  constexpr int64_t kReadNs = 200 * kNanosPerMilli;
  const int64_t now_ns = monotonic_now_ns();
  if (look_.shows_interfaces() && now_ns - interfaces_read_ns_ >= kReadNs) {
    interfaces_read_ns_ = now_ns;
    if (auto readings = read_interfaces(); readings.ok()) {
      look_.model().interfaces.update(std::move(readings).value(), now_ns);
      look_.changed();
    }
  }
  read_processes_if_shown(now_ns);
  for (IncidentMessage& message : writer_.take_messages()) look_.say(std::move(message.text));
  look_.draw();
}

void Live::on_event(std::string_view text) {
  if (screen_)
    look_.say(std::string(text));
  else
    say(text);
}

/// Until the user continues, the screen shows the subject's last tick. Later ticks are not about
/// the subject, and its rows would disappear one after another.
void Live::freeze_after_the_end(const Sample& sample) {
  if (!subject_end_ns_ || sample.flows.end_ns < *subject_end_ns_) return;
  subject_end_ns_.reset();
  look_.freeze();
  look_.say(fmt::format("the subject {}: its last tick is frozen; Space goes on, q quits",
                        look_.model().scene.subject_state));
}

void Live::subject_ended(const std::string& state) {
  look_.model().scene.subject_state = state;
  subject_end_ns_ = monotonic_now_ns();
  look_.changed();
}

void Live::on_command_end(int exit_status) {
  subject_ended(exit_status > 128 ? fmt::format("ended by signal {}", exit_status - 128)
                                  : fmt::format("exited {}", exit_status));
}

void Live::on_subject_gone() { subject_ended("has ended"); }

void Live::on_output() {
  std::array<char, 16384> buffer{};
  for (int i = 0; i < 16; ++i) {
    const ssize_t n = read(output_read_.get(), buffer.data(), buffer.size());
    if (n <= 0) return;
    const std::string_view text(buffer.data(), static_cast<size_t>(n));
    if (!look_.is_open()) {
      error_outlet().write(text);
      continue;
    }
    output_ += text;
    if (output_.size() > kMaxOutputBytes) {
      output_.erase(0, output_.size() - kMaxOutputBytes);
      output_cut_ = true;
    }
  }
}

void Live::close() {
  if (output_read_) on_output();
  const bool was_open = look_.is_open();
  look_.close();
  print_output();
  writer_.finish();
  for (const IncidentMessage& message : writer_.take_messages()) say(message.text);
  // A stored run prints its own result, and the next subject has its own screen.
  const Model& model = look_.model();
  if (was_open && stay_ && !subject_wish_ && !model.history().empty()) {
    say(fmt::format("{} ticks, {} flows, {} packets; nothing was stored: --db FILE stores a run",
                    model.tick(), model.flows_total(), model.packets_total()));
  }
}

/// Prints the command's output that was kept while the screen was shown.
void Live::print_output() {
  if (output_.empty()) return;
  if (output_cut_) {
    say("the command printed more while the screen was shown; this is the end of it");
    output_.erase(0, output_.find('\n') + 1);
  }
  constexpr int kWaitMs = 1000;
  error_outlet().write(output_, kWaitMs);
  output_.clear();
}

}  // namespace topspin
