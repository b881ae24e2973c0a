#include "probes/runtime/runtime_file.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/read_file.h"
#include "core/base/text.h"
#include "core/base/toml_document.h"
#include "probes/runtime_files.h"

namespace topspin {
namespace {

constexpr size_t kMostFileBytes = 256u << 10;
constexpr size_t kMostPointsOfAFile = 64;  // per file
constexpr std::string_view kReturn = "return:";
constexpr std::string_view kUsdt = "usdt:";

/// Reads the tables of a file. Remembers the first error.
class RuntimeReader {
 public:
  explicit RuntimeReader(const std::string& file) : file_(file) {}

  Result<RuntimeFile> read(const toml::table& root) {
    RuntimeFile runtime;
    runtime.name = text(root, "name");
    runtime.section = text(root, "section");
    runtime.symbol = text(root, "symbol");
    go_ = flag(root, "go");
    runtime.is_automatic = flag(root, "auto", true);
    if (const auto* objects = root["objects"].as_array()) {
      for (const toml::node& one : *objects) {
        if (one.is_string())
          runtime.objects.push_back(one.as_string()->get());
        else
          fail(one, "objects must be a list of texts");
      }
    }
    if (runtime.name.empty()) fail(root, "name is missing");
    if (runtime.objects.empty()) fail(root, "objects is missing: the files that hold the runtime");
    const auto* spans = root["span"].as_array();
    if (!spans || spans->empty()) fail(root, "a runtime needs at least one [[span]]");
    for (size_t i = 0; spans && i < spans->size(); ++i) {
      if (const auto* table = (*spans)[i].as_table())
        runtime.spans.push_back(read_span(*table));
      else
        fail((*spans)[i], "span must be a list of tables: write [[span]]");
    }
    check_keys(root, {"name", "auto", "objects", "section", "symbol", "go", "span"});
    if (points_ > kMostPointsOfAFile)
      fail(root, fmt::format("more than {} points", kMostPointsOfAFile));
    if (error_) return *error_;
    return runtime;
  }

 private:
  void fail(const toml::node& at, const std::string& what) {
    if (error_) return;
    error_ = make_error(ErrorCode::kUsage,
                        fmt::format("{}:{}: {}", file_, at.source().begin.line, what));
  }

  std::string text(const toml::table& table, std::string_view key) {
    const toml::node* node = table.get(key);
    if (!node) return {};
    if (!node->is_string()) fail(*node, fmt::format("{} must be a text", key));
    return node->is_string() ? node->as_string()->get() : std::string();
  }

  bool flag(const toml::table& table, std::string_view key, bool otherwise = false) {
    const toml::node* node = table.get(key);
    if (node && !node->is_boolean()) fail(*node, fmt::format("{} must be true or false", key));
    return node && node->is_boolean() ? node->as_boolean()->get() : otherwise;
  }

  /// Returns `least` if there is no such key.
  int64_t whole(const toml::table& table, std::string_view key, int64_t least, int64_t most) {
    const toml::node* node = table.get(key);
    if (!node) return least;
    const auto value = node->is_integer() ? node->as_integer()->get() : int64_t{-1};
    if (value < least || value > most)
      fail(*node, fmt::format("{} must be a whole number from {} to {}", key, least, most));
    return value;
  }

  void check_keys(const toml::table& table, std::initializer_list<std::string_view> known) {
    for (const auto& [key, node] : table) {
      if (std::ranges::find(known, key.str()) == known.end())
        fail(node, fmt::format("unknown key {}; known are {}", key.str(), fmt::join(known, ", ")));
    }
  }

  RuntimeSpan read_span(const toml::table& table) {
    RuntimeSpan span;
    const std::string kind = text(table, "kind");
    const auto found = std::ranges::find(kRuntimeKinds, kind);
    if (found == kRuntimeKinds.end())
      fail(table, fmt::format("kind must be one of {}", fmt::join(kRuntimeKinds, ", ")));
    else
      span.kind = static_cast<size_t>(found - kRuntimeKinds.begin());
    uint8_t key = TOPSPIN_RUNTIME_BY_THREAD;
    if (const toml::node* by = table.get("by")) {
      const std::string word = by->is_string() ? by->as_string()->get() : std::string();
      if (word == "process")
        key = TOPSPIN_RUNTIME_BY_PROCESS;
      else if (by->is_integer())
        key = static_cast<uint8_t>(whole(table, "by", 1, 3));
      else if (word != "thread")
        fail(*by, "by must be \"thread\", \"process\", or the number of an argument, 1 to 3");
    }
    for (const auto& [name, action] :
         {std::pair{"begin", TOPSPIN_RUNTIME_BEGIN}, std::pair{"resume", TOPSPIN_RUNTIME_RESUME},
          std::pair{"end", TOPSPIN_RUNTIME_END}}) {
      const toml::node* node = table.get(name);
      if (!node) continue;
      const auto* list = node->as_array();
      for (size_t i = 0; i < (list ? list->size() : 1); ++i) {
        RuntimePoint point = read_point(list ? (*list)[i] : *node);
        point.what.kind = static_cast<uint8_t>(span.kind);
        point.what.action = static_cast<uint8_t>(action);
        point.what.key = key;
        point.what.go = go_ ? 1 : 0;
        if (point.where != RuntimePoint::Where::kEntry &&
            (key <= 3 || point.what.when_argument != 0))
          fail(*node, "only the entry of a function has arguments");
        if (go_ && point.where == RuntimePoint::Where::kReturn)
          fail(*node, "a Go function must not be probed at its return: Go moves its stacks");
        span.points.push_back(std::move(point));
        ++points_;
      }
    }
    const auto has = [&](auto... actions) {
      return std::ranges::any_of(span.points, [&](const RuntimePoint& point) {
        return ((point.what.action == actions) || ...);
      });
    };
    if (!has(TOPSPIN_RUNTIME_BEGIN, TOPSPIN_RUNTIME_RESUME) || !has(TOPSPIN_RUNTIME_END))
      fail(table, "a span needs begin (or resume) and end");
    check_keys(table, {"kind", "by", "begin", "resume", "end"});
    return span;
  }

  RuntimePoint read_point(const toml::node& node) {
    RuntimePoint point;
    if (node.is_string()) {
      point.name = node.as_string()->get();
    } else if (const auto* table = node.as_table()) {
      point.name = text(*table, "at");
      if (!table->contains("argument") || !table->contains("is"))
        fail(node, "a point that is a table has at, argument and is");
      point.what.when_argument = static_cast<uint8_t>(whole(*table, "argument", 1, 3));
      point.what.when_value = static_cast<uint16_t>(whole(*table, "is", 0, UINT16_MAX));
      check_keys(*table, {"at", "argument", "is"});
    }
    if (point.name.starts_with(kReturn)) {
      point.where = RuntimePoint::Where::kReturn;
      point.name.erase(0, kReturn.size());
    } else if (point.name.starts_with(kUsdt)) {
      point.where = RuntimePoint::Where::kUsdt;
      point.name.erase(0, kUsdt.size());
    }
    const bool is_usdt = point.where == RuntimePoint::Where::kUsdt;
    if (point.name.empty() || point.name == "*" ||
        is_usdt != (point.name.find(':') != std::string::npos))
      fail(node,
           "a point is \"SYMBOL\", \"return:SYMBOL\", \"usdt:PROVIDER:NAME\", or a table with at, "
           "argument and is");
    return point;
  }

  const std::string& file_;
  std::optional<Error> error_;
  bool go_ = false;
  size_t points_ = 0;
};

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view name) {
  if (!pattern.ends_with('*')) return name == pattern;
  pattern.remove_suffix(1);
  return name.starts_with(pattern);
}

bool RuntimeFile::is_named(std::string_view object) const {
  return std::ranges::any_of(
      objects, [&](const std::string& pattern) { return matches_pattern(pattern, object); });
}

Result<RuntimeFile> parse_runtime_file(std::string_view text, const std::string& file) {
  const TomlDocument document = parse_toml(text, file);
  if (!document.table)
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}:{}: {}", file, document.line, document.error));
  return RuntimeReader(file).read(*document.table);
}

std::vector<std::string> built_in_runtimes() {
  std::vector<std::string> names;
  for (const auto& [name, text] : kRuntimeFiles) names.emplace_back(name);
  return names;
}

Result<std::vector<RuntimeFile>> select_runtimes(const std::string& wanted) {
  std::vector<RuntimeFile> selected;
  const auto add = [&](std::string_view text, const std::string& file) -> Status {
    TOPSPIN_ASSIGN(auto runtime, parse_runtime_file(text, file));
    selected.push_back(std::move(runtime));
    return {};
  };
  if (wanted.empty() || wanted == "none") return selected;
  if (wanted == "auto" || wanted == "on") {
    for (const auto& [name, text] : kRuntimeFiles)
      TOPSPIN_TRY(add(text, fmt::format("{}.toml", name)));
    std::erase_if(selected, [](const RuntimeFile& runtime) { return !runtime.is_automatic; });
    return selected;
  }
  std::string_view rest = wanted;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string word(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (word.ends_with(".toml")) {
      TOPSPIN_ASSIGN(const std::string text, read_file(word, kMostFileBytes));
      TOPSPIN_TRY(add(text, word));
      continue;
    }
    const auto* const known = std::ranges::find(kRuntimeFiles, word, &BuiltInRuntime::name);
    if (known == std::end(kRuntimeFiles))
      return make_error(ErrorCode::kUsage,
                        fmt::format("--runtime {}: there is no runtime \"{}\"; use auto, none, a "
                                    "FILE.toml, or one of {}",
                                    wanted, word, fmt::join(built_in_runtimes(), ", ")));
    TOPSPIN_TRY(add(known->text, word + ".toml"));
  }
  return selected;
}

}  // namespace topspin
