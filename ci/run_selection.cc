#include "ci/run_selection.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

constexpr size_t kFewestCommitDigits = 7;
constexpr std::string_view kWithChanges = "+changes";

Error wrong(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

bool is_commit_prefix(std::string_view text) {
  return text.size() >= kFewestCommitDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::optional<uint64_t> whole_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The number in "12". Ids of runs will begin with 0 for a thousand years, and commits have 7
/// digits.
std::optional<uint64_t> bare_number(std::string_view text) {
  if (text.starts_with('0') || text.size() >= kFewestCommitDigits) return std::nullopt;
  return whole_number(text);
}

template <typename Fits>
std::vector<StoredRun> runs_that(const std::vector<StoredRun>& runs, const Fits& fits) {
  std::vector<StoredRun> chosen;
  for (const StoredRun& run : runs) {
    if (fits(run)) chosen.push_back(run);
  }
  return chosen;
}

/// 0 for "last", 2 for "last~2"; nullopt for anything else.
std::optional<uint64_t> steps_before_last(std::string_view selector) {
  if (selector == "last") return 0;
  if (!selector.starts_with("last~")) return std::nullopt;
  return whole_number(selector.substr(5));
}

std::vector<StoredRun> of_number(const std::vector<StoredRun>& runs, uint64_t number) {
  return runs_that(runs, [&](const StoredRun& run) { return run.number == number; });
}

std::vector<StoredRun> of_branch(const std::vector<StoredRun>& runs, std::string_view branch) {
  if (branch.empty()) return {};
  return runs_that(runs, [&](const StoredRun& run) { return run.info.source.branch == branch; });
}

/// The runs of a commit. A tree with changes is not the same as its commit.
std::vector<StoredRun> of_commit(const std::vector<StoredRun>& runs, std::string_view text) {
  const bool with_changes = text.ends_with(kWithChanges);
  if (with_changes) text.remove_suffix(kWithChanges.size());
  if (!is_commit_prefix(text)) return {};
  return runs_that(runs, [&](const StoredRun& run) {
    return run.info.source.commit.starts_with(text) &&
           (run.info.source.dirty != false) == with_changes;
  });
}

/// The number of runs of that commit whose tree had changes, for a message.
size_t changed_runs_of(const std::vector<StoredRun>& runs, std::string_view commit) {
  if (!is_commit_prefix(commit)) return 0;
  return runs_that(runs,
                   [&](const StoredRun& run) { return run.info.source.commit.starts_with(commit); })
      .size();
}

std::vector<StoredRun> of_label(const std::vector<StoredRun>& runs, const std::string& key,
                                std::string_view value) {
  return runs_that(runs, [&](const StoredRun& run) {
    const auto label = run.info.labels.find(key);
    return label != run.info.labels.end() && label->second == value;
  });
}

/// The runs for KEY=VALUE. A label may be called branch or commit too.
std::vector<StoredRun> of_equation(const std::vector<StoredRun>& runs, std::string_view selector,
                                   size_t equals) {
  const std::string key(selector.substr(0, equals));
  const std::string_view value = selector.substr(equals + 1);
  std::vector<StoredRun> chosen = of_label(runs, key, value);
  if (chosen.empty() && key == "branch") chosen = of_branch(runs, value);
  if (chosen.empty() && key == "commit") chosen = of_commit(runs, value);
  return chosen;
}

Result<std::vector<StoredRun>> of_id(const std::vector<StoredRun>& runs, std::string_view text) {
  if (text.empty()) return std::vector<StoredRun>();
  auto chosen = runs_that(runs, [&](const StoredRun& run) { return run.info.id == text; });
  if (!chosen.empty()) return chosen;
  chosen = runs_that(runs, [&](const StoredRun& run) { return run.info.id.starts_with(text); });
  if (chosen.size() > 1) {
    return wrong(
        fmt::format("{} runs begin with \"{}\"; give more of the id, or the number that "
                    "topspin list shows, such as #{}",
                    chosen.size(), text, chosen.back().number));
  }
  return chosen;
}

/// KEY=VALUE with the key, or else the value, that was probably meant; nullopt if none is near.
std::optional<std::string> near_equation(const std::vector<StoredRun>& runs, std::string_view key,
                                         std::string_view value) {
  std::vector<std::string_view> keys = {"branch", "commit"}, values;
  for (const StoredRun& run : runs) {
    if (key == "branch") values.push_back(run.info.source.branch);
    for (const auto& [label, of_run] : run.info.labels) {
      keys.push_back(label);
      if (label == key) values.push_back(of_run);
    }
  }
  if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
    const auto near = nearest_word(key, keys);
    return near ? std::optional(fmt::format("{}={}", *near, value)) : std::nullopt;
  }
  // For a word of one or two letters, every short word is near.
  constexpr size_t kFewestLetters = 3;
  const auto near = value.size() < kFewestLetters ? std::nullopt : nearest_word(value, values);
  return near ? std::optional(fmt::format("{}={}", key, *near)) : std::nullopt;
}

std::optional<std::string> near_selector(const std::vector<StoredRun>& runs,
                                         std::string_view selector) {
  if (const size_t equals = selector.find('='); equals != std::string_view::npos)
    return near_equation(runs, selector.substr(0, equals), selector.substr(equals + 1));
  std::vector<std::string_view> words = {"last"};
  for (const StoredRun& run : runs) {
    if (!run.info.source.branch.empty()) words.push_back(run.info.source.branch);
  }
  const auto near = nearest_word(selector, words);
  return near ? std::optional<std::string>(*near) : std::nullopt;
}

/// The error for a selector that names nothing.
Error nothing_is(const std::vector<StoredRun>& runs, std::string_view selector) {
  const std::string_view commit = selector.starts_with("commit=") ? selector.substr(7) : selector;
  if (const size_t changed = changed_runs_of(runs, commit); changed > 0) {
    return wrong(
        fmt::format("no run is known to be of commit {0} without changes: {1} had changes, or git "
                    "could not tell; name {0}+changes for them, an id, or a label KEY=VALUE",
                    commit, changed));
  }
  if (runs.empty()) return wrong("the database holds no run yet; record one with `topspin record`");
  if (const auto steps = steps_before_last(selector)) {
    return wrong(fmt::format("there is no run {}: the database holds {}", selector, runs.size()));
  }
  if (const auto near = near_selector(runs, selector)) {
    return wrong(
        fmt::format("no run matches \"{}\"; did you mean \"{}\"? `topspin list` shows the runs",
                    selector, *near));
  }
  if (selector.find('=') != std::string_view::npos)
    return wrong(fmt::format(
        "no run matches \"{}\"; `topspin list` shows the runs and their labels", selector));
  return wrong(fmt::format(
      "no run matches \"{}\". Name a run by last, last~1, a number such as #{}, an id "
      "or its beginning, a commit, a branch, or a label KEY=VALUE; `topspin list` shows "
      "the runs",
      selector, runs.back().number));
}

}  // namespace

Result<std::vector<StoredRun>> select_runs(const std::vector<StoredRun>& runs,
                                           std::string_view selector) {
  std::vector<StoredRun> chosen;
  if (const auto steps = steps_before_last(selector)) {
    if (*steps < runs.size()) chosen.push_back(runs[runs.size() - 1 - *steps]);
  } else if (selector.starts_with('#')) {
    const auto number = whole_number(selector.substr(1));
    if (number) chosen = of_number(runs, *number);
  } else if (const size_t equals = selector.find('='); equals != std::string_view::npos) {
    chosen = of_equation(runs, selector, equals);
  } else {
    if (const auto number = bare_number(selector)) chosen = of_number(runs, *number);
    if (chosen.empty()) chosen = of_commit(runs, selector);
    if (chosen.empty()) chosen = of_branch(runs, selector);
    if (chosen.empty()) {
      TOPSPIN_ASSIGN(chosen, of_id(runs, selector));
    }
  }
  if (chosen.empty()) return nothing_is(runs, selector);
  return chosen;
}

namespace {

Result<std::vector<StoredRun>> select_all(const std::vector<StoredRun>& runs,
                                          std::span<const std::string> selectors) {
  std::vector<StoredRun> all;
  for (const std::string& selector : selectors) {
    TOPSPIN_ASSIGN(auto chosen, select_runs(runs, selector));
    for (StoredRun& run : chosen) {
      if (std::none_of(all.begin(), all.end(),
                       [&](const StoredRun& known) { return known.number == run.number; }))
        all.push_back(std::move(run));
    }
  }
  return all;
}

}  // namespace

Result<std::vector<StoredRun>> list_runs_named(RunStore& store, std::vector<std::string> words,
                                               std::vector<Error>* damaged) {
  RunFilter filter;
  filter.words = std::move(words);
  TOPSPIN_ASSIGN(auto named, store.list_runs(filter, damaged));
  if (!named.empty()) return named;
  return store.list_runs(damaged);  // for a message that says what there is
}

Result<std::vector<StoredRun>> select_runs(RunStore& store,
                                           std::span<const std::string> selectors) {
  if (selectors.empty()) return std::vector<StoredRun>();
  if (selectors.size() == 1 && selectors.front() == "last") {  // reads no other run
    TOPSPIN_ASSIGN(StoredRun last, store.last_run());
    return std::vector<StoredRun>{std::move(last)};
  }
  std::vector<Error> damaged;
  TOPSPIN_ASSIGN(const auto runs,
                 list_runs_named(store, {selectors.begin(), selectors.end()}, &damaged));
  auto chosen = select_all(runs, selectors);
  if (chosen.ok() || damaged.empty()) return chosen;
  // The run that was meant may be one of those that cannot be read.
  Error error = damaged.front();
  error.message = fmt::format("{}; {}", chosen.error().message, damaged.front().message);
  return error;
}

Result<StoredRun> select_run(RunStore& store, const std::string& selector) {
  TOPSPIN_ASSIGN(auto chosen, select_runs(store, std::span(&selector, 1)));
  if (chosen.size() > 1) {
    return wrong(
        fmt::format("\"{}\" names {} runs, but one is needed, such as #{}, the newest of them",
                    selector, chosen.size(), chosen.back().number));
  }
  return std::move(chosen.front());
}

std::vector<StoredRun> newest_session(std::vector<StoredRun> runs) {
  // By the order of storing, because a clock may have gone back.
  const auto newest = std::find_if(runs.rbegin(), runs.rend(),
                                   [](const StoredRun& run) { return run.info.plan.has_value(); });
  if (newest == runs.rend()) return runs;
  const std::string session = newest->info.plan->session;
  std::erase_if(runs, [&](const StoredRun& run) {
    return !run.info.plan || run.info.plan->session != session;
  });
  return runs;
}

}  // namespace topspin
