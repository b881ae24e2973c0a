// PlanSection: a table of a plan's file while it is being read. Its errors name the file, line and
// key. Private to app/plan.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "app/plan/plan.h"
#include "core/base/text.h"
#include "core/base/toml_document.h"
#include "load/workloads/workload_type.h"

namespace topspin {

/// Collects errors. The first one counts; after it, reading continues with defaults.
struct PlanReader {
  std::string file;
  std::optional<Error> error;

  void fail(const toml::source_region& at, const std::string& key, std::string_view what) {
    if (error) return;
    error = make_error(ErrorCode::kUsage, fmt::format("{}:{}: {}{}{}", file, at.begin.line, key,
                                                      key.empty() ? "" : ": ", what));
  }
};

/// A table that is being read. It remembers which keys were read, and done() refuses all others.
class PlanSection {
 public:
  PlanSection(PlanReader& reader, std::string path, const toml::table& table)
      : reader_(reader), path_(std::move(path)), table_(table) {}

  const toml::node* node(const std::string& key) {
    known_.insert(key);
    return table_.get(key);
  }
  std::string path(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  void fail(const std::string& key, std::string_view what) {
    const toml::node* at = table_.get(key);
    reader_.fail(at != nullptr ? at->source() : table_.source(), path(key), what);
  }
  bool has(const std::string& key) const { return table_.contains(key); }

  /// Reports that a required key is missing. If an unknown key has a similar name, that key is
  /// reported instead.
  void missing(const std::string& key, std::string_view what) {
    const std::vector<std::string_view> wanted{key};
    for (const auto& [other, value] : table_) {
      const std::string name(other.str());
      if (!known_.contains(name) && nearest_word(name, wanted)) {
        reader_.fail(other.source(), path(name),
                     fmt::format("there is no such key; did you mean \"{}\"?", key));
        return;
      }
    }
    fail(key, what);
  }

  std::optional<std::string> text(const std::string& key) {
    const toml::node* n = node(key);
    if (n == nullptr) return std::nullopt;
    const auto* value = n->as_string();
    if (value == nullptr) {
      fail(key, "must be a text in quotes");
      return std::nullopt;
    }
    return value->get();
  }
  void text(const std::string& key, std::string& into) {
    if (auto value = text(key)) into = std::move(*value);
  }

  /// Reads a text like "250ms". A bare number is refused, because its unit would be a guess.
  std::optional<int64_t> duration(const std::string& key, bool zero_is_fine = false) {
    const auto value = text(key);
    if (!value) return std::nullopt;
    const auto ns = read_duration(*value, zero_is_fine);
    if (!ns.ok()) {
      fail(key, ns.error().message);
      return std::nullopt;
    }
    return *ns;
  }
  void duration(const std::string& key, int64_t& into, bool zero_is_fine = false) {
    if (const auto ns = duration(key, zero_is_fine)) into = *ns;
  }
  /// The same, but returned as text, for an option of record.
  void duration_text(const std::string& key, std::string& into) {
    if (duration(key)) into = *text(key);
  }

  std::optional<uint64_t> whole(const std::string& key, uint64_t least, uint64_t most) {
    const toml::node* n = node(key);
    if (n == nullptr) return std::nullopt;
    const auto* value = n->as_integer();
    if (value == nullptr || value->get() < 0 || static_cast<uint64_t>(value->get()) < least ||
        static_cast<uint64_t>(value->get()) > most) {
      fail(key, fmt::format("must be a whole number from {} to {}", least, most));
      return std::nullopt;
    }
    return static_cast<uint64_t>(value->get());
  }

  std::optional<bool> flag(const std::string& key) {
    const toml::node* n = node(key);
    if (n == nullptr) return std::nullopt;
    const auto* value = n->as_boolean();
    if (value == nullptr) {
      fail(key, "must be true or false");
      return std::nullopt;
    }
    return value->get();
  }

  /// Returns the index of the word.
  std::optional<size_t> word(const std::string& key, const std::vector<std::string_view>& words) {
    const auto value = text(key);
    if (!value) return std::nullopt;
    const auto chosen = read_word(*value, words);
    if (chosen.ok()) return *chosen;
    fail(key, chosen.error().message);
    return std::nullopt;
  }

  /// Reads an option of a workload. Numbers and flags are TOML numbers and booleans, all others
  /// text.
  void load_option(const LoadOption& option, LoadDraft& draft) {
    std::string key = option.name;
    std::replace(key.begin(), key.end(), '-', '_');
    std::optional<std::string> value;
    if (option.kind == LoadOption::Kind::kNumber) {
      if (const auto number = whole(key, option.least, option.most))
        value = std::to_string(*number);
    } else if (option.kind == LoadOption::Kind::kFlag) {
      if (const auto is_set = flag(key)) value = *is_set ? "true" : "false";
    } else if (option.kind == LoadOption::Kind::kList) {
      texts(key, [&](const std::string& item, const toml::source_region&) {
        if (item.find('\n') != std::string::npos)
          return fail(key, "has an item with a line end; give one item per text");
        value = value.value_or("") + item + "\n";
      });
    } else {
      value = text(key);
    }
    if (!value) return;
    if (const Status set = option.set(draft, *value); !set.ok()) fail(key, set.error().message);
    draft.texts[option.name] = std::move(*value);
  }

  /// Visits each item of a list.
  void items(const std::string& key, const std::function<void(const toml::node&)>& visit) {
    const toml::node* n = node(key);
    if (n == nullptr) return;
    const toml::array* list = n->as_array();
    if (list == nullptr) return fail(key, "must be a list: [\"...\", \"...\"]");
    for (const toml::node& item : *list) visit(item);
  }

  /// Visits each text of a list, with its position in the file.
  void texts(const std::string& key,
             const std::function<void(const std::string&, const toml::source_region&)>& visit) {
    const toml::node* n = node(key);
    if (n == nullptr) return;
    const toml::array* list = n->as_array();
    if (list == nullptr) return fail(key, "must be a list of texts: [\"...\", \"...\"]");
    for (const toml::node& item : *list) {
      const auto* value = item.as_string();
      if (value == nullptr) {
        reader_.fail(item.source(), path(key), "every item of the list must be a text in quotes");
        return;
      }
      visit(value->get(), item.source());
    }
  }

  void text_map(const std::string& key, std::map<std::string, std::string>& into) {
    const toml::table* t = table(key);
    if (t == nullptr) return;
    for (const auto& [name, value] : *t) {
      const auto* text_value = value.as_string();
      const std::string full = path(key) + "." + std::string(name.str());
      if (text_value == nullptr)
        reader_.fail(value.source(), full, "must be a text in quotes");
      else if (std::string_view(text_value->get()).find('\0') != std::string_view::npos)
        reader_.fail(value.source(), full, "must not contain a NUL");
      else
        into[std::string(name.str())] = text_value->get();
    }
  }

  const toml::table* table(const std::string& key) {
    const toml::node* n = node(key);
    if (n == nullptr) return nullptr;
    if (n->as_table() == nullptr) fail(key, "must be a table");
    return n->as_table();
  }

  void cpus(const std::string& key, std::vector<int>& into) {
    const auto value = text(key);
    if (!value) return;
    const auto list = parse_cpu_list(*value);
    if (!list)
      fail(key, fmt::format("\"{}\" is not a list of CPUs; write it as \"0\", \"0-3\" or \"0,2\"",
                            *value));
    else
      into = *list;
  }

  /// Refuses every key that was not read.
  void done() {
    for (const auto& [key, value] : table_) {
      const std::string name(key.str());
      if (known_.contains(name)) continue;
      const std::vector<std::string_view> known(known_.begin(), known_.end());
      const auto near = nearest_word(name, known);
      std::string all;
      for (const std::string_view k : known) all += fmt::format("{}{}", all.empty() ? "" : ", ", k);
      reader_.fail(key.source(), path(name),
                   near ? fmt::format("there is no such key; did you mean \"{}\"?", *near)
                        : fmt::format("there is no such key; there are {}", all));
    }
  }

  PlanReader& reader() { return reader_; }
  const toml::source_region& source() const { return table_.source(); }

 private:
  PlanReader& reader_;
  std::string path_;
  const toml::table& table_;
  std::set<std::string> known_;
};

}  // namespace topspin
