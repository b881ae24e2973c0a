#include "store/runs/file_log.h"

#include <memory>

#include <fmt/format.h>

#include "store/schema/database.h"
#include "store/sqlite/row_values.h"

namespace topspin {
namespace {

Status insert(const std::string& path, const std::string& sql, const auto& bind) {
  TOPSPIN_ASSIGN(const auto connection, open_existing_for_writing(path));
  {
    TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(*connection));
    {
      TOPSPIN_ASSIGN(Statement statement, connection->prepare(sql));
      ParameterBinder binder(statement);
      bind(binder);
      TOPSPIN_TRY(statement.run());
    }
    TOPSPIN_TRY(transaction.commit());
  }
  leave_wal_mode(*connection);
  return {};
}

}  // namespace

std::string_view acceptance_kind_name(Acceptance::Kind kind) {
  return kind == Acceptance::Kind::kBaseline ? "baseline" : "change";
}

Status log_file_acceptance(const std::string& path, const Acceptance& acceptance) {
  const std::string kind(acceptance_kind_name(acceptance.kind));
  std::optional<uint64_t> row_index;
  if (!acceptance.series.empty()) row_index = acceptance.row_index;
  return insert(path,
                "INSERT INTO acceptance (accepted_wall_ns, kind, run_id, series, row_index, metric,"
                " because) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                [&](ParameterBinder& bind) {
                  bind.bind(acceptance.accepted_wall_ns);
                  bind.bind(kind);
                  bind.bind(acceptance.run_id);
                  bind.bind(acceptance.series);
                  bind.bind(row_index);
                  bind.bind(acceptance.metric);
                  bind.bind(acceptance.because);
                });
}

Status log_file_judgement(const std::string& path, const StoredJudgement& judgement) {
  return insert(path,
                "INSERT INTO judgement (judged_wall_ns, mode, verdict, exit_code, seed, document)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                [&](ParameterBinder& bind) {
                  bind.bind(judgement.judged_wall_ns);
                  bind.bind(judgement.mode);
                  bind.bind(judgement.verdict);
                  bind.bind(judgement.exit_code);
                  bind.bind(judgement.seed);
                  bind.bind(judgement.document);
                });
}

Result<std::vector<Acceptance>> read_file_acceptances(const std::string& path) {
  TOPSPIN_ASSIGN(const auto connection, open_for_reading(path));
  TOPSPIN_ASSIGN(Statement select,
                 connection->prepare("SELECT accepted_wall_ns, kind, run_id, series, row_index,"
                                     " metric, because FROM acceptance ORDER BY position"));
  std::vector<Acceptance> acceptances;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return acceptances;
    Acceptance& acceptance = acceptances.emplace_back();
    std::string kind;
    std::optional<uint64_t> row_index;
    ColumnLoader load(select);
    load.load_bounded(acceptance.accepted_wall_ns);
    load.load(kind);
    load.load(acceptance.run_id);
    load.load(acceptance.series);
    load.load(row_index);
    load.load(acceptance.metric);
    load.load(acceptance.because);
    if (load.damaged() || (kind != "baseline" && kind != "change"))
      return damaged(*connection, "an acceptance");
    acceptance.kind = kind == "baseline" ? Acceptance::Kind::kBaseline : Acceptance::Kind::kChange;
    acceptance.row_index = row_index.value_or(0);
  }
}

namespace {

constexpr const char* kSelectJudgements =
    "SELECT judged_wall_ns, mode, verdict, exit_code, seed, document FROM judgement"
    " ORDER BY position DESC";

Result<StoredJudgement> load_judgement(const Connection& connection, const Statement& select) {
  StoredJudgement judgement;
  ColumnLoader load(select);
  load.load_bounded(judgement.judged_wall_ns);
  load.load(judgement.mode);
  load.load(judgement.verdict);
  load.load(judgement.exit_code);
  load.load(judgement.seed);
  load.load(judgement.document);
  if (load.damaged()) return damaged(connection, "a judgement");
  return judgement;
}

}  // namespace

Status check_gate_log(const std::string& path) {
  TOPSPIN_ASSIGN([[maybe_unused]] const auto acceptances, read_file_acceptances(path));
  TOPSPIN_ASSIGN(const auto connection, open_for_reading(path));
  TOPSPIN_ASSIGN(Statement select, connection->prepare(kSelectJudgements));
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) return {};
    TOPSPIN_ASSIGN([[maybe_unused]] const StoredJudgement judgement,
                   load_judgement(*connection, select));
  }
}

Result<std::optional<StoredJudgement>> read_last_file_judgement(const std::string& path) {
  TOPSPIN_ASSIGN(const auto connection, open_for_reading(path));
  TOPSPIN_ASSIGN(Statement select,
                 connection->prepare(fmt::format("{} LIMIT 1", kSelectJudgements)));
  TOPSPIN_ASSIGN(const bool row, select.step());
  if (!row) return std::optional<StoredJudgement>();
  TOPSPIN_ASSIGN(StoredJudgement judgement, load_judgement(*connection, select));
  return std::optional(std::move(judgement));
}

}  // namespace topspin
