// Look: a screen and its user: the terminal, the view state, the model, and a frozen copy of it.
//
// live adds Samples as they are made, replay as they were stored. Lives on one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "app/screen/name_resolver.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "core/run/run.h"
#include "core/tick/sample.h"
#include "tui/controller.h"
#include "tui/model/model.h"
#include "tui/terminal/curses_terminal.h"
#include "tui/view_state.h"

namespace CLI {
class App;
}

namespace topspin {

/// The options about the screen, as they were typed.
struct LookOptions {
  std::string theme = "dark";
  std::string screen = "flows";
  std::string colours;  // file of colour rules; empty: ~/.topspin/colors, if it exists
  bool ascii = false;
  bool utf8 = false;
  bool once = false;
  int batch = 0;  // plain text this many times; 0: a screen
  int width = 0;  // of plain text; 0: COLUMNS, else 120
  int rows = 50;  // of tables in plain text
};
void add_look_options(CLI::App& app, LookOptions& options);

/// Whether the user asked for plain text.
bool is_plain(const LookOptions& options);

/// What a Look needs outside of a sandbox that it will be in: start_name_process(), unless the user
/// asked for plain text. REQUIRES: one thread.
Result<UniqueFd> start_outside_of_sandbox(const LookOptions& options);

/// kUsage if an option makes no sense.
Status check_look_options(const LookOptions& options);

class Look {
 public:
  /// In a sandbox, `name_process` looks names up (start_name_process()).
  explicit Look(LookOptions options, UniqueFd name_process = UniqueFd())
      : options_(std::move(options)), name_process_(std::move(name_process)) {}

  /// Whether the user asked for plain text.
  bool plain() const { return is_plain(options_); }
  int batch() const { return options_.once ? 1 : options_.batch; }

  /// Reads the file of colours. Call it after privileges were given up, because the user chooses
  /// the path.
  Status load_colours();
  /// Opens the terminal. kUnsupported if it cannot show a screen.
  Status open();
  /// Sets up the view state for the model's scene. Call it again once the scene is known.
  void begin();
  bool is_open() const { return terminal_ != nullptr; }
  int input_fd() const { return terminal_ ? terminal_->input_fd() : -1; }

  Model& model() { return model_; }
  /// Replaces the model, when replay steps back.
  void replace_model(Model model);
  void changed() { dirty_ = true; }
  bool frozen() const { return state_.frozen; }
  /// Freezes the picture until a key releases it. Does nothing if it is frozen already.
  void freeze();
  /// Removes all rows, because the capture moved, and closes the pages of those rows.
  void forget_rows();
  void say(std::string message);

  /// How soon there may be something to show without an event on a descriptor; -1: never.
  int refresh_ms() const;

  /// The flow whose packets are shown.
  std::optional<FlowKey> watched_flow() const;
  void add_packets(PacketCopies packets);
  /// Shows these packets, or the reason why there are none.
  void set_packets(PacketCopies packets, std::string note);
  bool shows_interfaces() const { return state_.screen == "interfaces"; }
  bool shows_processes() const { return state_.screen == "processes"; }
  int32_t wanted_pid() const { return state_.wanted_pid; }
  const std::string& wanted_interface() const { return state_.wanted_interface; }
  int64_t wanted_time_ns() const { return state_.wanted_time_ns; }

  /// Reads the waiting keys. Effects that the Look does not handle itself go to `effect`.
  void on_input(bool replay, const std::function<void(Effect)>& effect = {});
  /// Handles SIGWINCH, SIGTSTP (stops the process) and SIGCONT.
  void on_signal(int number);
  /// Draws if something changed.
  void draw();
  bool wants_stop() const { return stop_ || hung_up_; }
  /// The terminal is gone.
  bool is_hung_up() const { return hung_up_; }
  void close() { terminal_.reset(); }

  /// The chosen screen as plain text.
  std::string plain_text() const;

 private:
  const Model& shown() const { return frozen_ ? *frozen_ : model_; }
  void write_export();
  void look_names_up();

  LookOptions options_;
  std::shared_ptr<const ColourRules> colour_rules_;
  std::unique_ptr<CursesTerminal> terminal_;
  Model model_;
  UniqueFd name_process_;                   // given to the resolver
  std::unique_ptr<NameResolver> resolver_;  // created when names are first requested
  std::optional<Model> frozen_;             // live: the frozen picture, while counting continues
  ViewState state_;
  bool dirty_ = true;
  bool stop_ = false;
  bool hung_up_ = false;
};

/// The scene of a run. The caller sets the subject's state.
Scene make_scene(const RunInfo& run);

}  // namespace topspin
