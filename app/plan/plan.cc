#include "app/plan/plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <random>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ci/toml_document.h"
#include "core/clock.h"
#include "core/text.h"
#include "load/workload_type.h"
#include "probes/probes.h"

namespace topspin {
namespace {

constexpr uint64_t kMaxRepeats = 1'000;
constexpr int kMaxCpu = 4095;

/// Where errors go: the first one counts, and reading goes on with defaults until it is asked for.
struct Reader {
  std::string file;
  std::optional<Error> error;

  void fail(const toml::source_region& at, const std::string& key, std::string_view what) {
    if (error) return;
    error = make_error(ErrorCode::kUsage, fmt::format("{}:{}: {}{}{}", file, at.begin.line, key,
                                                      key.empty() ? "" : ": ", what));
  }
};

/// A table being read: every key that is asked for is known, and done() refuses the rest.
class Section {
 public:
  Section(Reader& reader, std::string path, const toml::table& table)
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

  /// A key that must be there is not; if another looks like it, that one is what is wrong.
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

  /// A text like "250ms"; a bare number is refused, since its unit would be a guess.
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
  /// The same, kept as text for an option of record.
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

  /// Which of the words stands there.
  std::optional<size_t> word(const std::string& key, const std::vector<std::string_view>& words) {
    const auto value = text(key);
    if (!value) return std::nullopt;
    const auto chosen = read_word(*value, words);
    if (chosen.ok()) return *chosen;
    fail(key, chosen.error().message);
    return std::nullopt;
  }

  /// An option of a workload: a number and a flag as themselves, all others as texts.
  void load_option(const LoadOption& option, LoadDraft& draft) {
    std::string key = option.name;
    std::replace(key.begin(), key.end(), '-', '_');
    std::optional<std::string> value;
    if (option.kind == LoadOption::Kind::kNumber) {
      if (const auto number = whole(key, option.least, option.most))
        value = std::to_string(*number);
    } else if (option.kind == LoadOption::Kind::kFlag) {
      if (const auto is_set = flag(key)) value = *is_set ? "true" : "false";
    } else {
      value = text(key);
    }
    if (!value) return;
    if (const Status set = option.set(draft, *value); !set.ok()) fail(key, set.error().message);
  }

  /// Visits each text of a list, with where it stands.
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
      fail(key,
           fmt::format("\"{}\" is no list of CPUs; write it as \"0\", \"0-3\" or \"0,2\"", *value));
    else
      into = *list;
  }

  /// Refuses every key that nobody asked for.
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

  Reader& reader() { return reader_; }
  const toml::source_region& source() const { return table_.source(); }

 private:
  Reader& reader_;
  std::string path_;
  const toml::table& table_;
  std::set<std::string> known_;
};

void read_port(Section& section, PlanReadiness& ready) {
  const auto value = section.text("port");
  if (!value) return;
  std::string_view rest = *value;
  if (rest.starts_with("udp:")) ready.udp = true;
  if (rest.starts_with("udp:") || rest.starts_with("tcp:")) rest.remove_prefix(4);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
  if (error != std::errc() || end != rest.data() + rest.size() || port == 0) {
    section.fail("port",
                 fmt::format("\"{}\" is no port; write \"tcp:8080\" or \"udp:8888\"", *value));
    return;
  }
  ready.port = port;
}

void read_subject(Section section, PlanSubject& subject) {
  if (section.node("command") == nullptr) section.missing("command", "a subject needs a command");
  section.texts("command", [&](const std::string& word, const toml::source_region& at) {
    if (word.find('\0') != std::string::npos)
      section.reader().fail(at, section.path("command"), "must not contain a NUL");
    subject.command.push_back(word);
  });
  if (section.has("command") && subject.command.empty())
    section.fail("command", "a subject needs a command of one word or more");
  section.text_map("environment", subject.environment);
  section.text("directory", subject.directory);
  section.text("user", subject.user);
  section.cpus("cpus", subject.cpus);
  section.duration("stop_within", subject.stop_within_ns);
  section.text("output", subject.output);
  section.text("commit", subject.commit);
  section.text("build", subject.build);
  if (subject.commit.starts_with("-")) section.fail("commit", "must not begin with a hyphen");
  if (const toml::table* table = section.table("ready")) {
    Section ready(section.reader(), section.path("ready"), *table);
    read_port(ready, subject.ready);
    ready.text("line", subject.ready.line);
    subject.ready.after_ns = ready.duration("after");
    ready.duration("within", subject.ready.within_ns);
    ready.done();
  }
  section.done();
}

void read_subjects(Section section, const toml::table& table, Plan& plan) {
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    if (value.as_table() == nullptr) {
      section.reader().fail(value.source(), section.path(name),
                            "a subject is a table: [subject.NAME] with its command");
      return;
    }
    PlanSubject subject;
    subject.name = name;
    read_subject(Section(section.reader(), section.path(name), *value.as_table()), subject);
    plan.subjects.push_back(std::move(subject));
  }
  // The file's order, not the alphabet's: the first is A.
  std::sort(plan.subjects.begin(), plan.subjects.end(),
            [&](const PlanSubject& a, const PlanSubject& b) {
              const auto& x = table.get(a.name)->source().begin;
              const auto& y = table.get(b.name)->source().begin;
              return std::pair(x.line, x.column) < std::pair(y.line, y.column);
            });
}

void read_stages(Section& section, LoadDraft& draft) {
  const char* key = draft.stages ? "stages" : "clients";
  if (const Status made = finish_stages(draft); !made.ok())
    return section.fail(key, made.error().message);
  for (const LoadStage& stage : draft.options.stages) {
    for (const char* taken : {"start", "warm_up", "before", "after"}) {
      if (stage.name == taken)
        section.fail("stages", fmt::format("{} is the name of a part that every run has; choose "
                                           "another for the stage",
                                           taken));
    }
  }
}

void read_load(Section section, Plan& plan) {
  std::vector<std::string_view> names;
  for (const WorkloadType& type : workload_types()) names.push_back(type.name());
  const auto chosen = section.word("workload", names);
  if (!section.has("workload")) section.missing("workload", "a load needs a workload");
  const WorkloadType& type = workload_types()[chosen.value_or(0)];
  LoadDraft draft;
  LoadOptions& options = draft.options;
  options.workload = type.kind;
  section.text("target", options.target);
  if (options.target.empty())
    section.missing("target", "a load needs a target, as \"127.0.0.1:8888\"");
  section.cpus("cpus", plan.load_cpus);
  section.duration("warm_up", plan.warm_up_ns, true);
  if (const auto clients = section.whole("warm_up_clients", 1, kMaxClients))
    plan.warm_up_clients = static_cast<uint32_t>(*clients);
  for (const LoadOption& option : options_of(common_load_options(), type.options))
    section.load_option(option, draft);
  if (type.has_clients()) read_stages(section, draft);
  if (!options.target.empty()) {
    const auto target = split_target(options.target);
    const Status fits = target.ok() ? check_target(*target, options) : Status(target.error());
    if (!fits.ok()) section.fail("target", fits.error().message);
  }
  section.done();
  if (const Status whole = check_load(options); !whole.ok())
    section.reader().fail(section.source(), "load", whole.error().message);
  plan.load = std::move(options);
}

void read_run(Section section, Plan& plan) {
  if (const auto repeats = section.whole("repeat", 1, kMaxRepeats)) plan.repeats = *repeats;
  constexpr std::array kOrders = {
      std::pair("interleaved", PlanOrder::kInterleaved), std::pair("abba", PlanOrder::kAbba),
      std::pair("in turn", PlanOrder::kInTurn), std::pair("blocks", PlanOrder::kBlocks)};
  std::vector<std::string_view> words;
  for (const auto& [word, order] : kOrders) words.emplace_back(word);
  if (const auto order = section.word("order", words)) plan.order = kOrders[*order].second;
  plan.seed = section.whole("seed", 0, std::numeric_limits<int64_t>::max());
  plan.duration_ns = section.duration("duration");
  section.duration("pause", plan.pause_ns, true);
  plan.before_ns = section.duration("before");
  plan.after_ns = section.duration("after");
  section.done();
}

void read_capture(Section section, Plan& plan) {
  section.text("interface", plan.interface);
  plan.filter = section.text("filter");
  section.duration_text("period", plan.period);
  section.duration_text("window", plan.window);
  section.duration_text("reply_timeout", plan.reply_timeout);
  section.duration_text("interval", plan.interval);
  if (const auto flows = section.whole("max_stored_flows", 0, 10'000'000))
    plan.max_stored_flows = *flows;
  section.done();
}

void read_probes(Reader& reader, const toml::table& table, Plan& plan) {
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    if (name == "syscalls") {
      if (value.as_boolean() == nullptr)
        reader.fail(value.source(), "probes.syscalls", "must be true or false");
      else
        plan.syscalls = value.as_boolean()->get();
      continue;
    }
    const std::vector<std::string> names = probe_names();
    if (std::ranges::find(names, name) == names.end()) {
      reader.fail(value.source(), "probes." + name,
                  fmt::format("there is no such probe; the probes are {}", fmt::join(names, ", ")));
      return;
    }
    const auto* rung = value.as_string();
    if (rung == nullptr || !parse_rung(rung->get())) {
      reader.fail(value.source(), "probes." + name,
                  "must be one of \"tp_btf\", \"raw_tp\", \"tracepoint\", \"perf\", \"proc\", "
                  "\"none\"; topspin doctor lists probes and rungs");
      return;
    }
    plan.probes.push_back(name + "=" + rung->get());
  }
}

void read_rules(Section section, Plan& plan) {
  plan.lenient = section.flag("lenient").value_or(false);
  section.texts("rules", [&](const std::string& text, const toml::source_region& at) {
    auto rule = parse_slo(text);
    if (!rule.ok())
      section.reader().fail(at, section.path("rules"), rule.error().message);
    else
      plan.rules.push_back(std::move(rule).value());
  });
  for (SloRule& rule : plan.rules) rule.lenient = plan.lenient;
  section.done();
}

void check_whole(Section& root, const Plan& plan) {
  if (plan.subjects.empty()) {
    root.reader().fail(root.source(), "subject",
                       "a plan needs a subject: [subject.NAME] with its command");
  }
  if (plan.load && plan.duration_ns)
    root.fail("run", "a duration is for plans without a load; a load has its stages");
  if (!plan.load && !plan.duration_ns)
    root.reader().fail(root.source(), "load",
                       "a plan needs a [load], or a duration in [run] to look on for");
}

}  // namespace

Result<Plan> parse_plan(std::string_view text, const std::string& file) {
  const TomlDocument document = parse_toml(text, file);
  if (!document.table) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}:{}: {}", file, document.line, document.error));
  }
  Reader reader{file, std::nullopt};
  Plan plan;
  Section root(reader, "", *document.table);
  root.text("name", plan.name);
  if (plan.name.empty()) {
    // The file's name without its folder and ending.
    const size_t slash = file.rfind('/');
    plan.name = file.substr(slash == std::string::npos ? 0 : slash + 1);
    if (plan.name.ends_with(".toml")) plan.name.resize(plan.name.size() - 5);
  }
  root.text_map("labels", plan.labels);
  for (const char* ours : {"side", "pair", "subject", "plan"}) {
    if (plan.labels.contains(ours))
      root.fail("labels", fmt::format("{} is a label that topspin run sets itself", ours));
  }
  if (const auto* table = root.table("run")) read_run(Section(reader, "run", *table), plan);
  if (const auto* table = root.table("subject"))
    read_subjects(Section(reader, "subject", *table), *table, plan);
  if (const auto* table = root.table("load")) read_load(Section(reader, "load", *table), plan);
  if (const auto* table = root.table("capture"))
    read_capture(Section(reader, "capture", *table), plan);
  if (const auto* table = root.table("probes")) read_probes(reader, *table, plan);
  if (const auto* table = root.table("slo")) read_rules(Section(reader, "slo", *table), plan);
  root.done();
  if (!reader.error) check_whole(root, plan);
  if (reader.error) return *reader.error;
  return plan;
}

std::vector<std::string> stage_names(const Plan& plan) {
  std::vector<std::string> names = {"start"};
  if (plan.load && plan.warm_up_ns > 0) names.emplace_back("warm_up");
  names.emplace_back("before");
  if (!plan.load) names.emplace_back("observe");
  if (plan.load) {
    const WorkloadType& type = workload_type(plan.load->workload);
    if (!type.has_clients()) names.emplace_back(type.only_stage);
    for (const LoadStage& stage : plan.load->stages) names.push_back(stage.name);
  }
  names.emplace_back("after");
  return names;
}

Status check_rules(const Plan& plan, const std::string& file) {
  const std::vector<std::string> names = stage_names(plan);
  for (const SloRule& rule : plan.rules) {
    if (rule.scope.kind == SloScope::Kind::kMeasured || rule.lenient ||
        std::find(names.begin(), names.end(), rule.scope.stage) != names.end())
      continue;
    std::string all;
    for (const std::string& name : names) all += fmt::format("{}{}", all.empty() ? "" : ", ", name);
    const auto near =
        nearest_word(rule.scope.stage, std::vector<std::string_view>(names.begin(), names.end()));
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{}: slo.rules: in the rule \"{}\": there is no stage {}; {}there are {}", file,
                    rule.text, rule.scope.stage,
                    near ? fmt::format("did you mean {}? ", *near) : std::string(), all));
  }
  return {};
}

std::vector<PlannedRun> order_of_runs(size_t subjects, uint64_t repeats, PlanOrder order,
                                      uint64_t seed) {
  std::vector<PlannedRun> runs;
  if (order == PlanOrder::kBlocks) {
    for (size_t subject = 0; subject < subjects; ++subject) {
      for (uint64_t repeat = 1; repeat <= repeats; ++repeat) runs.push_back({subject, repeat});
    }
    return runs;
  }
  std::mt19937_64 random(seed);
  for (uint64_t repeat = 1; repeat <= repeats; ++repeat) {
    std::vector<size_t> round(subjects);
    for (size_t i = 0; i < subjects; ++i) round[i] = i;
    if (order == PlanOrder::kAbba && repeat % 2 == 0) std::reverse(round.begin(), round.end());
    if (order == PlanOrder::kInterleaved) {
      // Not std::shuffle, whose order differs between libraries.
      for (size_t i = subjects; i > 1; --i) std::swap(round[i - 1], round[random() % i]);
    }
    for (const size_t subject : round) runs.push_back({subject, repeat});
  }
  return runs;
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::set<int> cpus;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  const auto read_number = [&]() -> std::optional<int> {
    int value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 0 || value > kMaxCpu) return std::nullopt;
    at = stop;
    return value;
  };
  while (true) {
    const auto first = read_number();
    if (!first) return std::nullopt;
    auto last = first;
    if (at != end && *at == '-') {
      ++at;
      last = read_number();
      if (!last || *last < *first) return std::nullopt;
    }
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.insert(cpu);
    if (at == end) return std::vector<int>(cpus.begin(), cpus.end());
    if (*at++ != ',') return std::nullopt;
  }
}

Result<std::vector<SloRule>> plan_rules(const StoredRun& run) {
  const auto& plan = run.info.plan;
  if (!plan || plan->text.empty()) return std::vector<SloRule>();
  auto parsed = parse_plan(plan->text, plan->name);
  if (!parsed.ok()) {
    // Not the caller's mistake: the text came out of the database.
    return make_error(ErrorCode::kInput,
                      fmt::format("the plan stored with run {} cannot be read: {}", run.info.id,
                                  parsed.error().message));
  }
  return std::move(parsed->rules);
}

}  // namespace topspin
