#include "app/screen/look.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/unique_fd.h"
#include "tui/plain.h"
#include "tui/screens/screens.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr int kPlainWidth = 120;

std::optional<ThemeName> parse_theme(std::string_view name) {
  for (int i = 0; i < static_cast<int>(ThemeName::kCount); ++i) {
    if (theme_name(static_cast<ThemeName>(i)) == name) return static_cast<ThemeName>(i);
  }
  return std::nullopt;
}

}  // namespace

void add_look_options(CLI::App& app, LookOptions& options) {
  const OptionGroup display(app, kDisplayGroup);
  std::vector<std::string> names;
  for (const Screen* screen : screens()) names.emplace_back(screen->name);
  display.choice("--screen", options.screen, "NAME", names,
                 fmt::format("First screen: {}", fmt::join(names, ", ")));
  display.choice("--theme", options.theme, "NAME", {"dark", "light", "colour-blind"},
                 "dark (default), light or colour-blind");
  display.option(
      "--colors", options.colours, "FILE",
      "Rules that colour flows, in trafshow's format (default ~/.topspin/colors, if it exists)");
  display.flag("--ascii", options.ascii, "Draw with ASCII characters only");
  display.flag("--utf8", options.utf8, "Draw in UTF-8, whatever the locale");
  display.flag("--once", options.once, "Print the screen once as plain text, after one tick");
  display.number("--batch", options.batch, "COUNT", 1, 1'000'000,
                 "Print the screen COUNT times as plain text, once per tick");
  display.number("--width", options.width, "COLUMNS", 20, 1000,
                 "Width of plain text (default $COLUMNS, else 120)");
  display.number("--rows", options.rows, "COUNT", 1, 1'000'000,
                 "Greatest number of rows of a table in plain text (default 50)");
}

bool is_plain(const LookOptions& options) { return options.once || options.batch > 0; }

Result<UniqueFd> start_outside_of_sandbox(const LookOptions& options) {
  return is_plain(options) ? UniqueFd() : start_name_process();
}

Status check_look_options(const LookOptions& options) {
  if (options.once && options.batch > 0)
    return make_error(ErrorCode::kUsage, "give --once or --batch, not both");
  if (options.ascii && options.utf8) {
    return make_error(ErrorCode::kUsage, "give --ascii or --utf8, not both");
  }
  return {};
}

namespace {

/// The rules of --colors, or of the user's own file; nullptr if there is none.
Result<std::shared_ptr<const ColourRules>> read_colour_rules(const LookOptions& options) {
  std::string path = options.colours;
  if (path.empty()) {
    const char* home = std::getenv("HOME");
    if (home == nullptr || *home == '\0') return std::shared_ptr<const ColourRules>();
    path = fmt::format("{}/.topspin/colors", home);
  }
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    if (options.colours.empty()) return std::shared_ptr<const ColourRules>();
    return make_error(
        ErrorCode::kUsage,
        fmt::format("cannot open the file of colours {}: {}", path, std::strerror(errno)), errno);
  }
  constexpr size_t kMaxBytes = 256 << 10;
  std::string text(kMaxBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return make_error(
          ErrorCode::kUsage,
          fmt::format("cannot read the file of colours {}: {}", path, std::strerror(errno)), errno);
    }
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  if (size > kMaxBytes) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} is longer than 256 KiB, which is too long for a file of colours", path));
  }
  text.resize(size);
  auto rules = ColourRules::parse(text);
  if (!rules.ok()) {
    return make_error(ErrorCode::kUsage, fmt::format("{}, {}", path, rules.error().message));
  }
  return std::make_shared<const ColourRules>(std::move(rules).value());
}

}  // namespace

Status Look::load_colours() {
  TOPSPIN_ASSIGN(colour_rules_, read_colour_rules(options_));
  return {};
}

Status Look::open() {
  TerminalOptions terminal;
  if (options_.ascii) terminal.charset = TerminalOptions::Charset::kAscii;
  if (options_.utf8) terminal.charset = TerminalOptions::Charset::kUtf8;
  TOPSPIN_ASSIGN(terminal_, CursesTerminal::open(terminal));
  return {};
}

void Look::begin() {
  state_ = initial_view_state(model_);
  open_screen(state_, options_.screen);
  state_.theme = parse_theme(options_.theme).value_or(ThemeName::kDark);
  state_.colour_rules = colour_rules_;
  state_.ascii = terminal_ ? terminal_->ascii() : !options_.utf8;
  state_.colours = terminal_ ? terminal_->colours() : 0;
  dirty_ = true;
}

void Look::replace_model(Model model) {
  model.names = std::move(model_.names);
  model_ = std::move(model);
  dirty_ = true;
}

void Look::forget_rows() {
  model_.purge_flows();
  state_.detail_id.reset();
  state_.followed_id.reset();
  state_.packets_open = false;
  state_.selected = state_.top = 0;
  dirty_ = true;
}

void Look::freeze() {
  if (!frozen_) frozen_ = model_;
  state_.frozen = true;
  dirty_ = true;
}

void Look::say(std::string message) {
  state_.message = std::move(message);
  dirty_ = true;
}

void Look::on_input(bool replay, const std::function<void(Effect)>& effect) {
  while (const auto key = terminal_->read_key()) {
    dirty_ = true;
    Pressed pressed = press(std::move(state_), *key, shown(), terminal_->size(), replay);
    state_ = std::move(pressed.state);
    switch (pressed.effect) {
      case Effect::kNone: break;
      case Effect::kQuit: stop_ = true; break;
      case Effect::kRefresh: terminal_->forget(); break;
      case Effect::kPurge:
        model_.purge_flows();
        if (frozen_) frozen_->purge_flows();
        break;
      case Effect::kExport: write_export(); break;
      case Effect::kKeep:
        if (replay)
          say("this is stored already; F keeps the last minute of a live screen");
        else if (effect)
          effect(pressed.effect);
        break;
      default:
        if (effect) effect(pressed.effect);
        break;
    }
    // A stored run needs no copy, because nothing changes while it is paused.
    if (!replay && state_.frozen && !frozen_) frozen_ = model_;
    if (!state_.frozen) frozen_.reset();
  }
  hung_up_ = hung_up_ || terminal_->gone();
}

void Look::on_signal(int number) {
  if (!terminal_) {
    // Without a screen, the signal has its usual effect.
    if (number == SIGTSTP) raise(SIGSTOP);
    return;
  }
  dirty_ = true;
  if (number == SIGWINCH) {
    terminal_->resized();
  } else if (number == SIGTSTP) {
    terminal_->suspend();
    raise(SIGSTOP);
    terminal_->resume();
  } else if (number == SIGCONT) {
    terminal_->resume();
  }
}

int Look::refresh_ms() const {
  constexpr int kNamesMs = 100;
  constexpr int kFrameMs = 250;
  constexpr int kBehindMs = 100;  // the terminal has not read the last frame yet
  if (terminal_ && !terminal_->flush()) return kBehindMs;
  if (resolver_ && resolver_->busy()) return kNamesMs;
  return shows_interfaces() || shows_processes() || watched_flow() ? kFrameMs : -1;
}

std::optional<FlowKey> Look::watched_flow() const {
  if (!terminal_ || state_.screen != "flows" || !state_.packets_open || !state_.detail_id) {
    return std::nullopt;
  }
  const auto index = shown().find_flow(*state_.detail_id);
  return index ? std::optional(shown().flows()[*index].row.key) : std::nullopt;
}

void Look::add_packets(PacketCopies packets) {
  if (!state_.detail_id) return;
  if (model_.packets.flow_id() != *state_.detail_id) {
    model_.packets = FlowPackets(*state_.detail_id);
  }
  if (packets.packets.empty() && packets.dropped == 0) return;
  model_.packets.add(std::move(packets));
  if (!frozen_) dirty_ = true;
}

void Look::set_packets(PacketCopies packets, std::string note) {
  if (!state_.detail_id) return;
  model_.packets = FlowPackets(*state_.detail_id);
  model_.packets.add(std::move(packets));
  model_.packets.note = std::move(note);
  dirty_ = true;
}

/// Requests the names that the screen lacks, and takes those that have been found.
void Look::look_names_up() {
  if (resolver_ && resolver_->take(model_.names)) {
    if (frozen_) frozen_->names = model_.names;
    dirty_ = true;
  }
  if (!state_.names || !dirty_) return;
  const NameWants wants = missing_names(shown(), state_, terminal_->size());
  if (wants.hosts.empty() && wants.services.empty()) return;
  if (!resolver_) resolver_ = std::make_unique<NameResolver>(std::move(name_process_));
  resolver_->ask(wants);
}

void Look::draw() {
  if (!terminal_) return;
  look_names_up();
  if (terminal_->flush() && dirty_)
    dirty_ = !terminal_->show(draw_screen(shown(), state_, terminal_->size()), state_.theme);
  hung_up_ = hung_up_ || terminal_->gone();
}

std::string Look::plain_text() const {
  int width = options_.width;
  if (width == 0) {
    const char* columns = std::getenv("COLUMNS");
    width = columns != nullptr ? std::clamp(std::atoi(columns), 0, 1000) : 0;
    if (width < 20) width = kPlainWidth;
  }
  return plain_screen(model_, state_, width, options_.rows);
}

/// Writes a new file into the working directory.
void Look::write_export() {
  const auto made = save_screen();
  if (!made.ok()) {
    say(made.error().message);
    return;
  }
  const auto& [file, name] = *made;
  const std::string text =
      plain_screen(shown(), state_, std::max(terminal_->size().width, kPlainWidth), 1'000'000);
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = write(file.get(), text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      say(fmt::format("cannot write {}: {}", name, std::strerror(errno)));
      return;
    }
    written += static_cast<size_t>(n);
  }
  say(fmt::format("written to {}", name));
}

Scene make_scene(const RunInfo& run) {
  Scene scene;
  scene.source = run.settings.interface;
  scene.filter = run.settings.filter;
  if (!run.command.empty())
    scene.subject = fmt::format("{}", fmt::join(run.command, " "));
  else if (run.settings.subject != "none" && run.settings.subject != "file")
    scene.subject = run.settings.subject;
  scene.probes = run.probes;
  scene.period_ns = run.settings.period_ns;
  scene.reply_timeout_ns = run.settings.reply_timeout_ns;
  return scene;
}

}  // namespace topspin
