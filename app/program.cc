// The command line as a whole: which commands there are, help, version, and how errors end the
// program.
#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <new>
#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/command.h"
#include "app/outlet.h"
#include "app/version.h"
#include "capture/flow_tracker.h"
#include "core/text.h"
#include "probes/probes.h"
#include "store/run_store.h"

namespace topspin {
namespace {

constexpr const char* kDescription =
    "topspin watches the traffic of a runtime on the wire and the kernel's treatment of its "
    "threads, on one clock:\n"
    "live flows, lateness, reply latency, memory and scheduler latency, second by second.";

constexpr const char* kFooter =
    "Examples:\n"
    "  topspin -i lo 'port 8888'\n"
    "  topspin record -i lo --period 1s 'udp port 8888' -- node server.js 8888\n"
    "  topspin record -i lo --pid 4242 --duration 60s 'port 8888'\n"
    "  topspin read capture.pcap --format json\n"
    "  topspin load udp-pingpong --target 127.0.0.1:8888 --clients 1000 --hold 30s\n"
    "  topspin run plan.toml\n"
    "  topspin list\n"
    "  topspin report last\n"
    "  topspin export last --format csv --table flows\n"
    "  topspin compare --samples before.csv after.csv --paired\n"
    "  topspin gate --history --series nightly.csv --column cpu_us\n"
    "  topspin doctor\n"
    "\n"
    "Exit codes: 0 fine; 1 regression or SLO broken; 2 wrong usage; 3 run invalid; 4 permission or "
    "kernel;\n"
    "5 input, output or internal error; 128+n on signal n. record passes its command's own status "
    "on.";

/// Whether a command line without a command's name means live: it starts with an option of live's,
/// or with a word that starts a pcap filter, as in `topspin -i lo` and `topspin port 8888`.
bool means_live(const std::vector<char*>& words) {
  if (words.size() < 2) return false;
  const std::string_view first = words[1];
  if (first == "-h" || first == "--help" || first == "--version") return false;
  if (first.starts_with("-")) return true;
  const std::string_view word = first.substr(0, first.find(' '));
  constexpr std::array<std::string_view, 20> kFilterWords = {
      "port", "portrange", "host", "net",   "src",  "dst", "tcp",   "udp",  "icmp",    "icmp6",
      "ip",   "ip6",       "arp",  "ether", "vlan", "not", "proto", "less", "greater", "("};
  return std::find(kFilterWords.begin(), kFilterWords.end(), word) != kFilterWords.end();
}

/// `topspin -D`, as messages advise it and tcpdump has it.
bool lists_interfaces(const std::vector<char*>& words) {
  if (words.size() < 2) return false;
  const std::string_view first = words[1];
  return first == "-D" || first == "--list-interfaces";
}

}  // namespace

void say(std::string_view message) {
  constexpr int kWaitMs = 200;  // longer than for a tick's line, which the next one replaces
  error_outlet().write(fmt::format("topspin: {}\n", sanitize_for_terminal(message)), kWaitMs);
}

int fail(const Error& error) {
  say(error.message);
  return exit_code(error.code);
}

std::string version_text() {
  return fmt::format("topspin {}\nlibpcap: {}\nlibbpf: {}\nSQLite: {}\n", kVersion,
                     pcap_library_version(), bpf_library_version(), sqlite_library_version());
}

int run_program(std::span<char*> arguments) {
  // A reader that goes away (`topspin report | head`) is an output error, not a reason to die
  // silently.
  prepare_standard_streams();

  // What follows the first "--" is the subject's command, whatever it looks like.
  const auto separator = std::find_if(arguments.begin(), arguments.end(),
                                      [](const char* a) { return std::string_view(a) == "--"; });
  TrailingCommand trailing;
  if (separator != arguments.end()) trailing.assign(separator + 1, arguments.end());
  std::vector<char*> own(arguments.begin(), separator);
  std::string implied = lists_interfaces(own) ? "record" : "live";
  if (means_live(own)) own.insert(own.begin() + 1, implied.data());

  CLI::App root(kDescription, "topspin");
  root.footer(kFooter);
  root.set_version_flag("--version", version_text,
                        "Print the versions of topspin and its libraries");
  root.set_help_flag("-h,--help", "Print this help");
  root.require_subcommand(0, 1);
  root.get_formatter()->column_width(34);
  Action action;
  add_live_command(root, trailing, action);
  add_record_command(root, trailing, action);
  add_read_command(root, action);
  add_replay_command(root, action);
  add_load_command(root, action);
  add_run_command(root, action);
  add_merge_command(root, action);
  add_list_command(root, action);
  add_report_command(root, action);
  add_export_command(root, action);
  add_compare_command(root, action);
  add_gate_command(root, action);
  add_accept_command(root, action);
  add_doctor_command(root, action);

  try {
    root.parse(static_cast<int>(own.size()), own.data());
  } catch (const CLI::Success& success) {  // --help, --version
    const bool fine = root.exit(success) == 0 && std::cout.flush().good();
    return fine ? 0 : fail(make_error(ErrorCode::kOutput, "cannot write to standard output"));
  } catch (const CLI::ParseError& error) {
    say(fmt::format("{}; see topspin --help", error.what()));
    return exit_code(ErrorCode::kUsage);
  }
  if (!action) {
    error_outlet().write(root.help());
    return exit_code(ErrorCode::kUsage);
  }
  if (!trailing.empty() && !root.got_subcommand("record") && !root.got_subcommand("live")) {
    say("a command after -- belongs to topspin live or record; see topspin record --help");
    return exit_code(ErrorCode::kUsage);
  }
  int code = 0;
  try {
    code = action();
  } catch (const std::system_error& error) {  // fmt, of a standard output that takes no more
    return fail(make_error(ErrorCode::kOutput,
                           fmt::format("cannot write to standard output: {}", error.what())));
  } catch (const std::bad_alloc&) {
    return fail(make_error(ErrorCode::kInternal, "there is not enough memory"));
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    if (code == 0) return fail(make_error(ErrorCode::kOutput, "cannot write to standard output"));
  }
  return code;
}

}  // namespace topspin
