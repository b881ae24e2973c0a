// `topspin load` as a program of its own, so that load is tested through its command line without
// the rest of topspin.
#include <csignal>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/command.h"
#include "core/text.h"

namespace topspin {

void say(std::string_view message) {
  fmt::print(stderr, "topspin: {}\n", sanitize_for_terminal(message));
}

int fail(const Error& error) {
  say(error.message);
  return exit_code(error.code);
}

}  // namespace topspin

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App root("topspin load", "load_program");
  root.require_subcommand(1);
  topspin::Action action;
  topspin::add_load_command(root, action);
  try {
    root.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return root.exit(success);
  } catch (const CLI::ParseError& error) {
    topspin::say(error.what());
    return 2;
  }
  return action();
}
