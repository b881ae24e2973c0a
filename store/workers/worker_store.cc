#include "store/worker_store.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "store/team/session.h"
#include "store/team/team_text.h"
#include "store/team_address.h"
#include "store/workers/worker_schema.h"

namespace topspin {
namespace {

constexpr std::array<std::string_view, 5> kMemberStates = {"invited", "ready", "leaving", "ended",
                                                           "failed"};

std::string_view state_name(MemberState state) { return kMemberStates[static_cast<size_t>(state)]; }

std::optional<MemberState> parse_state(std::string_view name) {
  for (size_t i = 0; i < kMemberStates.size(); ++i)
    if (kMemberStates[i] == name) return static_cast<MemberState>(i);
  return std::nullopt;
}

std::string lines_of(const std::map<std::string, std::string>& labels) {
  std::string lines;
  for (const auto& [key, value] : labels) lines += fmt::format("{}={}\n", key, value);
  return lines;
}

std::map<std::string, std::string> labels_of(std::string_view lines) {
  std::map<std::string, std::string> labels;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos)
      labels.emplace(line.substr(0, equals), line.substr(equals + 1));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
  }
  return labels;
}

std::string with_spaces(const std::vector<std::string>& ids) {
  std::string text;
  for (const std::string& id : ids) text += id + " ";
  return text;
}

std::vector<std::string> ids_of(std::string_view text) {
  std::vector<std::string> ids;
  while (!text.empty()) {
    const std::string_view id = text.substr(0, text.find(' '));
    if (!id.empty()) ids.emplace_back(id);
    text.remove_prefix(std::min(text.size(), id.size() + 1));
  }
  return ids;
}

Error damaged_rows(const std::string& name) {
  return make_error(ErrorCode::kInput,
                    fmt::format("the tables for workers in {} are damaged", name));
}

Result<EpochRow> epoch_of(const PostgresRows& rows, size_t row, size_t column,
                          const std::string& name) {
  const auto number = rows.integer(row, column), from_ns = rows.integer(row, column + 1),
             is_last = rows.integer(row, column + 2);
  if (!number || *number < 0 || !from_ns || *from_ns < 0 || !is_last) return damaged_rows(name);
  return EpochRow{static_cast<uint64_t>(*number), *from_ns, *is_last != 0,
                  ids_of(rows.bytes(row, column + 3))};
}

}  // namespace

WorkerStore::WorkerStore(std::string url, std::string project)
    : url_(std::move(url)), project_(std::move(project)), name_(address_without_secrets(url_)) {}
WorkerStore::~WorkerStore() = default;

Result<std::unique_ptr<WorkerStore>> WorkerStore::open(const std::string& address) {
  TOPSPIN_ASSIGN(TeamAddress parsed, parse_team_address(address));
  std::unique_ptr<WorkerStore> store(
      new WorkerStore(std::move(parsed.url), std::move(parsed.project)));
  store->name_ = address_without_secrets(address);
  TOPSPIN_TRY(store->connect_again());
  TOPSPIN_TRY(check_worker_tables(*store->connection_));
  return store;
}

Status WorkerStore::connect_again() {
  connection_.reset();
  TOPSPIN_ASSIGN(connection_, PostgresConnection::connect(url_, true));
  return {};
}

Result<PostgresRows> WorkerStore::ask(const std::string& sql,
                                      const std::vector<std::string>& texts) {
  if (!connection_) {
    return make_error(ErrorCode::kOutput, fmt::format("the store {} is away", name_));
  }
  std::vector<PostgresParameter> parameters = {{project_}};
  for (const std::string& text : texts) parameters.push_back({text});
  return connection_->query(sql, parameters);
}

Status WorkerStore::tell(const std::string& sql, const std::vector<std::string>& texts) {
  TOPSPIN_ASSIGN([[maybe_unused]] const PostgresRows rows, ask(sql, texts));
  return {};
}

Result<int64_t> WorkerStore::clock() {
  if (!connection_)
    return make_error(ErrorCode::kOutput, fmt::format("the store {} is away", name_));
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 connection_->query(fmt::format("SELECT {}", kServerClock)));
  const auto now = rows.size() == 1 ? rows.integer(0, 0) : std::nullopt;
  if (!now) return damaged_rows(name_);
  return *now;
}

Status WorkerStore::register_worker(const WorkerCard& card) {
  return tell(
      fmt::format("INSERT INTO topspin_workers.worker (project, worker, host, labels, addresses,"
                  " allowed, version, cores, descriptors, clock_offset_ns, clock_error_ns,"
                  " heartbeat_ns) VALUES ($1, $2, $3, $4, $5, $6, $7, $8::bigint, $9::bigint,"
                  " $10::bigint, $11::bigint, {}) ON CONFLICT (project, worker) DO NOTHING",
                  kServerClock),
      {card.id, to_team_text(card.host), to_team_text(lines_of(card.labels)), card.addresses,
       card.allowed, card.version, std::to_string(card.cores), std::to_string(card.descriptors),
       std::to_string(card.clock_offset_ns), std::to_string(card.clock_error_ns)});
}

Result<bool> WorkerStore::heartbeat(const std::string& worker) {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 ask(fmt::format("UPDATE topspin_workers.worker SET heartbeat_ns = {}"
                                 " WHERE project = $1 AND worker = $2",
                                 kServerClock),
                     {worker}));
  return rows.affected() == 1;
}

Status WorkerStore::remove_worker(const std::string& worker) {
  return tell("DELETE FROM topspin_workers.worker WHERE project = $1 AND worker = $2", {worker});
}

Result<std::optional<std::pair<std::string, std::string>>> WorkerStore::invitation(
    const std::string& worker) {
  using Invitation = std::optional<std::pair<std::string, std::string>>;
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 ask("SELECT m.job, j.description FROM topspin_workers.member m JOIN"
                     " topspin_workers.job j ON j.project = m.project AND j.job = m.job"
                     " WHERE m.project = $1 AND m.worker = $2 AND m.state = 'invited'"
                     " AND j.ended_ns IS NULL ORDER BY m.invited_ns, m.job LIMIT 1",
                     {worker}));
  if (rows.size() == 0) return Invitation();
  return Invitation({std::string(rows.bytes(0, 0)), std::string(rows.bytes(0, 1))});
}

Status WorkerStore::set_state(const std::string& job, const std::string& worker, MemberState state,
                              const std::string& why) {
  return tell(fmt::format("UPDATE topspin_workers.member SET state = $4, why = $5,"
                          " heartbeat_ns = {} WHERE project = $1 AND job = $2 AND worker = $3",
                          kServerClock),
              {job, worker, std::string(state_name(state)), to_team_text(why)});
}

Status WorkerStore::claim(const std::string& job, const std::string& worker, int64_t until_ns) {
  return tell(fmt::format("UPDATE topspin_workers.member SET claimed_until_ns ="
                          " GREATEST(claimed_until_ns, $4::bigint), heartbeat_ns = {}"
                          " WHERE project = $1 AND job = $2 AND worker = $3",
                          kServerClock),
              {job, worker, std::to_string(until_ns)});
}

Result<JobView> WorkerStore::view(const std::string& job, uint64_t known) {
  TOPSPIN_ASSIGN(
      const PostgresRows rows,
      ask(fmt::format("SELECT j.start_ns, {} - j.coordinator_ns, j.ended_ns, e.epoch, e.from_ns,"
                      " e.is_last, e.members FROM topspin_workers.job j LEFT JOIN"
                      " topspin_workers.epoch e ON e.project = j.project AND e.job = j.job AND"
                      " e.epoch >= $3::bigint WHERE j.project = $1 AND j.job = $2 ORDER BY e.epoch",
                      kServerClock),
          {job, std::to_string(known)}));
  JobView view;
  if (rows.size() == 0) {  // its coordinator has tidied up
    view.is_over = true;
    return view;
  }
  view.start_ns = rows.integer(0, 0);
  view.coordinator_age_ns = rows.integer(0, 1).value_or(0);
  view.is_over = !rows.is_null(0, 2);
  for (size_t row = 0; row < rows.size(); ++row) {
    if (rows.is_null(row, 3)) continue;
    TOPSPIN_ASSIGN(view.epochs.emplace_back(), epoch_of(rows, row, 3, name_));
  }
  return view;
}

Status WorkerStore::put_report(const std::string& job, const ReportRow& report) {
  if (!connection_)
    return make_error(ErrorCode::kOutput, fmt::format("the store {} is away", name_));
  const std::string second = std::to_string(report.second);
  std::vector<PostgresParameter> parameters = {{project_}, {job}, {second}, {report.worker}};
  parameters.push_back({report.bytes, true});
  TOPSPIN_ASSIGN(
      [[maybe_unused]] const PostgresRows rows,
      connection_->query("INSERT INTO topspin_workers.report (project, job, second, worker, data)"
                         " VALUES ($1, $2, $3::bigint, $4, $5)"
                         " ON CONFLICT (project, job, second, worker) DO NOTHING",
                         parameters));
  return {};
}

Status WorkerStore::create_job(const std::string& job, const std::string& description) {
  if (!connection_)
    return make_error(ErrorCode::kOutput, fmt::format("the store {} is away", name_));
  const PostgresParameter bytes{description, true};
  const std::vector<PostgresParameter> parameters = {{project_}, {job}, bytes};
  TOPSPIN_ASSIGN(
      [[maybe_unused]] const PostgresRows rows,
      connection_->query(fmt::format("INSERT INTO topspin_workers.job (project, job, description,"
                                     " created_ns, coordinator_ns) VALUES ($1, $2, $3, {0}, {0})",
                                     kServerClock),
                         parameters));
  return {};
}

// These read whole tables of a project and join them here: the tables change so fast that a planner
// has no statistics of them, and would read one for each row of the other.
Status WorkerStore::invite(const std::string& job, const std::map<std::string, std::string>& labels,
                           int64_t alive_ns) {
  TOPSPIN_ASSIGN(const PostgresRows workers,
                 ask(fmt::format("SELECT worker, labels FROM topspin_workers.worker WHERE"
                                 " project = $1 AND {} - heartbeat_ns < $2::bigint",
                                 kServerClock),
                     {std::to_string(alive_ns)}));
  TOPSPIN_ASSIGN(
      const PostgresRows jobs,
      ask(fmt::format("SELECT job FROM topspin_workers.job WHERE project = $1 AND job <> $2"
                      " AND ended_ns IS NULL AND {} - coordinator_ns < $3::bigint",
                      kServerClock),
          {job, std::to_string(alive_ns)}));
  std::set<std::string, std::less<>> busy;
  const auto add_members = [&](const std::string& of, bool only_active) -> Status {
    TOPSPIN_ASSIGN(const PostgresRows rows,
                   ask("SELECT worker, state FROM topspin_workers.member WHERE project = $1 AND"
                       " job = $2",
                       {of}));
    for (size_t row = 0; row < rows.size(); ++row) {
      const auto state = parse_state(rows.bytes(row, 1));
      const bool is_active = state != MemberState::kEnded && state != MemberState::kFailed;
      if (is_active || !only_active) busy.emplace(rows.bytes(row, 0));
    }
    return {};
  };
  TOPSPIN_TRY(add_members(job, false));
  for (size_t row = 0; row < jobs.size(); ++row)
    TOPSPIN_TRY(add_members(std::string(jobs.bytes(row, 0)), true));
  for (size_t row = 0; row < workers.size(); ++row) {
    if (busy.contains(workers.bytes(row, 0))) continue;
    const auto has = labels_of(from_team_text(workers.bytes(row, 1)));
    const bool fits = std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
      const auto found = has.find(label.first);
      return found != has.end() && found->second == label.second;
    });
    if (!fits) continue;
    TOPSPIN_TRY(tell(
        fmt::format("INSERT INTO topspin_workers.member (project, job, worker, state, why,"
                    " invited_ns, heartbeat_ns, claimed_until_ns) VALUES ($1, $2, $3, 'invited',"
                    " '', {0}, {0}, 0) ON CONFLICT (project, job, worker) DO NOTHING",
                    kServerClock),
        {job, std::string(workers.bytes(row, 0))}));
  }
  return {};
}

Result<std::vector<MemberRow>> WorkerStore::members(const std::string& job) {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 ask(fmt::format("SELECT worker, state, why, {} - heartbeat_ns, claimed_until_ns"
                                 " FROM topspin_workers.member WHERE project = $1 AND job = $2",
                                 kServerClock),
                     {job}));
  std::vector<MemberRow> members;
  for (size_t row = 0; row < rows.size(); ++row) {
    MemberRow& member = members.emplace_back();
    const auto state = parse_state(rows.bytes(row, 1));
    const auto age = rows.integer(row, 3), claimed = rows.integer(row, 4);
    if (!state || !age || !claimed || *claimed < 0) return damaged_rows(name_);
    member.worker = rows.bytes(row, 0);
    member.state = *state;
    member.why = from_team_text(rows.bytes(row, 2));
    member.heartbeat_age_ns = *age;
    member.claimed_until_ns = *claimed;
  }
  return members;
}

Result<std::map<std::string, WorkerCard>> WorkerStore::cards() {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 ask("SELECT worker, host, labels, addresses, allowed, version, cores, descriptors,"
                     " clock_offset_ns, clock_error_ns FROM topspin_workers.worker"
                     " WHERE project = $1",
                     {}));
  std::map<std::string, WorkerCard> cards;
  for (size_t row = 0; row < rows.size(); ++row) {
    WorkerCard card;
    card.id = rows.bytes(row, 0);
    card.host = from_team_text(rows.bytes(row, 1));
    card.labels = labels_of(from_team_text(rows.bytes(row, 2)));
    card.addresses = rows.bytes(row, 3);
    card.allowed = rows.bytes(row, 4);
    card.version = rows.bytes(row, 5);
    card.cores = rows.integer(row, 6).value_or(0);
    card.descriptors = rows.integer(row, 7).value_or(0);
    card.clock_offset_ns = rows.integer(row, 8).value_or(0);
    card.clock_error_ns = rows.integer(row, 9).value_or(0);
    cards.emplace(card.id, std::move(card));
  }
  return cards;
}

Status WorkerStore::begin(const std::string& job, int64_t start_ns, const EpochRow& first) {
  if (!connection_)
    return make_error(ErrorCode::kOutput, fmt::format("the store {} is away", name_));
  TOPSPIN_ASSIGN(PostgresTransaction transaction, PostgresTransaction::begin(*connection_));
  TOPSPIN_TRY(
      tell("INSERT INTO topspin_workers.epoch (project, job, epoch, from_ns, is_last,"
           " members) VALUES ($1, $2, $3::bigint, $4::bigint, 0, $5)",
           {job, std::to_string(first.number), std::to_string(first.from_ns),
            with_spaces(first.members)}));
  TOPSPIN_TRY(
      tell("UPDATE topspin_workers.job SET start_ns = $3::bigint WHERE project = $1 AND"
           " job = $2",
           {job, std::to_string(start_ns)}));
  return transaction.commit();
}

Result<bool> WorkerStore::put_epoch(const std::string& job, const EpochRow& epoch,
                                    const std::vector<std::string>& losers) {
  // The lock makes a claim wait that is made at the same time, and its worker then reads this epoch
  // after it; or it makes this statement wait, which then sees the claim.
  TOPSPIN_ASSIGN(
      const PostgresRows rows,
      ask("WITH claimed AS (SELECT worker, claimed_until_ns FROM topspin_workers.member WHERE"
          " project = $1 AND job = $2 FOR UPDATE) INSERT INTO topspin_workers.epoch (project, job,"
          " epoch, from_ns, is_last, members) SELECT $1, $2, $3::bigint, $4::bigint, $5::bigint,"
          " $6 WHERE (SELECT count(*) FROM claimed WHERE claimed_until_ns > $4::bigint AND"
          " position(worker || ' ' IN $7) > 0) = 0 ON CONFLICT (project, job, epoch) DO NOTHING",
          {job, std::to_string(epoch.number), std::to_string(epoch.from_ns),
           std::to_string(epoch.is_last ? 1 : 0), with_spaces(epoch.members),
           with_spaces(losers)}));
  return rows.affected() == 1;
}

Result<std::vector<EpochRow>> WorkerStore::epochs(const std::string& job) {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 ask("SELECT epoch, from_ns, is_last, members FROM topspin_workers.epoch WHERE"
                     " project = $1 AND job = $2 ORDER BY epoch",
                     {job}));
  std::vector<EpochRow> epochs;
  for (size_t row = 0; row < rows.size(); ++row) {
    TOPSPIN_ASSIGN(epochs.emplace_back(), epoch_of(rows, row, 0, name_));
  }
  return epochs;
}

Result<std::vector<ReportRow>> WorkerStore::reports(const std::string& job, int64_t from_second) {
  TOPSPIN_ASSIGN(const PostgresRows rows,
                 ask("SELECT second, worker, data FROM topspin_workers.report WHERE project = $1"
                     " AND job = $2 AND second >= $3::bigint ORDER BY second, worker",
                     {job, std::to_string(from_second)}));
  std::vector<ReportRow> reports;
  for (size_t row = 0; row < rows.size(); ++row) {
    const auto second = rows.integer(row, 0);
    if (!second || *second < 0) return damaged_rows(name_);
    reports.push_back({std::string(rows.bytes(row, 1)), *second, std::string(rows.bytes(row, 2))});
  }
  return reports;
}

Status WorkerStore::coordinator_alive(const std::string& job) {
  return tell(fmt::format("UPDATE topspin_workers.job SET coordinator_ns = {} WHERE project = $1"
                          " AND job = $2",
                          kServerClock),
              {job});
}

Status WorkerStore::end_job(const std::string& job) {
  return tell(fmt::format("UPDATE topspin_workers.job SET ended_ns = {} WHERE project = $1 AND"
                          " job = $2",
                          kServerClock),
              {job});
}

Status WorkerStore::remove_old(int64_t older_than_ns) {
  const std::string age = std::to_string(older_than_ns);
  for (const char* table : {"report", "epoch", "member", "job"}) {
    TOPSPIN_TRY(
        tell(fmt::format("DELETE FROM topspin_workers.{1} WHERE project = $1 AND job IN (SELECT job"
                         " FROM topspin_workers.job WHERE project = $1 AND {0} - COALESCE(ended_ns,"
                         " coordinator_ns) > $2::bigint)",
                         kServerClock, table),
             {age}));
  }
  return tell(fmt::format("DELETE FROM topspin_workers.worker WHERE project = $1 AND"
                          " {} - heartbeat_ns > $2::bigint",
                          kServerClock),
              {age});
}

Result<std::optional<std::string>> make_worker_store(const std::string& address) {
  TOPSPIN_ASSIGN(const auto session, team_session(address));
  TOPSPIN_ASSIGN(std::string refused, init_worker_tables(*session->connection));
  return refused.empty() ? std::optional<std::string>() : std::optional(std::move(refused));
}

std::string worker_store_sql() {
  std::string text;
  for (const std::string& statement : worker_table_statements()) text += statement + ";\n";
  return text;
}

}  // namespace topspin
