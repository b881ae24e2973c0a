#include "app/options/help_format.h"

#include <fmt/format.h>

#include "app/options/option_group.h"

namespace topspin {
namespace {

constexpr size_t kColumns = 80;
constexpr size_t kOptionIndent = 30;
constexpr size_t kCommandIndent = 16;

/// Wraps `text` to lines of at most kColumns, broken at spaces, each but the first indented. `used`
/// is the width of what precedes it on its first line.
std::string wrapped(std::string_view text, size_t used, size_t indent) {
  std::string out;
  size_t column = used;
  bool at_start = true;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    if (!at_start && column + 1 + word.size() > kColumns) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (!at_start) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    at_start = false;
  }
  return out;
}

/// A name and its meaning, beside it, or below if the name is too long.
std::string entry(const std::string& name, std::string_view meaning, size_t indent) {
  std::string out = "  " + name;
  if (out.size() + 2 > indent)
    out += '\n' + std::string(indent, ' ');
  else
    out.resize(indent, ' ');
  return out + wrapped(meaning, indent, indent) + '\n';
}

/// Indented lines are examples and are not wrapped.
std::string footer(const std::string& text) {
  std::string out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    out += line.starts_with(' ') ? std::string(line) : wrapped(line, 0, 0);
    out += '\n';
    begin = end + 1;
  }
  return out;
}

bool is_help(const CLI::App* app, const CLI::Option* option) {
  return option == app->get_help_ptr() || option == app->get_version_ptr();
}

bool takes_a_command(const CLI::App* app) { return app->get_option_no_throw("--pid") != nullptr; }

}  // namespace

std::string HelpFormat::make_help(const CLI::App* app, std::string name,
                                  CLI::AppFormatMode mode) const {
  std::string out = wrapped(app->get_description(), 0, 0) + "\n\n";
  out += make_usage(app, std::move(name));
  out += make_positionals(app);
  out += make_subcommands(app, mode);
  for (const char* group :
       {"Options", kIncidentsGroup, kCaptureGroup, kScheduleGroup, kMessagesGroup, kSubjectGroup,
        kTimeGroup, kWorkersGroup, kProbesGroup, kStorageGroup, kMetricsGroup, kDisplayGroup}) {
    const auto options = app->get_options([&](const CLI::Option* option) {
      return option->get_group() == group && option->nonpositional() && !is_help(app, option);
    });
    if (!options.empty()) out += make_group(group, false, options);
  }
  out += make_group("Help", false,
                    app->get_options([&](const CLI::Option* o) { return is_help(app, o); }));
  if (const std::string text = app->get_footer(); !text.empty()) out += '\n' + footer(text);
  return out;
}

std::string HelpFormat::make_usage(const CLI::App* app, std::string name) const {
  std::string words = name + " [OPTIONS]";
  if (app->get_parent() == nullptr) {
    return fmt::format("Usage: {0} [OPTIONS] [FILTER...]\n       {0} COMMAND [OPTIONS]\n", name);
  }
  for (const CLI::Option* option :
       app->get_options([](const CLI::Option* o) { return o->get_positional(); })) {
    words += ' ' + make_option_usage(option);
  }
  if (!app->get_subcommands([](const CLI::App*) { return true; }).empty()) words += " WORKLOAD";
  if (takes_a_command(app)) words += " [-- COMMAND...]";
  return fmt::format("Usage: {}\n", wrapped(words, 7, 9));
}

std::string HelpFormat::make_group(std::string group, bool is_positional,
                                   std::vector<const CLI::Option*> options) const {
  std::string out = fmt::format("\n{}:\n", is_positional ? "Arguments" : group);
  for (const CLI::Option* option : options) out += make_option(option, is_positional);
  return out;
}

std::string HelpFormat::make_option(const CLI::Option* option, bool is_positional) const {
  std::string name;
  for (const char c : option->get_name(is_positional, !is_positional)) {
    name += c;
    if (c == ',') name += ' ';
  }
  if (const std::string& text = option->get_option_text(); !text.empty())
    name = is_positional ? text : name + ' ' + text;
  return entry(name, option->get_description(), kOptionIndent);
}

std::string HelpFormat::make_subcommands(const CLI::App* app, CLI::AppFormatMode) const {
  std::string out;
  const auto is_shown = [](const CLI::App* command) { return !command->get_group().empty(); };
  for (const CLI::App* command : app->get_subcommands(is_shown)) out += make_subcommand(command);
  if (out.empty()) return out;
  return (app->get_parent() == nullptr ? "\nCommands:\n" : "\nWorkloads:\n") + out;
}

std::string HelpFormat::make_subcommand(const CLI::App* command) const {
  return entry(command->get_name(), command->get_description(), kCommandIndent);
}

}  // namespace topspin
