// WorkloadType: the description of a kind of load, in the kind's own file: its options, what it
// refuses, and how it runs. The command line, plans and run_load() use the list of all kinds.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/run/load_result.h"
#include "load/load.h"
#include "load/wire/target.h"
#include "load/workloads/load_option.h"

namespace topspin {

struct WorkloadType {
  WorkloadKind kind = WorkloadKind::kUdpPingpong;
  std::string_view help;        // one line
  std::string_view examples;    // command lines, each indented by two spaces
  bool datagrams = false;       // UDP; else TCP
  bool takes_url = false;       // as its target
  std::string_view only_stage;  // of a kind without clients that come and go; empty: it has stages
  std::vector<LoadOption> options;  // all but the target and common_load_options()
  /// What it refuses, beyond what each option does alone. Empty: nothing.
  std::function<Status(const LoadOptions&)> check;
  std::function<Status(const LoadOptions&, const TargetParts&)> check_target;
  /// Whether a client stays one flow and sends on it once a period. Empty: it does not.
  std::function<bool(const LoadOptions&)> keeps_flows;
  /// As run_load(), with options that were checked.
  std::function<Result<LoadResult>(const LoadOptions&, const Target&, const std::atomic<bool>& stop,
                                   const LoadProgressSink&)>
      run;

  std::string_view name() const { return workload_name(kind); }
  /// Its clients come and go by stages.
  bool has_clients() const { return only_stage.empty(); }
  bool takes(std::string_view option) const;
};

// Each kind, in the file of its name. workload_types() lists them.
WorkloadType udp_pingpong_workload();
WorkloadType udp_flood_workload();
WorkloadType tcp_connect_workload();
WorkloadType http_workload();
WorkloadType accept_queue_workload();

/// All kinds, in the order in which they are shown.
const std::vector<WorkloadType>& workload_types();
const WorkloadType& workload_type(WorkloadKind kind);

/// timeout and late-after.
const std::vector<LoadOption>& common_load_options();
/// stages, clients, arrive, hold, leave: for kinds with clients.
std::vector<LoadOption> schedule_options();
/// `first`, and then `more`: the list of a kind's options is put together of such parts.
std::vector<LoadOption> options_of(std::vector<LoadOption> first, std::vector<LoadOption> more);
LoadOption period_option();
LoadOption grid_option();

/// The options that were read as a whole: makes the stages. The error is about the stages.
Status finish_stages(LoadDraft& draft);
/// Whether the options make sense together; the target is check_target()'s. kUsage.
Status check_load(const LoadOptions& options);

}  // namespace topspin
