// WorkerStore: where the workers of a load and their coordinator meet: tables in PostgreSQL, in the
// schema topspin_workers (docs/workers.md). It stores and reads rows, and knows nothing of what is
// in a load's description or a report. It holds one connection, which it opens again after an
// error; a thread uses it at a time. Times are those of the server's clock in nanoseconds since the
// Unix epoch, or since the load began where it is said.
//
// Errors: kOutput if the server went away (try again), kPermission if the user lacks a role, kInput
// for anything else. What comes out is as hostile as any file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"

namespace topspin {

class PostgresConnection;
class PostgresRows;

/// What a worker says of itself.
struct WorkerCard {
  std::string id;
  std::string host;
  std::map<std::string, std::string> labels;
  std::string addresses;  // "10.0.0.2 fd00::2"
  std::string allowed;    // targets: "10.0.0.0/8"; empty: any
  std::string version;
  int64_t cores = 0;
  int64_t descriptors = 0;
  int64_t clock_offset_ns = 0;  // its clock minus the server's
  int64_t clock_error_ns = 0;
};

/// What became of an invitation; the words are stored.
enum class MemberState : uint8_t {
  kInvited,  // by the coordinator
  kReady,    // has read the description and can do its part
  kLeaving,  // wants to hand over
  kEnded,    // has sent its last report
  kFailed,   // cannot do its part: `why`
};

struct MemberRow {
  std::string worker;
  MemberState state = MemberState::kInvited;
  std::string why;
  int64_t heartbeat_age_ns = 0;
  int64_t claimed_until_ns = 0;  // since the load began
};

struct EpochRow {
  uint64_t number = 0;
  int64_t from_ns = 0;
  bool is_last = false;
  std::vector<std::string> members;
};

/// What a worker reads of its load.
struct JobView {
  std::optional<int64_t> start_ns;  // absent: not yet
  int64_t coordinator_age_ns = 0;   // since its last sign of life
  bool is_over = false;             // it has its result; the worker need not stay
  std::vector<EpochRow> epochs;     // that are new
};

struct ReportRow {
  std::string worker;
  int64_t second = 0;
  std::string bytes;
};

class WorkerStore {
 public:
  /// kInput if it has no tables for workers, or newer ones.
  static Result<std::unique_ptr<WorkerStore>> open(const std::string& address);
  WorkerStore(const WorkerStore&) = delete;
  WorkerStore& operator=(const WorkerStore&) = delete;
  ~WorkerStore();

  /// After an error of kOutput: connects again.
  Status connect_again();
  /// Where it is, without any secret.
  const std::string& name() const { return name_; }

  /// The server's clock now.
  Result<int64_t> clock();

  // For a worker.
  Status register_worker(const WorkerCard& card);
  /// False: it is not registered any more.
  Result<bool> heartbeat(const std::string& worker);
  Status remove_worker(const std::string& worker);
  /// The load that it is invited to, and its description; nullopt: none.
  Result<std::optional<std::pair<std::string, std::string>>> invitation(const std::string& worker);
  Status set_state(const std::string& job, const std::string& worker, MemberState state,
                   const std::string& why = {});
  /// Claims the load's time until then. It is a heartbeat, too.
  Status claim(const std::string& job, const std::string& worker, int64_t until_ns);
  /// The epochs behind the first `known`. For a claim to hold it is called after it.
  Result<JobView> view(const std::string& job, uint64_t known);
  /// Stores it unless it is there.
  Status put_report(const std::string& job, const ReportRow& report);

  // For a coordinator.
  Status create_job(const std::string& job, const std::string& description);
  /// Invites each worker that lives, is in no other load, and has all of these labels.
  Status invite(const std::string& job, const std::map<std::string, std::string>& labels,
                int64_t alive_ns);
  Result<std::vector<MemberRow>> members(const std::string& job);
  /// Of all workers of the project that are registered, by id.
  Result<std::map<std::string, WorkerCard>> cards();
  /// Stores the first epoch and the load's beginning.
  Status begin(const std::string& job, int64_t start_ns, const EpochRow& first);
  /// False: one of `losers` has claimed more time, or the number is taken. Read again.
  Result<bool> put_epoch(const std::string& job, const EpochRow& epoch,
                         const std::vector<std::string>& losers);
  Result<std::vector<EpochRow>> epochs(const std::string& job);
  /// Reports of this second of the load and later.
  Result<std::vector<ReportRow>> reports(const std::string& job, int64_t from_second);
  Status coordinator_alive(const std::string& job);
  Status end_job(const std::string& job);
  /// Removes loads that ended, or whose coordinator was not heard of, so long ago, and workers that
  /// were not heard of for as long.
  Status remove_old(int64_t older_than_ns);

 private:
  WorkerStore(std::string url, std::string project);
  Result<PostgresRows> ask(const std::string& sql,
                           const std::vector<std::string>& texts);  // $1 is the project
  Status tell(const std::string& sql, const std::vector<std::string>& texts);

  std::string url_;
  std::string project_;
  std::string name_;
  std::unique_ptr<PostgresConnection> connection_;
};

/// Creates or updates the tables and roles. Returns why the roles could not be made, or nullopt.
Result<std::optional<std::string>> make_worker_store(const std::string& address);
/// The statements by which it makes a new one.
std::string worker_store_sql();

}  // namespace topspin
