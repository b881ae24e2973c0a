#include "app/options/config.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "core/base/read_file.h"
#include "core/base/text.h"
#include "core/base/toml_document.h"

namespace topspin {
namespace {

constexpr size_t kMostConfigBytes = 256 << 10;
constexpr const char* kDatabaseVariable = "TOPSPIN_DB";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// "load http" for the workload http.
std::string path_of(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  if (parent == nullptr) return "";
  const std::string above = path_of(*parent);
  return above.empty() ? command.get_name() : above + " " + command.get_name();
}

std::vector<const CLI::App*> commands_under(const CLI::App& command) {
  return command.get_subcommands([](const CLI::App*) { return true; });
}

/// An option that may be configured. nullptr if there is none of that name.
const CLI::Option* option_of(const CLI::App& command, const std::string& name) {
  if (name == "help" || name == "version" || name.empty()) return nullptr;
  return command.get_option_no_throw("--" + name);
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

/// Reads one file.
class ConfigReader {
 public:
  ConfigReader(const std::string& path, const CLI::App& root) : path_(path), root_(root) {}

  Result<std::vector<ConfiguredValue>> read(const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (name == "db") {
        TOPSPIN_ASSIGN(auto values, values_of(node, name, false));
        if (values.size() != 1) return error(node.source(), "there can be one db only");
        found_.push_back({"", name, std::move(values), place(node.source())});
        continue;
      }
      const CLI::App* command = command_named(root_, name);
      if (command == nullptr) return unknown(key, root_, "db");
      if (!node.is_table())
        return error(node.source(),
                     fmt::format("{} is a command: write [{}], and its options below", name, name));
      TOPSPIN_TRY(read_command(*node.as_table(), *command));
    }
    return std::move(found_);
  }

 private:
  static const CLI::App* command_named(const CLI::App& above, const std::string& name) {
    const auto commands = commands_under(above);
    const auto command = std::ranges::find(commands, name, &CLI::App::get_name);
    return command != commands.end() ? *command : nullptr;
  }

  Status read_command(const toml::table& table, const CLI::App& command) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (node.is_table()) {
        const CLI::App* below = command_named(command, name);
        if (below == nullptr) return unknown(key, command, "");
        TOPSPIN_TRY(read_command(*node.as_table(), *below));
        continue;
      }
      const CLI::Option* option = option_of(command, name);
      if (option == nullptr) return unknown(key, command, "");
      TOPSPIN_ASSIGN(auto values, values_of(node, name, is_flag(*option)));
      found_.push_back({path_of(command), name, std::move(values), place(node.source())});
    }
    return {};
  }

  std::string place(const toml::source_region& at) const {
    return fmt::format("{}:{}", path_, at.begin.line);
  }
  Error error(const toml::source_region& at, const std::string& message) const {
    return make_error(ErrorCode::kUsage, fmt::format("{}: {}", place(at), message));
  }

  /// The error that `command` (or, at the top, no command) has no such key.
  Error unknown(const toml::key& key, const CLI::App& command, std::string_view also) const {
    std::vector<std::string> names;
    for (const CLI::App* below : commands_under(command)) names.push_back(below->get_name());
    if (&command != &root_) {
      for (const CLI::Option* option : command.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back(name);
      }
    }
    if (!also.empty()) names.emplace_back(also);
    const std::vector<std::string_view> views(names.begin(), names.end());
    const std::string what = &command == &root_ ? std::string("there is no command")
                                                : fmt::format("{} has no option", path_of(command));
    return error(key.source(), fmt::format("{} \"{}\"{}", what, printable(key.str()),
                                           did_you_mean(key.str(), views)));
  }

  Result<std::vector<std::string>> values_of(const toml::node& node, const std::string& name,
                                             bool flag) const {
    std::vector<std::string> values;
    if (flag) {
      if (!node.is_boolean())
        return error(node.source(), fmt::format("{} is a flag: write true or false", name));
      return std::vector<std::string>{node.value_or(false) ? "true" : "false"};
    }
    const auto add = [&](const toml::node& one) {
      if (const auto* text = one.as_string()) values.push_back(text->get());
      if (const auto* number = one.as_integer()) values.push_back(std::to_string(number->get()));
      if (const auto* number = one.as_floating_point())
        values.push_back(fmt::format("{}", number->get()));
    };
    size_t wanted = 1;
    if (const toml::array* array = node.as_array()) {
      wanted = array->size();
      for (const toml::node& one : *array) add(one);
    } else {
      add(node);
    }
    if (values.size() != wanted || values.empty())
      return error(node.source(), fmt::format("{} needs a text, a number, or several of them in "
                                              "brackets",
                                              name));
    return values;
  }

  /// Keys are foreign text.
  static std::string printable(std::string_view key) { return sanitize_for_terminal(key); }

  const std::string& path_;
  const CLI::App& root_;
  std::vector<ConfiguredValue> found_;
};

std::vector<std::string> config_paths() {
  if (std::getenv("TOPSPIN_CONFIG") != nullptr) {
    const std::string only = variable("TOPSPIN_CONFIG");
    return only.empty() ? std::vector<std::string>() : std::vector<std::string>{only};
  }
  std::vector<std::string> paths = {"/etc/topspin/config.toml"};
  std::string home = variable("XDG_CONFIG_HOME");
  if (home.empty() && !variable("HOME").empty()) home = variable("HOME") + "/.config";
  if (!home.empty()) paths.push_back(home + "/topspin/config.toml");
  return paths;
}

/// Puts a value in place of the one that counted so far.
void put(std::vector<ConfiguredValue>& values, ConfiguredValue value) {
  const auto same = std::ranges::find_if(values, [&](const ConfiguredValue& one) {
    return one.command == value.command && one.option == value.option;
  });
  if (same == values.end())
    values.push_back(std::move(value));
  else
    *same = std::move(value);
}

/// TOPSPIN_LOAD_HTTP_CLIENTS
std::string variable_name(const CLI::App& command, const std::string& option) {
  std::string name = fmt::format("TOPSPIN_{}_{}", path_of(command), option);
  std::ranges::transform(name, name.begin(), [](char c) {
    if (c == '-' || c == ' ') return '_';
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return name;
}

void read_variables(const CLI::App& command, std::vector<ConfiguredValue>& values) {
  for (const CLI::App* below : commands_under(command)) {
    for (const CLI::Option* option : below->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        if (option_of(*below, name) == nullptr) continue;
        const std::string from = variable_name(*below, name);
        const std::string value = variable(from.c_str());
        if (value.empty()) continue;
        const bool is_off = value == "false" || value == "0" || value == "no";
        const std::string shown = !is_flag(*option) ? value : is_off ? "false" : "true";
        put(values, {path_of(*below), name, {shown}, from});
      }
    }
    read_variables(*below, values);
  }
}

}  // namespace

Result<std::vector<ConfiguredValue>> parse_config(std::string_view text, const std::string& path,
                                                  const CLI::App& root) {
  const TomlDocument document = parse_toml(text, path);
  if (!document.table)
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}:{}: {}", path, document.line, document.error));
  return ConfigReader(path, root).read(*document.table);
}

Result<Config> read_config(const CLI::App& root) {
  Config config;
  for (const std::string& path : config_paths()) {
    std::error_code ignored;
    const bool exists = std::filesystem::exists(path, ignored);
    config.files.push_back({path, exists});
    if (!exists && std::getenv("TOPSPIN_CONFIG") != nullptr)
      return make_error(ErrorCode::kInput,
                        fmt::format("{}: there is no such file (TOPSPIN_CONFIG)", path));
    if (!exists) continue;
    const auto text = read_file(path, kMostConfigBytes);
    if (!text.ok())
      return make_error(ErrorCode::kInput, fmt::format("{}: {}", path, text.error().message));
    TOPSPIN_ASSIGN(auto values, parse_config(text.value(), path, root));
    for (ConfiguredValue& value : values) put(config.values, std::move(value));
  }
  const std::string db = variable(kDatabaseVariable);
  if (!db.empty()) put(config.values, {"", "db", {db}, kDatabaseVariable});
  read_variables(root, config.values);
  return config;
}

std::vector<std::string> configured_words(const Config& config, const CLI::App& command) {
  std::vector<std::string> words;
  const std::string path = path_of(command);
  for (const ConfiguredValue& value : config.values) {
    if (path.empty() || value.command != path) continue;
    const CLI::Option* option = option_of(command, value.option);
    if (option == nullptr || option->count() > 0) continue;
    for (const std::string& each : value.values) {
      if (is_flag(*option) && each == "true") words.push_back("--" + value.option);
      if (!is_flag(*option) && !each.empty())
        words.push_back(fmt::format("--{}={}", value.option, each));
    }
  }
  return words;
}

std::string source_of_error(const Config& config, const std::vector<std::string>& words,
                            const CLI::App& command, std::string_view message) {
  for (const ConfiguredValue& value : config.values) {
    if (value.command != path_of(command)) continue;
    const std::string option = "--" + value.option;
    const auto is_this = [&](const std::string& word) {
      return word.substr(0, word.find('=')) == option;
    };
    if (std::ranges::none_of(words, is_this)) continue;
    const size_t at = message.find(option);
    if (at == std::string_view::npos) continue;
    const size_t end = at + option.size();
    if (end == message.size() ||
        !(std::isalnum(static_cast<unsigned char>(message[end])) || message[end] == '-'))
      return value.source;
  }
  return "";
}

}  // namespace topspin
