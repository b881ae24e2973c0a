#include "app/plan/plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/options/record_options.h"
#include "app/plan/plan_section.h"
#include "ci/slo/abort_watch.h"
#include "ci/slo/find_rules.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/toml_document.h"
#include "load/share/job_epochs.h"
#include "load/workloads/workload_type.h"
#include "probes/probes.h"
#include "store/team_address.h"

namespace topspin {
namespace {

constexpr uint64_t kMaxRepeats = 1'000;
constexpr int64_t kWorkersReadyWithinNs = 60 * kNanosPerSecond;

void read_port(PlanSection& section, PlanReadiness& ready) {
  const auto value = section.text("port");
  if (!value) return;
  std::string_view rest = *value;
  if (rest.starts_with("udp:")) ready.udp = true;
  if (rest.starts_with("udp:") || rest.starts_with("tcp:")) rest.remove_prefix(4);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
  if (error != std::errc() || end != rest.data() + rest.size() || port == 0) {
    section.fail("port",
                 fmt::format("\"{}\" is not a port; write \"tcp:8080\" or \"udp:8888\"", *value));
    return;
  }
  ready.port = port;
}

void read_subject(PlanSection section, PlanSubject& subject) {
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
    PlanSection ready(section.reader(), section.path("ready"), *table);
    read_port(ready, subject.ready);
    ready.text("line", subject.ready.line);
    subject.ready.after_ns = ready.duration("after");
    ready.duration("within", subject.ready.within_ns);
    ready.done();
  }
  section.done();
}

void read_subjects(PlanSection section, const toml::table& table, Plan& plan) {
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    if (value.as_table() == nullptr) {
      section.reader().fail(value.source(), section.path(name),
                            "a subject is a table: [subject.NAME] with its command");
      return;
    }
    PlanSubject subject;
    subject.name = name;
    read_subject(PlanSection(section.reader(), section.path(name), *value.as_table()), subject);
    plan.subjects.push_back(std::move(subject));
  }
  // In the order of the file, not of the alphabet: the first subject is A.
  std::sort(plan.subjects.begin(), plan.subjects.end(),
            [&](const PlanSubject& a, const PlanSubject& b) {
              const auto& x = table.get(a.name)->source().begin;
              const auto& y = table.get(b.name)->source().begin;
              return std::pair(x.line, x.column) < std::pair(y.line, y.column);
            });
}

void read_stages(PlanSection& section, LoadDraft& draft) {
  const char* key = draft.stages ? "stages" : "clients";
  if (const Status made = finish_stages(draft); !made.ok())
    return section.fail(key, made.error().message);
  for (const LoadStage& stage : draft.options.stages) {
    for (const char* taken : {"start", "warm_up", "before", "after"}) {
      if (stage.name == taken)
        section.fail(
            "stages",
            fmt::format("{} is the name of a part of every run; choose another name for the stage",
                        taken));
    }
  }
}

void read_workers(PlanSection& section, const WorkloadType& type, const LoadDraft& draft,
                  Plan& plan) {
  const auto address = section.text("workers");
  std::map<std::string, std::string> where;
  section.text_map("where", where);
  const auto at_least = section.whole("at_least", 1, kMaxWorkers);
  if (!address) {
    for (const char* key : {"where", "at_least"}) {
      if (section.has(key)) section.fail(key, "is for a load with `workers`");
    }
    return;
  }
  if (const auto parsed = parse_team_address(*address); !parsed.ok())
    return section.fail("workers", parsed.error().message);
  if (address_without_secrets(*address) != *address)
    return section.fail("workers",
                        "has a password, which the runs would keep; give it in "
                        "PGPASSWORD or ~/.pgpass");
  if (!type.can_be_shared) {
    return section.fail(
        "workers",
        fmt::format("{} cannot be sent by workers: its clients do not move", type.name()));
  }
  if (section.has("cpus")) section.fail("cpus", "is for a load that this host sends");
  PlanWorkers& workers = plan.workers.emplace();
  workers.options.address = *address;
  workers.options.where = where;
  workers.options.at_least = at_least.value_or(1);
  workers.options.ready_within_ns = kWorkersReadyWithinNs;
  workers.job = {std::string(type.name()), draft.options.target, draft.texts};
  for (const char* name : {"clients", "arrive", "hold", "leave"}) workers.job.options.erase(name);
  workers.job.options["stages"] = stages_text(draft.options.stages);
}

void read_load(PlanSection section, const std::string& directory, Plan& plan) {
  std::vector<std::string_view> names;
  for (const WorkloadType& type : workload_types()) names.push_back(type.name());
  const auto chosen = section.word("workload", names);
  if (!section.has("workload")) section.missing("workload", "a load needs a workload");
  const WorkloadType& type = workload_types()[chosen.value_or(0)];
  LoadDraft draft;
  draft.directory = directory;
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
  if (const auto rules = read_find_rules(options.find.rules); !rules.ok())
    section.fail("find", rules.error().message);
  read_workers(section, type, draft, plan);
  if (plan.workers && !options.find.rules.empty())
    section.fail("find", "is for a load that this host sends");
  section.done();
  if (const Status whole = check_load(options); !whole.ok())
    section.reader().fail(section.source(), "load", whole.error().message);
  plan.load = std::move(options);
}

void read_run(PlanSection section, Plan& plan) {
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

void read_capture(PlanSection section, Plan& plan) {
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

void read_probes(PlanReader& reader, const toml::table& table, Plan& plan) {
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    if (name == "syscalls") {
      if (value.as_boolean() == nullptr)
        reader.fail(value.source(), "probes.syscalls", "must be true or false");
      else
        plan.syscalls = value.as_boolean()->get();
      continue;
    }
    if (name == "stacks" && value.is_integer()) {
      plan.stacks_per_second = value.as_integer()->get();
      if (plan.stacks_per_second < 1 || plan.stacks_per_second > kMostStacksPerSecond)
        reader.fail(value.source(), "probes.stacks",
                    fmt::format("must be 1 to {} samples per second", kMostStacksPerSecond));
      continue;
    }
    if (name == "runtime" && value.is_string()) {
      plan.runtime = value.as_string()->get();
      if (const Status known = check_runtimes(plan.runtime); !known.ok())
        reader.fail(value.source(), "probes.runtime", known.error().message);
      continue;
    }
    const std::vector<std::string> names = probe_names();
    if (std::ranges::find(names, name) == names.end()) {
      const auto near =
          nearest_word(name, std::vector<std::string_view>(names.begin(), names.end()));
      reader.fail(value.source(), "probes." + name,
                  fmt::format("there is no such probe; {}the probes are {}",
                              near ? fmt::format("did you mean \"{}\"? ", *near) : std::string(),
                              fmt::join(names, ", ")));
      return;
    }
    const auto* rung = value.as_string();
    if (rung == nullptr || (!parse_rung(rung->get()) && rung->get() != "on")) {
      reader.fail(
          value.source(), "probes." + name,
          "must be one of \"tp_btf\", \"fentry\", \"raw_tp\", \"tracepoint\", \"perf\", \"proc\", "
          "\"none\", or \"on\" for a probe that is off by default; topspin doctor lists probes and "
          "rungs");
      return;
    }
    plan.probes.push_back(name + "=" + rung->get());
  }
}

void read_rules(PlanSection section, Plan& plan) {
  plan.lenient = section.flag("lenient").value_or(false);
  const auto add = [&](const std::string& text, const toml::source_region& at, bool aborts) {
    auto rule = parse_slo(text);
    if (rule.ok() && aborts) {
      if (const Status can = check_abort_rule(*rule, plan.load.has_value()); !can.ok())
        rule = can.error();
    }
    if (!rule.ok()) return section.reader().fail(at, section.path("rules"), rule.error().message);
    rule->aborts = aborts;
    plan.rules.push_back(std::move(rule).value());
  };
  section.items("rules", [&](const toml::node& item) {
    if (const auto* text = item.as_string()) return add(text->get(), item.source(), false);
    if (item.as_table() == nullptr) {
      return section.reader().fail(item.source(), section.path("rules"),
                                   "every rule must be a text in quotes, or a table: "
                                   "{ rule = \"...\", abort = true }");
    }
    PlanSection table(section.reader(), section.path("rules"), *item.as_table());
    const auto text = table.text("rule");
    const bool aborts = table.flag("abort").value_or(false);
    if (!text) table.missing("rule", "a rule in a table is { rule = \"...\", abort = true }");
    table.done();
    if (text) add(*text, item.source(), aborts);
  });
  for (SloRule& rule : plan.rules) rule.lenient = plan.lenient;
  section.done();
}

void check_whole(PlanSection& root, const Plan& plan) {
  if (plan.subjects.empty()) {
    root.reader().fail(root.source(), "subject",
                       "a plan needs a subject: [subject.NAME] with its command");
  }
  const bool is_search = plan.load && !plan.load->find.rules.empty();
  for (const SloRule& rule : plan.rules) {
    if (is_search && rule.aborts)
      root.fail("slo",
                "a rule with abort = true cannot be with `find`, which goes beyond what the server "
                "can do");
  }
  if (plan.load && plan.duration_ns)
    root.fail("run",
              "`duration` under [run] is for plans without a load; leave it out, since the load's "
              "stages say how long");
  if (!plan.load && !plan.duration_ns)
    root.reader().fail(
        root.source(), "load",
        "a plan needs a [load], or `duration` under [run] to observe without a load");
}

}  // namespace

Result<Plan> parse_plan(std::string_view text, const std::string& file) {
  const TomlDocument document = parse_toml(text, file);
  if (!document.table) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}:{}: {}", file, document.line, document.error));
  }
  PlanReader reader{file, std::nullopt};
  Plan plan;
  PlanSection root(reader, "", *document.table);
  root.text("name", plan.name);
  if (plan.name.empty()) {
    // The file's name without folder and extension.
    const size_t slash = file.rfind('/');
    plan.name = file.substr(slash == std::string::npos ? 0 : slash + 1);
    if (plan.name.ends_with(".toml")) plan.name.resize(plan.name.size() - 5);
  }
  root.text_map("labels", plan.labels);
  root.text("store", plan.store);
  if (!plan.store.empty()) {
    const auto address = parse_team_address(plan.store);
    if (!address.ok()) root.fail("store", address.error().message);
  }
  for (const char* ours : {"side", "pair", "subject", "plan"}) {
    if (plan.labels.contains(ours))
      root.fail("labels", fmt::format("{} is a label that topspin run sets itself", ours));
  }
  if (const auto* table = root.table("run")) read_run(PlanSection(reader, "run", *table), plan);
  if (const auto* table = root.table("subject"))
    read_subjects(PlanSection(reader, "subject", *table), *table, plan);
  if (const auto* table = root.table("load"))
    read_load(PlanSection(reader, "load", *table),
              std::filesystem::path(file).parent_path().string(), plan);
  if (const auto* table = root.table("capture"))
    read_capture(PlanSection(reader, "capture", *table), plan);
  if (const auto* table = root.table("probes")) read_probes(reader, *table, plan);
  if (const auto* table = root.table("slo")) read_rules(PlanSection(reader, "slo", *table), plan);
  root.done();
  if (!reader.error) check_whole(root, plan);
  if (reader.error) return *reader.error;
  return plan;
}

Result<std::vector<SloRule>> plan_rules(const StoredRun& run) {
  const auto& plan = run.info.plan;
  if (!plan || plan->text.empty()) return std::vector<SloRule>();
  auto parsed = parse_plan(plan->text, plan->name);
  if (!parsed.ok()) {
    // Not kUsage, because the text came from the database.
    return make_error(ErrorCode::kInput,
                      fmt::format("the plan stored with run {} cannot be read: {}", run.info.id,
                                  parsed.error().message));
  }
  return std::move(parsed->rules);
}

}  // namespace topspin
