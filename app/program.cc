// The command line as a whole: the commands, help, version, and how errors end the program.
#include "app/program.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <new>
#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/config.h"
#include "app/options/help_format.h"
#include "core/base/text.h"

namespace topspin {
namespace {

constexpr const char* kDescription =
    "topspin shows what a server's clients see on the wire and what the Linux kernel does to its "
    "threads, on one clock, and tells you which of them made replies late.";

constexpr const char* kFooter =
    "Examples:\n"
    "  topspin -i lo 'port 8888'\n"
    "  topspin record -i lo --period 1s 'udp port 8888' -- node server.js 8888\n"
    "  topspin record -i lo --pid 4242 --duration 60s 'port 8888'\n"
    "  topspin run plan.toml\n"
    "  topspin list -n 20\n"
    "  topspin report last -o report.html\n"
    "  topspin doctor\n"
    "\n"
    "topspin help COMMAND shows the options of a command.\n"
    "\n"
    "Exit codes: 0 success; 1 regression or a rule broken; 2 wrong usage; 3 run invalid; 4 "
    "permission or kernel; 5 input, output or internal error; 128+n on signal n. record returns "
    "its command's own status.";

/// Whether a command line without a command's name means live: it starts with an option of live, or
/// with a word that starts a pcap filter, as in `topspin -i lo` and `topspin port 8888`.
bool means_live(const std::vector<char*>& words) {
  if (words.size() < 2) return false;
  const std::string_view first = words[1];
  for (const char* own : {"-h", "--help", "-V", "--version", "-D", "--list-interfaces"})
    if (first == own) return false;
  if (first.starts_with("-")) return true;
  const std::string_view word = first.substr(0, first.find(' '));
  constexpr std::array<std::string_view, 20> kFilterWords = {
      "port", "portrange", "host", "net",   "src",  "dst", "tcp",   "udp",  "icmp",    "icmp6",
      "ip",   "ip6",       "arp",  "ether", "vlan", "not", "proto", "less", "greater", "("};
  return std::find(kFilterWords.begin(), kFilterWords.end(), word) != kFilterWords.end();
}

/// Turns `topspin help COMMAND` into `topspin COMMAND --help`, and `topspin help` into `topspin
/// --help`. A command that does not exist is left as it is, so it ends like any unknown command.
void resolve_help(std::vector<char*>& words, std::string& help_flag, const CLI::App& root) {
  if (words.size() < 2 || std::string_view(words[1]) != "help") return;
  words.erase(words.begin() + 1);
  words.resize(std::min<size_t>(words.size(), 2));
  const auto is_meant = [&](const CLI::App* command) { return command->check_name(words[1]); };
  if (words.size() == 1 || !root.get_subcommands(is_meant).empty())
    words.push_back(help_flag.data());
}

std::vector<std::string> names_under(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* each : command.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(each->get_name());
  return names;
}

/// The innermost command: "http" for `topspin load http`.
const CLI::App& innermost(const CLI::App& root) {
  const CLI::App* command = &root;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

/// Whether `command` has subcommands, but none was given.
bool needs_a_word(const CLI::App& command) {
  return command.get_subcommands().empty() && !names_under(command).empty();
}

/// What topspin has instead of an option that tcpdump's users type; empty if nothing.
std::string_view in_place_of(std::string_view option) {
  if (option == "-c") return "; record, live and read stop after a number of packets";
  if (option == "-w") {
    return "; record and live write the packets that they capture; tcpdump -r FILE -w FILE FILTER "
           "makes one file of another";
  }
  return "";
}

/// The message that `command` needs a subcommand, with the word that was given instead and the one
/// that was probably meant.
std::string missing_word(const CLI::App& command, const std::vector<std::string>& words) {
  const std::vector<std::string> names = names_under(command);
  const std::vector<std::string_view> views(names.begin(), names.end());
  std::string text = fmt::format("{} needs one of {}", command.get_name(), fmt::join(names, ", "));
  const auto word = std::find_if(words.begin(), words.end(),
                                 [](const std::string& w) { return !w.starts_with("-"); });
  if (word != words.end())
    text += fmt::format("; there is no {} \"{}\"{}", command.get_name(), *word,
                        did_you_mean(*word, views));
  return fmt::format("{}; see topspin help {}", text, command.get_name());
}

/// Replaces the library's message about a missing or non-numeric value by a clearer one.
std::string plain_message(const CLI::ParseError& error, const CLI::App& command) {
  const std::string message = error.what();
  if (dynamic_cast<const CLI::ConversionError*>(&error)) {
    constexpr std::string_view kBegin = "Could not convert: ", kBetween = " = ";  // --aa = x
    const size_t between = message.find(kBetween);
    if (message.starts_with(kBegin) && between != std::string::npos) {
      return fmt::format("{}: {} is not a number, or is out of range",
                         message.substr(kBegin.size(), between - kBegin.size()),
                         message.substr(between + kBetween.size()));
    }
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error)) {
    const std::string name = message.substr(0, message.find(':'));
    const CLI::Option* option = command.get_option_no_throw(name);
    if (option != nullptr)
      return fmt::format("{0} needs a value: {0} {1}", name, option->get_option_text());
  }
  return message;
}

/// Adds a hint at the help. The message may end with a question ("did you mean json?").
std::string with_help(const std::string& message, const std::string& help) {
  return fmt::format("{}{} see {}", message, message.ends_with('?') ? " If not," : ";", help);
}

/// The message about words that no command takes: the first of them, and what was probably meant.
/// REQUIRES: there are some.
std::string unexpected_words(const CLI::App& root, const std::vector<std::string>& words) {
  const std::string& word = words.front();
  const std::vector<CLI::App*> chosen = root.get_subcommands();
  const bool is_option = word.starts_with("-");
  std::vector<std::string> names;
  const std::string help =
      chosen.empty() ? "topspin --help" : "topspin help " + chosen.front()->get_name();
  const CLI::App* command = &innermost(root);
  if (is_option) {
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  } else {
    names = names_under(*command);
  }
  const std::string name = word.substr(0, word.find('='));
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::optional<std::string_view> meant = nearest_word(name, views);
  std::string text;
  if (is_option)
    text = fmt::format("{} has no option {}{}", command->get_name(), name, in_place_of(name));
  else if (command == &root)
    text = fmt::format("there is no command \"{}\"", word);
  else
    text = fmt::format("{} does not take the word \"{}\"", command->get_name(), word);
  if (meant) text += fmt::format("; did you mean {}?", *meant);
  return with_help(text, help);
}

/// Turns `topspin --db FILE COMMAND` into `topspin COMMAND --db FILE`.
void move_database(std::vector<char*>& words, const CLI::App& root) {
  const bool apart = words.size() > 3 && std::string_view(words[1]) == "--db";
  const bool joined = words.size() > 2 && std::string_view(words[1]).starts_with("--db=");
  if (!apart && !joined) return;
  const auto command = words.begin() + (apart ? 3 : 2);
  const auto is_meant = [&](const CLI::App* known) { return known->check_name(*command); };
  if (!root.get_subcommands(is_meant).empty()) std::rotate(words.begin() + 1, command, command + 1);
}

/// Turns `topspin load -q http` into `topspin load http -q`.
void move_workload(std::vector<char*>& words, const CLI::App& root) {
  if (words.size() < 4 || std::string_view(words[1]) != "load") return;
  const CLI::App& load = *root.get_subcommand("load");
  const auto workload = std::find_if(words.begin() + 2, words.end(), [&](const char* word) {
    const auto is_meant = [&](const CLI::App* known) { return known->check_name(word); };
    return !load.get_subcommands(is_meant).empty();
  });
  if (workload != words.end()) std::rotate(words.begin() + 2, workload, workload + 1);
}

/// Adds the commands in the order of the help.
void add_commands(CLI::App& root, const TrailingCommand& trailing, Action& action) {
  add_live_command(root, trailing, action);
  add_record_command(root, trailing, action);
  add_watch_command(root, trailing, action);
  for (const auto add :
       {add_read_command,     add_ends_command,         add_replay_command, add_load_command,
        add_worker_command,   add_run_command,          add_ci_command,     add_list_command,
        add_report_command,   add_explain_command,      add_export_command, add_sql_command,
        add_compare_command,  add_gate_command,         add_accept_command, add_label_command,
        add_rm_command,       add_compact_command,      add_merge_command,  add_push_command,
        add_pull_command,     add_store_command,        add_doctor_command, add_config_command,
        add_complete_command, add_fault_subject_command})
    add(root, action);
}

/// What the words of a command line set.
struct CommandLine {
  TrailingCommand trailing;
  Action action;
  bool list_interfaces = false;
  CLI::App root{kDescription, "topspin"};

  explicit CommandLine(TrailingCommand after_hyphens) : trailing(std::move(after_hyphens)) {
    root.formatter(std::make_shared<HelpFormat>());
    root.footer(kFooter);
    root.set_version_flag("-V,--version", version_text,
                          "Print the versions of topspin and its libraries");
    root.set_help_flag("-h,--help", "Print this help");
    root.add_flag("-D,--list-interfaces", list_interfaces,
                  "List the interfaces that can be captured on");
    root.require_subcommand(0, 1);
    add_commands(root, trailing, action);
  }
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  void parse(std::vector<char*>& words) {
    root.parse(static_cast<int>(words.size()), words.data());
  }
};

/// Puts the words for what is configured behind the name of the command that was chosen.
/// `configured` owns them. `root` knows all commands, and has not parsed the words yet. Returns
/// what is configured; nothing if the words ask for help.
Result<Config> add_configured(const CLI::App& root, std::vector<char*>& words,
                              std::vector<std::string>& configured,
                              const TrailingCommand& trailing) {
  auto read = read_config(root);
  if (read.ok() && read->values.empty()) return read;
  CommandLine line(trailing);
  try {
    line.parse(words);
  } catch (const CLI::Success&) {
    return Config{};
  } catch (const CLI::ParseError&) {
    // Something may be missing that is configured. The second time says it.
  }
  TOPSPIN_ASSIGN(Config config, std::move(read));
  const CLI::App& command = innermost(line.root);
  if (command.get_name() == "config") return config;  // it shows where each value is from
  for (const ConfiguredValue& value : config.values) {
    if (value.command.empty() && !value.values.front().empty())
      ::setenv("TOPSPIN_DB", value.values.front().c_str(), 1);
  }
  configured = configured_words(config, command);
  auto place = words.begin() + 1;
  for (const CLI::App* name = &line.root; !name->get_subcommands().empty();) {
    name = name->get_subcommands().front();
    const auto found = std::find(place, words.end(), name->get_name());
    if (found != words.end()) place = found + 1;
  }
  std::vector<char*> added;
  for (std::string& word : configured) added.push_back(word.data());
  words.insert(place, added.begin(), added.end());
  return config;
}

}  // namespace

int run_program(std::span<char*> arguments) {
  // If a reader goes away (`topspin report | head`), that is an output error; topspin must not just
  // die.
  prepare_standard_streams();

  // Everything after the first "--" is the subject's command.
  const auto separator = std::find_if(arguments.begin(), arguments.end(),
                                      [](const char* a) { return std::string_view(a) == "--"; });
  TrailingCommand trailing;
  if (separator != arguments.end()) trailing.assign(separator + 1, arguments.end());
  std::vector<char*> own(arguments.begin(), separator);
  std::string help_flag = "--help";
  std::string live = "live";

  CommandLine line(trailing);
  const CLI::App& root = line.root;
  resolve_help(own, help_flag, root);
  move_database(own, root);
  move_workload(own, root);
  if (means_live(own)) own.insert(own.begin() + 1, live.data());
  std::vector<std::string> configured;
  const auto config = add_configured(root, own, configured, trailing);
  if (!config.ok()) return fail(config.error());

  try {
    line.parse(own);
  } catch (const CLI::Success& success) {  // --help, --version
    const bool fine = line.root.exit(success) == 0 && std::cout.flush().good();
    return fine ? 0 : fail(make_error(ErrorCode::kOutput, "cannot write to standard output"));
  } catch (const CLI::ParseError& error) {
    // An unexpected word is probably the reason why something else is missing.
    const std::vector<std::string> words = root.remaining(true);
    const std::vector<CLI::App*> chosen = root.get_subcommands();
    const std::string help =
        chosen.empty() ? "topspin --help" : "topspin help " + chosen.front()->get_name();
    const bool is_required = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
    if (is_required && !chosen.empty() && needs_a_word(*chosen.front()))
      say(missing_word(*chosen.front(), words));
    else if (!words.empty() && (is_required || dynamic_cast<const CLI::ExtrasError*>(&error)))
      say(unexpected_words(root, words));
    else
      say(with_help(plain_message(error, innermost(root)), help));
    const std::string source =
        source_of_error(config.value(), configured, innermost(root), error.what());
    if (!source.empty()) say(fmt::format("that option's value is from {}", source));
    return exit_code(ErrorCode::kUsage);
  }
  Action& action = line.action;
  if (line.list_interfaces) action = print_interfaces;
  if (!action) {
    error_outlet().write(root.help());
    return exit_code(ErrorCode::kUsage);
  }
  if (!trailing.empty() && !root.got_subcommand("record") && !root.got_subcommand("live") &&
      !root.got_subcommand("watch")) {
    say("a command after -- belongs to topspin live, record or watch; see topspin record --help");
    return exit_code(ErrorCode::kUsage);
  }
  int code = 0;
  try {
    code = action();
  } catch (const std::system_error& error) {  // from fmt, if standard output cannot be written
    return fail(make_error(ErrorCode::kOutput,
                           fmt::format("cannot write to standard output: {}", error.what())));
  } catch (const std::bad_alloc&) {
    return fail(make_error(ErrorCode::kInternal, "there is not enough memory"));
  }
  if (code == exit_code(ErrorCode::kUsage) && trailing.empty()) {
    for (const std::string& word : configured)
      say(fmt::format("configured, and so in effect: {}; see topspin config", word));
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    if (code == 0) return fail(make_error(ErrorCode::kOutput, "cannot write to standard output"));
  }
  return code;
}

}  // namespace topspin
