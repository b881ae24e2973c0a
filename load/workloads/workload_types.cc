#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "load/workloads/workload_type.h"

namespace topspin {

const std::vector<WorkloadType>& workload_types() {
  static const std::vector<WorkloadType> kTypes = {
      udp_pingpong_workload(), udp_flood_workload(),    tcp_connect_workload(),
      http_workload(),         accept_queue_workload(), script_workload(),
  };
  return kTypes;
}

const WorkloadType& workload_type(WorkloadKind kind) {
  const auto& types = workload_types();
  const auto type =
      std::find_if(types.begin(), types.end(), [&](const auto& t) { return t.kind == kind; });
  CHECK(type != types.end());
  return *type;
}

bool WorkloadType::takes(std::string_view option) const {
  return std::any_of(options.begin(), options.end(),
                     [&](const LoadOption& o) { return o.name == option; });
}

const std::vector<LoadOption>& common_load_options() {
  static const std::vector<LoadOption> kOptions = {
      duration_option("timeout", "A reply is late, and a connection is given up, after this time",
                      &LoadOptions::timeout_ns, "1s"),
      duration_option("late-after", "A message sent later than this counts as late (default 10ms)",
                      &LoadOptions::late_after_ns, {}, true),
  };
  return kOptions;
}

std::vector<LoadOption> schedule_options() {
  LoadOption stages;
  stages.name = "stages";
  stages.help =
      "Such as \"0:15000 over 60s, hold 30s, 15000:0 over 60s\"; also \"stairs 0:500 by 100 every "
      "10s\" and \"3x(...)\"";
  stages.set = [](LoadDraft& draft, const std::string& text) -> Status {
    draft.stages = text;
    return {};
  };
  std::vector<LoadOption> options = {
      std::move(stages),
      number_option("clients", "Greatest number of clients, instead of --stages (default 1)", 1,
                    kMaxClients, &LoadDraft::clients),
      rate_option("arrive", "How fast clients come, such as 10/s (default: all at once)",
                  &LoadDraft::arrive_per_s),
      duration_option("hold", "How long all clients stay (default 10s)", &LoadDraft::hold_ns),
      rate_option("leave", "How fast clients leave, such as 10/s (default: all at once)",
                  &LoadDraft::leave_per_s),
  };
  for (LoadOption& option : options) option.is_of_schedule = true;
  return options;
}

std::vector<LoadOption> options_of(std::vector<LoadOption> first, std::vector<LoadOption> more) {
  std::move(more.begin(), more.end(), std::back_inserter(first));
  return first;
}

LoadOption period_option() {
  return of_schedule(duration_option("period", "Each client sends once in this time",
                                     &LoadOptions::period_ns, "1s"));
}

LoadOption grid_option() {
  return of_schedule(duration_option(
      "grid",
      "Clients send at multiples of this time (default period / 1000); 0: each at its own moment",
      &LoadOptions::grid_ns, {}, true));
}

LoadOption threads_option() {
  return of_schedule(
      number_option("threads",
                    "Threads that send, each a share of the clients (default: as many as the "
                    "rate needs)",
                    1, kMaxLoadThreads, &LoadOptions::threads));
}

Result<LoadOptions> read_load_options(const WorkloadType& type, const std::string& target,
                                      const std::map<std::string, std::string>& texts) {
  LoadDraft draft;
  draft.texts = texts;
  draft.options.workload = type.kind;
  draft.options.target = target;
  size_t known = 0;
  for (const LoadOption& option : options_of(common_load_options(), type.options)) {
    const auto text = texts.find(option.name);
    if (text == texts.end()) continue;
    ++known;
    if (const Status set = option.set(draft, text->second); !set.ok()) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("--{} {}", option.name, set.error().message));
    }
  }
  if (known != texts.size()) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} does not have one of the options; is this topspin older?", type.name()));
  }
  if (type.has_clients()) TOPSPIN_TRY(finish_stages(draft));
  return std::move(draft.options);
}

namespace {
constexpr int64_t kFindTakesNs = 90 * kNanosPerSecond;
}  // namespace

Status finish_stages(LoadDraft& draft) {
  LoadFindOptions& find = draft.options.find;
  if (!find.rules.empty()) {
    if (draft.stages || draft.arrive_per_s || draft.hold_ns || draft.leave_per_s) {
      return make_error(ErrorCode::kUsage,
                        "a search makes its own stages; leave stages, arrive, hold and leave out");
    }
    find.clients = std::exchange(draft.clients, std::nullopt);
    TOPSPIN_TRY(complete_find(draft.options, draft.texts.contains("period")));
    // In place of those that the search will make. It takes about this long.
    draft.options.stages = {{"find", 1, 1, kFindTakesNs}};
    return {};
  }
  TOPSPIN_TRY(complete_find(draft.options, false));
  const bool short_form = draft.clients || draft.arrive_per_s || draft.hold_ns || draft.leave_per_s;
  if (draft.stages && short_form) {
    return make_error(ErrorCode::kUsage,
                      "give either stages, or clients with arrive, hold and leave");
  }
  if (draft.stages) {
    TOPSPIN_ASSIGN(draft.options.stages, parse_stages(*draft.stages));
  } else {
    TOPSPIN_ASSIGN(draft.options.stages,
                   stages_from_rates(draft.clients.value_or(1), draft.arrive_per_s.value_or(0),
                                     draft.hold_ns.value_or(10 * kNanosPerSecond),
                                     draft.leave_per_s.value_or(0)));
  }
  if (auto schedule = make_schedule(draft.options.stages); !schedule.ok()) return schedule.error();
  return {};
}

}  // namespace topspin
