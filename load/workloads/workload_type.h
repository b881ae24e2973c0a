// WorkloadType: the description of a kind of load, in the kind's own file: its options, what it
// refuses, and how it runs. The command line, plans and run_load() use the list of all kinds.
#pragma once

#include <atomic>
#include <functional>
#include <map>
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
  bool any_socket = false;      // what is sent decides: TCP, and UDP if nobody listens there
  bool takes_url = false;       // the target may be a URL
  bool can_be_shared = false;   // by workers: its clients can move from one to another
  double per_thread_s = 0;      // messages that a thread sends easily, if it can be shared
  std::string_view only_stage;  // for kinds whose clients do not come and go; empty: it has stages
  std::vector<LoadOption> options;  // all but the target and common_load_options()
  /// Checks the options together, after each was checked alone. May be empty.
  std::function<Status(const LoadOptions&)> check;
  std::function<Status(const LoadOptions&, const TargetParts&)> check_target;
  /// Reads the files that the options name into the options. May be empty.
  std::function<Status(LoadOptions&)> read_files;
  /// Whether a client stays one flow and sends on it once per period. Empty means no.
  std::function<bool(const LoadOptions&)> keeps_flows;
  /// Like run_load(), with checked options.
  std::function<Result<LoadResult>(const LoadOptions&, const Target&, const std::atomic<bool>& stop,
                                   const LoadProgressSink&)>
      run;

  std::string_view name() const { return workload_name(kind); }
  /// Whether its clients come and go by stages.
  bool has_clients() const { return only_stage.empty(); }
  bool takes(std::string_view option) const;
};

// Each kind, in the file of its name. workload_types() lists them.
WorkloadType udp_pingpong_workload();
WorkloadType udp_flood_workload();
WorkloadType tcp_connect_workload();
WorkloadType http_workload();
WorkloadType accept_queue_workload();
WorkloadType script_workload();  // load/script

/// All kinds, in the order in which they are shown.
const std::vector<WorkloadType>& workload_types();
const WorkloadType& workload_type(WorkloadKind kind);

/// timeout and late-after.
const std::vector<LoadOption>& common_load_options();
/// stages, clients, arrive, hold and leave, for kinds with clients.
std::vector<LoadOption> schedule_options();
/// `first` followed by `more`, to build the list of a kind's options.
std::vector<LoadOption> options_of(std::vector<LoadOption> first, std::vector<LoadOption> more);
LoadOption period_option();
LoadOption grid_option();
/// Of kinds that can be shared.
LoadOption threads_option();
/// find and what belongs to it, for kinds with clients and replies.
std::vector<LoadOption> find_options();
/// Whether the options of a search fit together; sets LoadFindOptions::by. `has_period`: the period
/// was given. kUsage.
Status complete_find(LoadOptions& options, bool has_period);

/// Makes the stages from the options that were read, and completes a search. An error is about
/// them.
Status finish_stages(LoadDraft& draft);
/// The options of a load from their texts, by name, as on the command line. kUsage names the option
/// that is wrong or that the workload does not have.
Result<LoadOptions> read_load_options(const WorkloadType& type, const std::string& target,
                                      const std::map<std::string, std::string>& texts);
/// Checks that the options make sense together, except the target (check_target()). kUsage.
Status check_load(const LoadOptions& options);

}  // namespace topspin
