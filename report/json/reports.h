// Reports for programs: the output of `--format json`. Names and shapes are fixed, because programs
// rely on them. Each report is one object, pretty-printed, ASCII only, with a newline at the end.
// Unknown values are null. The room's door.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ci/judgement/aa_check.h"
#include "ci/judgement/judgement.h"
#include "ci/metrics/standing.h"
#include "core/base/result.h"
#include "core/flow/flow.h"
#include "core/flow/flow_owner.h"
#include "core/flow/two_ends.h"
#include "core/run/load_result.h"
#include "report/model/doctor_report.h"
#include "report/model/file_reading.h"
#include "report/model/run_report.h"
#include "report/model/slow_moment.h"

namespace topspin {

/// `report`. Written piece by piece: as a tree, each thread and tick would take some KiB. Returns
/// the first error of `write`.
Status run_report_json(const RunReport& report,
                       const std::function<Status(std::string_view)>& write);

/// `explain`: {"schema_version", "run", "findings": [...]}, the worst first.
std::string findings_json(const StoredRun& run, const std::vector<Finding>& findings);

/// `explain --at`: {"schema_version", "run", "from_elapsed_ns", "to_elapsed_ns", "replies",
/// "slow_replies": [...]}, the slowest first.
std::string slow_moment_json(const SlowMoment& moment);

/// `list`: {"schema_version", "runs": [...]}, oldest first.
std::string run_list_json(const std::vector<ListedRun>& runs);

/// `load` and `load show`; docs/load.md names the fields.
std::string load_result_json(const LoadResult& load);

/// `gate` and `compare`.
std::string judgement_json(const Judgement& judgement);
/// `gate --aa`.
std::string aa_check_json(const AaCheck& check);

/// Reads a judgement from JSON (of a file or the gate's log, so it may be hostile), as far as other
/// formats show it: the verdict, its reasons and metrics. kInput if it is not a judgement. `name`
/// is the source, for messages.
Result<Judgement> parse_judgement(std::string_view json, std::string_view name);

/// `read`, and one flow as one object on one line.
std::string file_reading_json(const FileReading& reading);
std::string flow_json_line(const FlowRow& flow, const OwnerTable& owners = {});

/// `ends`; docs/two-ends.md names the fields.
std::string two_ends_json(const TwoEnds& ends);

/// `doctor`, and with --prove.
std::string doctor_json(const DoctorReport& report);
std::string proof_json(const ProofReport& report);

}  // namespace topspin
