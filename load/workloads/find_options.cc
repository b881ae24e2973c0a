// The options of a search for the most that a server can do (load/find).
#include <fmt/format.h>

#include "load/workloads/workload_type.h"

namespace topspin {
namespace {

constexpr uint64_t kMostLevel = 10'000'000;

Error wrong_find(std::string message) { return make_error(ErrorCode::kUsage, std::move(message)); }

}  // namespace

std::vector<LoadOption> find_options() {
  using F = LoadFindOptions;
  LoadOption by = option_of_kind(
      LoadOption::Kind::kChoice, "find-by",
      "What --find searches: messages per second over all clients, or clients (default: clients if "
      "--period or --closed is given, and for udp-pingpong and script)");
  by.words = {"rate", "clients"};
  by.set = [words = by.words](LoadDraft& draft, const std::string& text) -> Status {
    TOPSPIN_ASSIGN(const size_t chosen, read_word(text, words));
    draft.options.find.by = chosen == 0 ? FindBy::kRate : FindBy::kClients;
    return {};
  };
  LoadOption rules = list_option(
      "find", "Search for the most that keeps this rule, such as 'p99(reply_latency) < 5ms'",
      &F::rules);
  rules.value_name = "RULE";
  std::vector<LoadOption> options = {
      std::move(rules),
      std::move(by),
      number_option("find-from", "The first rate or number of clients that is tried", 1, kMostLevel,
                    &F::from),
      number_option("find-max", "The highest rate or number of clients that is tried", 1,
                    kMostLevel, &F::most),
      number_option("find-within", "How near the answer's two ends are, in percent", 1, 50,
                    &F::within_percent, "5"),
      duration_option("find-hold", "Each stage is measured for at least this time", &F::hold_ns,
                      "2s"),
  };
  for (LoadOption& option : options) option.is_of_schedule = true;
  return options;
}

Status complete_find(LoadOptions& options, bool has_period) {
  LoadFindOptions& find = options.find;
  if (find.rules.empty()) {
    if (find.by || find.from || find.most ||
        find.within_percent != LoadFindOptions{}.within_percent ||
        find.hold_ns != LoadFindOptions{}.hold_ns)
      return wrong_find(
          "find-by, find-from, find-max, find-within and find-hold need a rule: --find "
          "'p99(reply_latency) < 5ms'");
    return {};
  }
  const bool has_rate = options.workload != WorkloadKind::kScript && !options.closed_loop;
  if (!find.by) {
    const bool by_clients =
        !has_rate || has_period || options.workload == WorkloadKind::kUdpPingpong;
    find.by = by_clients ? FindBy::kClients : FindBy::kRate;
  }
  if (find.by == FindBy::kRate && !has_rate) {
    return wrong_find(
        options.closed_loop
            ? "a closed loop has no rate to search for; leave --closed out, or search by clients"
            : "a script decides itself when it sends; search by clients");
  }
  if (find.by == FindBy::kRate && has_period)
    return wrong_find(
        "a search by rate sets the period itself; leave --period out, or search by clients");
  if (find.by == FindBy::kClients && find.clients)
    return wrong_find(
        "a search by clients sets their number itself; leave --clients out (--find-from is where "
        "it begins)");
  if (find.most && find.from && *find.most < *find.from)
    return wrong_find("the search begins above its maximum; lower --find-from or raise --find-max");
  if (find.by == FindBy::kClients && find.most && *find.most > kMaxClients)
    return wrong_find(fmt::format("more than {} clients; lower --find-max", kMaxClients));
  return {};
}

}  // namespace topspin
