// The gate's log of a file, or of a project in a team's store.
#include <algorithm>
#include <limits>
#include <random>

#include <fmt/format.h>

#include "store/runs/file_log.h"
#include "store/team/session.h"
#include "store/team/team_text.h"
#include "store/team_address.h"

namespace topspin {
namespace {

/// The key of an entry, which no other one has.
std::string new_entry() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

/// A parameter that owns its text.
class Texts {
 public:
  void add(std::string text) { values_.push_back(std::move(text)); }
  void add_or_null(const std::string& text) {
    values_.push_back(text.empty() ? std::nullopt : std::optional(to_team_text(text)));
  }
  std::vector<PostgresParameter> parameters() const {
    std::vector<PostgresParameter> parameters;
    for (const auto& value : values_) {
      PostgresParameter& parameter = parameters.emplace_back();
      if (value) parameter.value = *value;
    }
    return parameters;
  }

 private:
  std::vector<std::optional<std::string>> values_;
};

Error damaged_entry(const PostgresConnection& store) {
  return make_error(ErrorCode::kInput,
                    fmt::format("the gate's log in the store {} is damaged", store.name()));
}

/// The largest that a bigint holds stands for larger ones, as in a file.
std::string count(uint64_t value) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  return std::to_string(std::min(value, kMost));
}

Status log_team_acceptance(const std::string& address, const Acceptance& acceptance) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  Texts values;
  values.add(session->project);
  values.add(new_entry());
  values.add(std::to_string(acceptance.accepted_wall_ns));
  values.add(std::string(acceptance_kind_name(acceptance.kind)));
  values.add_or_null(acceptance.run_id);
  values.add_or_null(acceptance.series);
  values.add_or_null(acceptance.series.empty() ? "" : count(acceptance.row_index));
  values.add_or_null(acceptance.metric);
  values.add(to_team_text(acceptance.because));
  const auto parameters = values.parameters();
  TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows rows,
                 session->connection->query(
                     "INSERT INTO topspin.acceptance (project, entry, accepted_wall_ns, kind,"
                     " run_id, series, row_index, metric, because) VALUES ($1, $2, $3::bigint, $4,"
                     " $5, $6, $7::bigint, $8, $9)",
                     parameters));
  return {};
}

Status log_team_judgement(const std::string& address, const StoredJudgement& judgement) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  Texts values;
  values.add(session->project);
  values.add(new_entry());
  values.add(std::to_string(judgement.judged_wall_ns));
  values.add(to_team_text(judgement.mode));
  values.add(to_team_text(judgement.verdict));
  values.add(std::to_string(judgement.exit_code));
  values.add(count(judgement.seed));
  values.add(to_team_text(judgement.document));
  const auto parameters = values.parameters();
  TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows rows,
                 session->connection->query(
                     "INSERT INTO topspin.judgement (project, entry, judged_wall_ns, mode, verdict,"
                     " exit_code, seed, document) VALUES ($1, $2, $3::bigint, $4, $5, $6::bigint,"
                     " $7::bigint, $8)",
                     parameters));
  return {};
}

Result<std::vector<Acceptance>> read_team_acceptances(const std::string& address) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 session->connection->query(
                     "SELECT accepted_wall_ns, kind, run_id, series, row_index, metric, because"
                     " FROM topspin.acceptance WHERE project = $1 ORDER BY accepted_wall_ns, entry",
                     {session->project}));
  std::vector<Acceptance> acceptances;
  for (size_t row = 0; row < rows.size(); ++row) {
    Acceptance& acceptance = acceptances.emplace_back();
    const auto wall_ns = rows.integer(row, 0);
    const std::string_view kind = rows.bytes(row, 1);
    const auto index = rows.integer(row, 4);
    const bool is_of_run = rows.is_null(row, 3);
    if (!wall_ns || (kind != "baseline" && kind != "change") || is_of_run == rows.is_null(row, 2) ||
        (!is_of_run && (!index || *index < 0)))
      return damaged_entry(*session->connection);
    acceptance.accepted_wall_ns = *wall_ns;
    acceptance.kind = kind == "baseline" ? Acceptance::Kind::kBaseline : Acceptance::Kind::kChange;
    acceptance.run_id = from_team_text(rows.bytes(row, 2));
    acceptance.series = from_team_text(rows.bytes(row, 3));
    acceptance.row_index = static_cast<uint64_t>(index.value_or(0));
    acceptance.metric = from_team_text(rows.bytes(row, 5));
    acceptance.because = from_team_text(rows.bytes(row, 6));
  }
  return acceptances;
}

Result<std::optional<StoredJudgement>> read_last_team_judgement(const std::string& address) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 session->connection->query(
                     "SELECT judged_wall_ns, mode, verdict, exit_code, seed, document FROM"
                     " topspin.judgement WHERE project = $1 ORDER BY judged_wall_ns DESC, entry"
                     " LIMIT 1",
                     {session->project}));
  if (rows.size() == 0) return std::optional<StoredJudgement>();
  StoredJudgement judgement;
  const auto wall_ns = rows.integer(0, 0), exit_code = rows.integer(0, 3),
             seed = rows.integer(0, 4);
  if (!wall_ns || !exit_code || *exit_code < 0 || *exit_code > 255 || !seed || *seed < 0)
    return damaged_entry(*session->connection);
  judgement.judged_wall_ns = *wall_ns;
  judgement.mode = from_team_text(rows.bytes(0, 1));
  judgement.verdict = from_team_text(rows.bytes(0, 2));
  judgement.exit_code = static_cast<int>(*exit_code);
  judgement.seed = static_cast<uint64_t>(*seed);
  judgement.document = from_team_text(rows.bytes(0, 5));
  return std::optional(std::move(judgement));
}

}  // namespace

Status log_acceptance(const std::string& path, const Acceptance& acceptance) {
  return is_team_address(path) ? log_team_acceptance(path, acceptance)
                               : log_file_acceptance(path, acceptance);
}
Status log_judgement(const std::string& path, const StoredJudgement& judgement) {
  return is_team_address(path) ? log_team_judgement(path, judgement)
                               : log_file_judgement(path, judgement);
}
Result<std::vector<Acceptance>> read_acceptances(const std::string& path) {
  return is_team_address(path) ? read_team_acceptances(path) : read_file_acceptances(path);
}
Result<std::optional<StoredJudgement>> read_last_judgement(const std::string& path) {
  return is_team_address(path) ? read_last_team_judgement(path) : read_last_file_judgement(path);
}

}  // namespace topspin
