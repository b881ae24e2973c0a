#include "store/team/team_store.h"

#include <algorithm>
#include <charconv>
#include <list>
#include <set>

#include <fmt/format.h>

#include "store/runs/one_run.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "store/schema/tick_columns.h"
#include "store/sqlite/row_values.h"
#include "store/team/session.h"
#include "store/team/team_schema.h"
#include "store/team/team_text.h"
#include "store/team_address.h"
#include "store/team_store.h"

namespace topspin {
namespace {

/// The conditions of a query, with their parameters.
class Where {
 public:
  explicit Where(std::string project) : project_(add(std::move(project))) {
    sql_ = "project = " + project_;
  }

  /// Adds a parameter and returns its name: "$3".
  std::string add(std::string value) {
    values_.push_back(std::move(value));
    return fmt::format("${}", values_.size());
  }
  void also(const std::string& condition) { sql_ += " AND " + condition; }
  const std::string& sql() const { return sql_; }
  /// The parameter that is the project.
  const std::string& project() const { return project_; }
  std::vector<PostgresParameter> parameters() const {
    std::vector<PostgresParameter> parameters;
    for (const std::string& value : values_) parameters.push_back({value});
    return parameters;
  }

 private:
  std::list<std::string> values_;
  std::string project_;
  std::string sql_;
};

std::optional<uint64_t> whole_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
      number > INT64_MAX)
    return std::nullopt;
  return number;
}

/// A condition that holds for the texts in `column` that begin with `prefix`.
std::string begins_with(Where& where, std::string_view column, std::string_view prefix) {
  return fmt::format("substr({}, 1, {}) = {}::text", column, prefix.size(),
                     where.add(std::string(prefix)));
}

/// The array is made once, before any run is looked at. So the indexes find the runs, also where
/// the condition is one of several of which any may hold; with EXISTS, every run of the project is
/// read.
std::string has_label(Where& where, std::string_view key, std::string_view value) {
  const std::string k = where.add(to_team_text(key)), v = where.add(to_team_text(value));
  return fmt::format(
      "r.run = ANY (ARRAY(SELECT l.run FROM topspin.label l WHERE l.project = {}"
      " AND l.\"key\" = {} AND l.value = {}))",
      where.project(), k, v);
}

/// The hash in "commit", which may have "+changes" behind it.
std::string_view hash_of(std::string_view commit) { return commit.substr(0, commit.find('+')); }

/// A condition that holds at least for the runs that a user can mean by `word`.
std::string may_mean(Where& where, std::string_view word) {
  if (word.starts_with('#')) {
    const auto number = whole_number(word.substr(1));
    return number ? fmt::format("r.number = {}", *number) : "false";
  }
  std::string any;
  const auto add = [&](const std::string& condition) {
    any += (any.empty() ? "(" : " OR ") + condition;
  };
  if (const size_t equals = word.find('='); equals != std::string_view::npos) {
    const std::string_view key = word.substr(0, equals), value = word.substr(equals + 1);
    add(has_label(where, key, value));
    if (key == "branch") add(fmt::format("r.source_branch = {}", where.add(to_team_text(value))));
    if (key == "commit") add(begins_with(where, "r.source_commit", hash_of(value)));
    return any + ")";
  }
  if (const auto number = whole_number(word)) add(fmt::format("r.number = {}", *number));
  add(fmt::format("r.source_branch = {}", where.add(to_team_text(word))));
  add(begins_with(where, "r.source_commit", hash_of(word)));
  add(begins_with(where, "r.run", word));
  return any + ")";
}

/// N + 1 for "last~N", 1 for "last"; nullopt for any other word.
std::optional<uint64_t> newest_meant(std::string_view word) {
  if (word == "last") return 1;
  if (!word.starts_with("last~")) return std::nullopt;
  const auto steps = whole_number(word.substr(5));
  return steps ? std::optional(*steps + 1) : std::nullopt;
}

/// Adds the conditions of the filter, except its words.
void restrict_to(Where& where, const RunFilter& filter) {
  const auto equal = [&](std::string_view column, const std::string& value) {
    if (!value.empty())
      where.also(fmt::format("r.{} = {}", column, where.add(to_team_text(value))));
  };
  equal("source_branch", filter.branch);
  equal("status", filter.status);
  if (!filter.commit.empty()) where.also(begins_with(where, "r.source_commit", filter.commit));
  if (!filter.plan.empty()) {
    where.also(
        fmt::format("EXISTS (SELECT 1 FROM topspin.plan p WHERE p.project = r.project"
                    " AND p.run = r.run AND p.name = {})",
                    where.add(to_team_text(filter.plan))));
  }
  if (filter.since_wall_ns)
    where.also(fmt::format("r.started_wall_ns >= {}", *filter.since_wall_ns));
  for (const auto& [key, value] : filter.labels) where.also(has_label(where, key, value));
}

void restrict_to_runs(Where& where, const std::vector<std::string>& ids) {
  std::string array = "{";
  for (const std::string& id : ids) {
    // An id is ours, but a stranger may have written it: within quotes these two need a backslash.
    array += array.size() == 1 ? "\"" : ",\"";
    for (const char c : id) {
      if (c == '"' || c == '\\') array += '\\';
      array += c;
    }
    array += '"';
  }
  where.also(fmt::format("r.run = ANY ({}::text[])", where.add(array + "}")));
}

/// Loads rows of table total. The values of a row become parameters of a SELECT, which returns
/// them, so that they are checked and loaded as those of a file are.
class FoldLoader {
 public:
  FoldLoader(const std::vector<TeamColumn>& columns, const std::vector<std::string>& histograms)
      : histograms_(histograms), first_histogram_(1 + columns.size()) {
    const auto place_of = [&](std::string_view name) -> std::optional<size_t> {
      for (size_t i = 0; i < columns.size(); ++i)
        if (columns[i].name == name) return i + 1;
      return std::nullopt;  // a number that is newer than the store
    };
    const ColumnNames of_sample = names_of_sample_columns();
    parameters_ = of_sample.parameters();
    std::string_view names = of_sample.names();
    constexpr std::string_view kSeparator = ", ";
    while (!names.empty()) {
      const size_t end = std::min(names.find(kSeparator), names.size());
      places_.push_back(place_of(names.substr(0, end)));
      names.remove_prefix(std::min(end + kSeparator.size(), names.size()));
    }
    part_ = place_of("part");
    statistic_ = place_of("statistic");
    ticks_ = place_of("ticks");
    half_open_ = place_of("half_open_before");
  }

  /// Adds the row to the fold of its run.
  Status load(const PostgresRows& rows, size_t row, Connection& here,
              std::map<RunPart, RunFold>& found) const {
    const auto damage = [] { return make_error(ErrorCode::kInput, "a value of a wrong type"); };
    if (!part_ || !statistic_ || !ticks_ || !half_open_) return damage();
    const auto ticks = rows.integer(row, *ticks_), half_open = rows.integer(row, *half_open_);
    if (!ticks || !half_open || *ticks < 0 || *half_open < 0) return damage();
    TOPSPIN_ASSIGN(Statement echo, here.prepare(fmt::format("SELECT {}", parameters_)));
    for (size_t i = 0; i < places_.size(); ++i) {
      const auto value = places_[i] ? rows.integer(row, *places_[i]) : std::nullopt;
      if (value) echo.bind_int(static_cast<int>(i) + 1, *value);
    }
    TOPSPIN_ASSIGN(const bool echoed, echo.step());
    Sample sample;
    ColumnLoader columns(echo);
    if (echoed) load_sample(columns, sample);
    if (!echoed || columns.damaged()) return damage();
    for (size_t i = 0; i < histograms_.size(); ++i) {
      if (rows.is_null(row, first_histogram_ + i)) continue;
      TOPSPIN_TRY(load_histogram(sample, histograms_[i], rows.bytes(row, first_histogram_ + i)));
    }
    const RunPart part =
        rows.bytes(row, *part_) == "measured" ? RunPart::kMeasured : RunPart::kWhole;
    RunFold& fold = found[part];
    fold.ticks = static_cast<uint64_t>(*ticks);
    fold.half_open_before = static_cast<uint64_t>(*half_open);
    const bool merged = rows.bytes(row, *statistic_) == "merged";
    (merged ? fold.merged : fold.greatest) = std::move(sample);
    return {};
  }

 private:
  const std::vector<std::string>& histograms_;
  size_t first_histogram_;
  std::vector<std::optional<size_t>> places_;  // of each column of a Sample, in a row
  std::optional<size_t> part_, statistic_, ticks_, half_open_;
  std::string parameters_;
};

class TeamRunStore final : public RunStore {
 public:
  TeamRunStore(std::string address, std::shared_ptr<TeamSession> session,
               std::vector<TeamTable> tables, std::unique_ptr<Connection> here)
      : address_(std::move(address)),
        session_(std::move(session)),
        tables_(std::move(tables)),
        here_(std::move(here)),
        rows_(read_runs_of(*here_)) {}

  Result<std::vector<StoredRun>> list_runs(std::vector<Error>* damaged) override {
    return list_runs(RunFilter{}, damaged);
  }
  Result<std::vector<StoredRun>> list_runs(const RunFilter& filter,
                                           std::vector<Error>* damaged) override;
  Result<StoredRun> find_run(std::string_view id) override;
  Result<StoredRun> last_run() override;
  Status expect(const std::vector<StoredRun>& runs) override;

  Result<RunFold> fold(const std::string& run_id, RunPart part) override {
    TOPSPIN_TRY(need(TeamPart::kTotals, {run_id}));
    return rows_->fold(run_id, part);
  }
  Status for_each_fold(const std::vector<StoredRun>& runs, RunPart part,
                       std::span<const std::string_view> distributions,
                       const std::function<void(size_t, const RunFold&)>& visit) override;
  Result<std::vector<RunStage>> load_stages(const std::string& run_id) override {
    TOPSPIN_TRY(need(TeamPart::kLoad, {run_id}));
    return rows_->load_stages(run_id);
  }
  Result<std::optional<LoadResult>> load_load(const std::string& run_id) override {
    TOPSPIN_TRY(need(TeamPart::kLoad, {run_id}));
    return rows_->load_load(run_id);
  }

  // The rest is in the run's file.
  using RunStore::for_each_tick;
  Status for_each_tick(const std::string& run_id, TickParts parts,
                       const std::function<void(const Sample&)>& visit) override {
    TOPSPIN_ASSIGN(RunStore* const file, file_of(run_id));
    return file->for_each_tick(run_id, parts, visit);
  }
  Result<std::vector<Sample>> read_ticks(const std::string& run_id, uint64_t first,
                                         size_t most) override {
    TOPSPIN_ASSIGN(RunStore* const file, file_of(run_id));
    return file->read_ticks(run_id, first, most);
  }
  Result<uint64_t> last_tick(const std::string& run_id) override {
    TOPSPIN_ASSIGN(RunStore* const file, file_of(run_id));
    return file->last_tick(run_id);
  }
#define TOPSPIN_FROM_FILE(name, Row)                                                              \
  Status name(const std::string& run_id, const std::function<void(const Row&)>& visit) override { \
    TOPSPIN_ASSIGN(RunStore* const file, file_of(run_id));                                        \
    return file->name(run_id, visit);                                                             \
  }
  TOPSPIN_FROM_FILE(for_each_flow, FlowRow)
  TOPSPIN_FROM_FILE(for_each_thread, ThreadRow)
  TOPSPIN_FROM_FILE(for_each_thread_tick, ThreadTick)
  TOPSPIN_FROM_FILE(for_each_late_message, LateMessage)
  TOPSPIN_FROM_FILE(for_each_owner, FlowOwner)
  TOPSPIN_FROM_FILE(for_each_socket, SocketRow)
  TOPSPIN_FROM_FILE(for_each_syscall, SyscallRow)
  TOPSPIN_FROM_FILE(for_each_cpu_holder, CpuHolderRow)
  TOPSPIN_FROM_FILE(for_each_stack, StackRow)
  TOPSPIN_FROM_FILE(for_each_sleep_stack, SleepStackRow)
  TOPSPIN_FROM_FILE(for_each_busy_stretch, BusyStretch)
  TOPSPIN_FROM_FILE(for_each_called, CalledRow)
  TOPSPIN_FROM_FILE(for_each_slow_reply, SlowReply)
  TOPSPIN_FROM_FILE(for_each_event, StoredEvent)
#undef TOPSPIN_FROM_FILE

 private:
  PostgresConnection& store() { return *session_->connection; }
  const TeamTable& table(std::string_view name) const {
    return *std::find_if(tables_.begin(), tables_.end(),
                         [&](const TeamTable& t) { return t.name == name; });
  }
  Error damaged_rows(std::string_view of, const Error& why) const {
    return make_error(ErrorCode::kInput, fmt::format("{} is damaged in the store {}: {}", of,
                                                     session_->connection->name(), why.message));
  }

  Result<std::vector<std::string>> fetch_runs(const Where& where, std::optional<uint64_t> newest);
  Status fetch(const TeamTable& table, const std::vector<std::string>& ids);
  Status keep(const TeamTable& table, const std::vector<TeamColumn>& columns,
              const std::vector<std::string>& histograms, const PostgresRows& rows);
  Status keep_row(const TeamTable& table, const std::vector<TeamColumn>& columns,
                  const std::vector<std::string>& histograms, const PostgresRows& rows, size_t row,
                  Statement& insert);
  Status leave_out(const std::string& id, const Error& why);
  Status keep_histograms(const std::vector<std::string>& names, const PostgresRows& rows,
                         size_t row, size_t first, int64_t number, std::string_view part);
  Result<PostgresRows> select(const TeamTable& table, const Where& where, std::string_view end,
                              std::vector<TeamColumn>& columns,
                              std::vector<std::string>& histograms);
  Status need(TeamPart part, const std::vector<std::string>& ids);
  Result<RunStore*> file_of(const std::string& run_id);

  std::string address_;
  std::shared_ptr<TeamSession> session_;
  std::vector<TeamTable> tables_;
  std::map<std::string, std::set<std::string>> there_;  // columns of the store; empty: all
  std::unique_ptr<Connection> here_;        // the rows that were fetched, as in a database file
  std::unique_ptr<RunStore> rows_;          // of here_
  std::map<std::string, int64_t> numbers_;  // of the runs that are in here_
  std::vector<Error> damaged_;              // the runs that were left out
  std::map<TeamPart, std::set<std::string>> fetched_;  // the runs with that part of them
  // The files that were fetched, the last one used first.
  struct File {
    std::string id;
    std::unique_ptr<RunStore> store;
  };
  std::list<File> files_;
  static constexpr size_t kMostFiles = 8;
};

/// Selects the columns of a table that both sides know.
Result<PostgresRows> TeamRunStore::select(const TeamTable& table, const Where& where,
                                          std::string_view end, std::vector<TeamColumn>& columns,
                                          std::vector<std::string>& histograms) {
  const auto attempt = [&]() {
    const auto found = there_.find(table.name);
    const auto has = [&](const std::string& name) {
      return there_.empty() || (found != there_.end() && found->second.contains(name));
    };
    columns.clear();
    histograms.clear();
    std::string names = "r.run";
    for (const TeamColumn& column : table.columns) {
      const std::string name = team_column_name(table, column);
      if (!has(name)) continue;
      columns.push_back(column);
      names += ", r." + quoted_name(name);
    }
    for (const std::string& name : table.histograms) {
      if (!has(name)) continue;
      histograms.push_back(name);
      names += ", r." + quoted_name(name);
    }
    const auto parameters = where.parameters();
    return store().query(fmt::format("SELECT {} FROM topspin.{} r WHERE {} {}", names,
                                     quoted_name(table.name), where.sql(), end),
                         parameters);
  };
  auto rows = attempt();
  if (!rows.ok() && store().last_state() == "42703" && there_.empty()) {  // an older store
    TOPSPIN_ASSIGN(there_, columns_in_store(store()));
    return attempt();
  }
  return rows;
}

/// Puts rows of the store into the same table here. A run whose row does not fit is left out.
Status TeamRunStore::keep(const TeamTable& table, const std::vector<TeamColumn>& columns,
                          const std::vector<std::string>& histograms, const PostgresRows& rows) {
  std::string names = table.name == "run" ? "" : "run";
  std::string parameters = table.name == "run" ? "" : "?1";
  int count = table.name == "run" ? 0 : 1;
  for (const TeamColumn& column : columns) {
    names += (names.empty() ? "" : ", ") + quoted_name(column.name);
    parameters += fmt::format("{}?{}", parameters.empty() ? "" : ", ", ++count);
  }
  TOPSPIN_ASSIGN(Transaction transaction, Transaction::begin(*here_));
  TOPSPIN_ASSIGN(Statement insert,
                 here_->prepare(fmt::format("INSERT INTO {} ({}) VALUES ({})",
                                            quoted_name(table.name), names, parameters)));
  for (size_t row = 0; row < rows.size(); ++row) {
    const Status kept = keep_row(table, columns, histograms, rows, row, insert);
    if (kept.ok()) continue;
    insert.reset();
    TOPSPIN_TRY(leave_out(std::string(rows.bytes(row, 0)), kept.error()));
  }
  return transaction.commit();
}

Status TeamRunStore::keep_row(const TeamTable& table, const std::vector<TeamColumn>& columns,
                              const std::vector<std::string>& histograms, const PostgresRows& rows,
                              size_t row, Statement& insert) {
  const bool is_run = table.name == "run";
  const std::string id(rows.bytes(row, 0));
  int parameter = 1;
  if (!is_run) {
    const auto known = numbers_.find(id);
    if (known == numbers_.end()) return {};  // left out
    insert.bind_int(parameter++, known->second);
  }
  std::string_view part;
  std::vector<std::string> texts(columns.size());
  for (size_t i = 0; i < columns.size(); ++i, ++parameter) {
    const size_t at = i + 1;
    if (columns[i].name == "part") part = rows.bytes(row, at);
    if (rows.is_null(row, at)) {
      insert.bind_null(parameter);
    } else if (columns[i].type == TeamColumn::Type::kInteger) {
      const auto value = rows.integer(row, at);
      if (!value) return make_error(ErrorCode::kInput, "a column of another type than bigint");
      if (is_run && columns[i].name == "run") numbers_[id] = *value;
      insert.bind_int(parameter, *value);
    } else if (columns[i].type == TeamColumn::Type::kText) {
      texts[i] = from_team_text(rows.bytes(row, at));
      insert.bind_text(parameter, texts[i]);
    } else {
      insert.bind_blob(parameter, rows.bytes(row, at));
    }
  }
  TOPSPIN_TRY(insert.run());
  if (histograms.empty()) return {};
  return keep_histograms(histograms, rows, row, 1 + columns.size(), numbers_[id], part);
}

/// Forgets a run that cannot be read. list_runs() tells of it.
Status TeamRunStore::leave_out(const std::string& id, const Error& why) {
  numbers_.erase(id);
  damaged_.push_back(make_error(ErrorCode::kInput, fmt::format("run {} is damaged in the store {}",
                                                               id, session_->connection->name())));
  if (why.os_errno != 0) return why;  // not the row's fault
  TOPSPIN_ASSIGN(Statement remove, here_->prepare("DELETE FROM run WHERE id = ?1"));
  remove.bind_text(1, id);
  return remove.run();
}

Status TeamRunStore::keep_histograms(const std::vector<std::string>& names,
                                     const PostgresRows& rows, size_t row, size_t first,
                                     int64_t number, std::string_view part) {
  TOPSPIN_ASSIGN(Statement insert,
                 here_->prepare("INSERT INTO total_histogram (run, part, name, data)"
                                " VALUES (?1, ?2, ?3, ?4)"));
  for (size_t i = 0; i < names.size(); ++i) {
    if (rows.is_null(row, first + i)) continue;
    insert.bind_int(1, number);
    insert.bind_text(2, part);
    insert.bind_text(3, names[i]);
    insert.bind_blob(4, rows.bytes(row, first + i));
    TOPSPIN_TRY(insert.run());
  }
  return {};
}

/// Fetches the rows of a table for these runs.
Status TeamRunStore::fetch(const TeamTable& table, const std::vector<std::string>& ids) {
  Where where(session_->project);
  restrict_to_runs(where, ids);
  std::vector<TeamColumn> columns;
  std::vector<std::string> histograms;
  TOPSPIN_ASSIGN(const PostgresRows rows, select(table, where, "", columns, histograms));
  const Status kept = keep(table, columns, histograms, rows);
  return kept.ok() ? kept : damaged_rows(fmt::format("a row of {}", table.name), kept.error());
}

/// Fetches the runs that are not here yet. Returns the ids of all that match.
Result<std::vector<std::string>> TeamRunStore::fetch_runs(const Where& where,
                                                          std::optional<uint64_t> newest) {
  std::vector<TeamColumn> columns;
  std::vector<std::string> none;
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 select(table("run"), where,
                        fmt::format("ORDER BY r.number DESC{}",
                                    newest ? fmt::format(" LIMIT {}", *newest) : ""),
                        columns, none));
  std::vector<std::string> matching, fresh;
  for (size_t row = 0; row < rows.size(); ++row) {
    std::string id(rows.bytes(row, 0));
    if (!numbers_.contains(id)) fresh.push_back(id);
    matching.push_back(std::move(id));
  }
  if (fresh.empty()) return matching;
  // Those that are known already are fetched again: replace them.
  TOPSPIN_ASSIGN(Statement remove, here_->prepare("DELETE FROM run WHERE id = ?1"));
  for (const std::string& id : matching) {
    if (!numbers_.contains(id)) continue;
    remove.bind_text(1, id);
    TOPSPIN_TRY(remove.run());
  }
  if (const Status kept = keep(table("run"), columns, {}, rows); !kept.ok())
    return damaged_rows("a run", kept.error());
  for (const std::string_view name : team_table_names(TeamPart::kIdentity))
    TOPSPIN_TRY(fetch(table(name), fresh));
  return matching;
}

Result<std::vector<StoredRun>> TeamRunStore::list_runs(const RunFilter& filter,
                                                       std::vector<Error>* damaged) {
  std::set<std::string> matching;
  const auto add = [&](const std::string* word) -> Status {
    Where where(session_->project);
    std::optional<uint64_t> newest = filter.newest;
    restrict_to(where, filter);
    if (word != nullptr) {
      if (const auto meant = newest_meant(*word))
        newest = std::min(newest.value_or(*meant), *meant);
      else
        where.also(may_mean(where, *word));
    }
    TOPSPIN_ASSIGN(const auto ids, fetch_runs(where, newest));
    matching.insert(ids.begin(), ids.end());
    return {};
  };
  if (filter.words.empty()) TOPSPIN_TRY(add(nullptr));
  for (const std::string& word : filter.words) TOPSPIN_TRY(add(&word));
  if (!damaged_.empty() && damaged == nullptr) return damaged_.front();
  if (damaged != nullptr) damaged->insert(damaged->end(), damaged_.begin(), damaged_.end());
  damaged_.clear();
  TOPSPIN_ASSIGN(auto runs, rows_->list_runs(damaged));
  std::erase_if(runs, [&](const StoredRun& run) { return !matching.contains(run.info.id); });
  return runs;
}

Result<StoredRun> TeamRunStore::find_run(std::string_view id) {
  if (!numbers_.contains(std::string(id))) {
    Where where(session_->project);
    where.also(fmt::format("r.run = {}", where.add(std::string(id))));
    TOPSPIN_ASSIGN(const auto found, fetch_runs(where, std::nullopt));
    if (found.empty()) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("the store {} has no run \"{}\" of project {}; `topspin list` "
                                    "shows its runs",
                                    store().name(), id, session_->project));
    }
  }
  return rows_->find_run(id);
}

Result<StoredRun> TeamRunStore::last_run() {
  RunFilter last;
  last.newest = 1;
  TOPSPIN_ASSIGN(auto runs, list_runs(last, nullptr));
  if (!runs.empty()) return std::move(runs.front());
  return make_error(ErrorCode::kUsage,
                    fmt::format("the store {} has no run of project {} yet; add some with "
                                "`topspin push`",
                                store().name(), session_->project));
}

Status TeamRunStore::need(TeamPart part, const std::vector<std::string>& ids) {
  std::set<std::string>& fetched = fetched_[part];
  std::vector<std::string> missing;
  for (const std::string& id : ids) {
    if (fetched.contains(id)) continue;
    if (!numbers_.contains(id)) {
      TOPSPIN_ASSIGN([[maybe_unused]] const StoredRun run, find_run(id));
    }
    missing.push_back(id);
  }
  if (missing.empty()) return {};
  // With a run's totals come its stages, which say what the totals are of.
  if (part == TeamPart::kTotals) TOPSPIN_TRY(need(TeamPart::kLoad, missing));
  for (const std::string_view name : team_table_names(part))
    TOPSPIN_TRY(fetch(table(name), missing));
  fetched.insert(missing.begin(), missing.end());
  return {};
}

Status TeamRunStore::expect(const std::vector<StoredRun>& runs) {
  std::vector<std::string> ids;
  ids.reserve(runs.size());
  for (const StoredRun& run : runs) ids.push_back(run.info.id);
  return need(TeamPart::kLoad, ids);
}

Status TeamRunStore::for_each_fold(const std::vector<StoredRun>& runs, RunPart part,
                                   std::span<const std::string_view> distributions,
                                   const std::function<void(size_t, const RunFold&)>& visit) {
  TeamTable wanted = table("total");
  std::erase_if(wanted.histograms, [&](const std::string& name) {
    return std::find(distributions.begin(), distributions.end(), name) == distributions.end();
  });
  std::vector<std::string> ids;
  std::map<std::string, size_t, std::less<>> waiting;
  for (const StoredRun& run : runs) {
    waiting.emplace(run.info.id, ids.size());
    ids.push_back(run.info.id);
  }
  Where where(session_->project);
  restrict_to_runs(where, ids);
  std::vector<TeamColumn> columns;
  std::vector<std::string> histograms;
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 select(wanted, where, "ORDER BY r.run", columns, histograms));
  const FoldLoader loader(columns, histograms);
  for (size_t row = 0; row < rows.size();) {
    const std::string_view id = rows.bytes(row, 0);
    std::map<RunPart, RunFold> found;
    for (; row < rows.size() && rows.bytes(row, 0) == id; ++row) {
      if (const Status loaded = loader.load(rows, row, *here_, found); !loaded.ok())
        return damaged_rows("a run's totals", loaded.error());
    }
    // Without a load stage every tick was measured, and only the whole is stored.
    const auto fold = found.find(found.contains(part) ? part : RunPart::kWhole);
    const auto place = waiting.find(id);
    if (fold == found.end() || place == waiting.end()) continue;
    visit(place->second, fold->second);
    waiting.erase(place);
  }
  for (const auto& [id, place] : waiting) {
    TOPSPIN_ASSIGN(const RunFold one, this->fold(id, part));
    visit(place, one);
  }
  return {};
}

Result<RunStore*> TeamRunStore::file_of(const std::string& run_id) {
  const auto known = std::find_if(files_.begin(), files_.end(),
                                  [&](const File& file) { return file.id == run_id; });
  if (known != files_.end()) {
    files_.splice(files_.begin(), files_, known);
    return files_.front().store.get();
  }
  TOPSPIN_ASSIGN(const std::string bytes, pull_run(address_, run_id));
  TOPSPIN_ASSIGN(auto opened, open_run_bytes(bytes, fmt::format("run {}", run_id)));
  files_.push_front({run_id, std::move(opened)});
  if (files_.size() > kMostFiles) files_.pop_back();
  return files_.front().store.get();
}

}  // namespace

Result<std::unique_ptr<RunStore>> open_team_runs(const std::string& address) {
  TOPSPIN_ASSIGN(auto session, team_session(address));
  TOPSPIN_TRY(check_team_schema(*session->connection));
  TOPSPIN_ASSIGN(auto tables, team_tables());
  TOPSPIN_ASSIGN(auto here,
                 new_database_in_memory(fmt::format("the store {}", session->connection->name())));
  return std::unique_ptr<RunStore>(std::make_unique<TeamRunStore>(
      address, std::move(session), std::move(tables), std::move(here)));
}

Result<std::unique_ptr<RunStore>> RunStore::open(const std::string& path) {
  return is_team_address(path) ? open_team_runs(path) : open_run_file(path);
}

}  // namespace topspin
