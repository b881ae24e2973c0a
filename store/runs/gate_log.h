// The gate's log in a database, or of a project in a team's store: the changes that were accepted
// as intended, with reasons, and the verdicts that were given.
//
// Entries are only added, so an accepted change stays accepted. All texts are hostile. A log is
// opened for one operation and then closed; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

/// A change, or a new level, that was accepted as intended. It refers to a stored run or to a row
/// of a series from a file: exactly one of `run_id` and `series` is set.
struct Acceptance {
  enum class Kind : uint8_t {
    kBaseline,  // accepts every change up to here: this level must be held from now on
    kChange,    // accepts the change that begins here
  };
  int64_t accepted_wall_ns = 0;
  Kind kind = Kind::kChange;
  std::string run_id;
  std::string series;      // a name that the caller gives to the series
  uint64_t row_index = 0;  // of the series, from 0
  std::string metric;      // empty: every metric
  std::string because;

  bool operator==(const Acceptance&) const = default;
};
std::string_view acceptance_kind_name(Acceptance::Kind kind);  // "baseline", "change"

struct StoredJudgement {
  int64_t judged_wall_ns = 0;
  std::string mode;
  std::string verdict;
  int exit_code = 0;
  uint64_t seed = 0;
  std::string document;  // the judgement as JSON

  bool operator==(const StoredJudgement&) const = default;
};

/// Adds an entry to an existing database. kInput if it is not a database of ours; kOutput or
/// kPermission if it cannot be written.
Status log_acceptance(const std::string& path, const Acceptance& acceptance);
Status log_judgement(const std::string& path, const StoredJudgement& judgement);

/// Oldest first.
Result<std::vector<Acceptance>> read_acceptances(const std::string& path);

/// The newest, or nullopt if there is none.
Result<std::optional<StoredJudgement>> read_last_judgement(const std::string& path);

}  // namespace topspin
