// `topspin config`: the options that are configured, and where each value comes from.
#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/commands/commands.h"
#include "app/host/outlet.h"
#include "app/options/config.h"
#include "app/options/option_group.h"
#include "core/base/text.h"
#include "report/json/values.h"

namespace topspin {
namespace {

std::string name_of(const ConfiguredValue& value) {
  return value.command.empty() ? value.option : fmt::format("{} --{}", value.command, value.option);
}

std::string text_of(const ConfiguredValue& value) {
  const std::string text = fmt::format("{}", fmt::join(value.values, ", "));
  return text.empty() ? "(default)" : sanitize_for_terminal(text);
}

void print_text(const Config& config) {
  size_t width = 0;
  for (const ConfigFile& file : config.files) width = std::max(width, file.path.size());
  fmt::print("Files, of which a later one counts more:\n");
  for (const ConfigFile& file : config.files)
    fmt::print("  {:{}}  {}\n", file.path, width, file.exists ? "read" : "not there");
  if (config.files.empty()) fmt::print("  none (TOPSPIN_CONFIG is empty)\n");
  if (config.values.empty()) {
    fmt::print("\nNothing is configured: all options have the defaults that their help names.\n");
    return;
  }
  size_t name_width = 0, value_width = 0;
  for (const ConfiguredValue& value : config.values) {
    name_width = std::max(name_width, name_of(value).size());
    value_width = std::max(value_width, text_of(value).size());
  }
  fmt::print("\n");
  for (const ConfiguredValue& value : config.values)
    fmt::print("{:{}}  {:{}}  {}\n", name_of(value), name_width, text_of(value), value_width,
               sanitize_for_terminal(value.source));
}

void print_json(const Config& config) {
  Json files = Json::array(), values = Json::array();
  for (const ConfigFile& file : config.files)
    files.push_back({{"path", file.path}, {"exists", file.exists}});
  for (const ConfiguredValue& value : config.values)
    values.push_back({{"command", value.command},
                      {"option", value.option},
                      {"values", value.values},
                      {"source", value.source}});
  Json json = {{"schema_version", kSchemaVersion}};
  json["files"] = std::move(files);
  json["values"] = std::move(values);
  fmt::print("{}\n", dump_json(json, 2));
}

}  // namespace

void add_config_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("config", "Show which options are configured, and where");
  auto format = std::make_shared<std::string>("text");
  OptionGroup(*command, kDisplayGroup)
      .choice("--format", *format, "FORMAT", {"text", "json"}, "text or json (default text)");
  command->footer(
      "Examples:\n"
      "  topspin config\n"
      "  topspin config --format json\n"
      "\n"
      "/etc/topspin/config.toml counts least, then topspin/config.toml in $XDG_CONFIG_HOME "
      "(~/.config), then the environment, then the command line. A file has db = \"FILE\" at its "
      "top, for all commands, and a table for each command: [record] with interval = \"500ms\". A "
      "variable is TOPSPIN_DB, or TOPSPIN_ with the command and the option. TOPSPIN_CONFIG names "
      "a file in place of both; empty: none.");
  command->callback([format, &root, &action] {
    action = [format, &root] {
      const auto config = read_config(root);
      if (!config.ok()) return fail(config.error());
      if (*format == "json")
        print_json(*config);
      else
        print_text(*config);
      return 0;
    };
  });
}

}  // namespace topspin
