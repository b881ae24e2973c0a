// How a load is shared: who has which client, what moves with an epoch, and that every moment of
// the schedule is sent once or accounted for once, whatever stops, dies or comes. No I/O.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "load/engine/timetable.h"
#include "load/share/assignment.h"
#include "load/share/job_epochs.h"
#include "load/share/job_result.h"
#include "load/share/job_text.h"
#include "load/share/worker_share.h"

namespace topspin {
namespace {

constexpr int64_t kSecond = kNanosPerSecond;

std::vector<std::string> ids(size_t count) {
  std::vector<std::string> list;
  for (size_t i = 0; i < count; ++i) {
    char id[17];
    snprintf(id, sizeof id, "%016zx", i * 0x9E3779B97F4A7C15u);
    list.emplace_back(id);
  }
  return list;
}

TEST(Assignment, OwnersAreOneAndEvenAndOnlyClientsOfTheOneThatGoesMove) {
  const auto workers = ids(20);
  const Assignment all(workers);
  std::vector<std::string> fewer = workers;
  fewer.erase(fewer.begin() + 7);
  const Assignment without(fewer);
  std::map<size_t, size_t> share;
  constexpr uint32_t kClients = 100'000;
  for (uint32_t client = 0; client < kClients; ++client) {
    const size_t owner = *all.owner(client);
    ++share[owner];
    for (size_t w = 0; w < workers.size(); ++w) {
      if (client % 100 == 0) {
        EXPECT_EQ(all.owns(w, client), w == owner);
      }
    }
    const size_t now = *without.owner(client);
    if (owner != 7) {
      EXPECT_EQ(fewer[now], workers[owner]) << client;
    }
  }
  ASSERT_EQ(share.size(), workers.size());
  for (const auto& [worker, count] : share) EXPECT_NEAR(static_cast<double>(count), 5000, 400);
  EXPECT_EQ(Assignment({}).owner(3), std::nullopt);
}

TEST(WorkerShare, AClientThatStaysIsNotTouchedAndOthersMoveAtTheSecond) {
  const auto schedule = make_schedule(*parse_stages("0:1000 over 10s, hold 10s, 1000:0 over 10s"));
  const auto workers = ids(3);
  WorkerShare share(*schedule, workers[0]);
  const ScheduleChange first = share.apply({0, 0, false, {workers[0], workers[1]}});
  EXPECT_TRUE(first.cuts.empty());
  EXPECT_NEAR(static_cast<double>(first.stays.size()), 500, 80);
  EXPECT_TRUE(std::is_sorted(first.stays.begin(), first.stays.end(),
                             [](auto& a, auto& b) { return a.join_ns < b.join_ns; }));
  // A third joins: a third of the clients go, at the second or never having come.
  const ScheduleChange second = share.apply({1, 5 * kSecond, false, workers});
  EXPECT_TRUE(second.stays.empty());
  EXPECT_NEAR(static_cast<double>(second.cuts.size()), 167, 60);
  for (const StayCut& cut : second.cuts) {
    const ClientStay& stay = share.stays()[cut.stay];
    EXPECT_EQ(stay.leave_ns, cut.leave_ns);
    EXPECT_EQ(cut.leave_ns, std::max(stay.join_ns, 5 * kSecond));
  }
  // It goes again, and they come back as new stays.
  const ScheduleChange third = share.apply({2, 25 * kSecond, false, {workers[0], workers[1]}});
  EXPECT_TRUE(third.cuts.empty());
  for (const ClientStay& stay : third.stays) EXPECT_GE(stay.join_ns, 25 * kSecond);
  const ScheduleChange last = share.apply({3, 26 * kSecond, true, {}});
  EXPECT_TRUE(last.stays.empty());
  for (const ClientStay& stay : share.stays()) EXPECT_LE(stay.leave_ns, 26 * kSecond);
}

TEST(Timetable, StaysThatAreAddedAndCutHaveTheEventsOfAFixedSchedule) {
  Schedule changing;
  changing.end_ns = 100;
  const Rhythm rhythm{10, 0};
  Timetable table(changing, rhythm, false);
  EXPECT_EQ(table.next_ns(), std::nullopt);
  changing.stays = {{0, 0, 100}, {1, 5, 100}, {2, 50, 100}};
  table.stays_added(0);
  std::vector<TimetableEvent> seen;
  const auto run_to = [&](int64_t now) {
    while (const auto event = table.pop(now)) seen.push_back(*event);
  };
  run_to(29);
  changing.stays[1].leave_ns = 40;  // leaves earlier
  table.stay_cut(1);
  changing.stays[2].leave_ns = 50;  // never comes
  table.stay_cut(2);
  changing.stays.push_back({1, 40, 100});
  table.stays_added(3);
  run_to(100);
  EXPECT_EQ(table.next_ns(), std::nullopt);
  std::map<uint32_t, std::vector<int64_t>> due;
  std::map<uint32_t, std::pair<int64_t, int64_t>> there;
  for (const TimetableEvent& event : seen) {
    if (event.kind == TimetableEventKind::kDue) due[event.stay].push_back(event.time_ns);
    if (event.kind == TimetableEventKind::kJoin) there[event.stay].first = event.time_ns;
    if (event.kind == TimetableEventKind::kLeave) there[event.stay].second = event.time_ns;
  }
  EXPECT_EQ(there.size(), 3u);
  EXPECT_FALSE(there.contains(2));
  EXPECT_EQ(there[1], (std::pair<int64_t, int64_t>(5, 40)));
  EXPECT_EQ(there[3], (std::pair<int64_t, int64_t>(40, 100)));
  EXPECT_EQ(due[1].size() + due[3].size(), 10u);  // slot 1 is due once in each period
  EXPECT_EQ(due[0].size(), 10u);
}

TEST(Epochs, DeathTakesOnlyTheDeadOnesClaimAndJoiningTakesAll) {
  const auto w = ids(3);
  JobEpoch current{4, 10 * kSecond, false, {w[0], w[1]}};
  std::vector<JobMember> members = {{w[0], true, 0, 31 * kSecond}, {w[1], true, 0, 32 * kSecond}};
  EXPECT_EQ(next_epoch(current, members, 30 * kSecond), std::nullopt);
  members[1].heartbeat_age_ns = kDeadAfterNs;
  members[1].claimed_until_ns = 29 * kSecond;
  auto next = next_epoch(current, members, 30 * kSecond);
  ASSERT_TRUE(next);
  EXPECT_EQ(*next, (JobEpoch{5, 31 * kSecond, false, {w[0]}}));
  EXPECT_EQ(losers(current, *next), std::vector<std::string>{w[1]});
  members[1].claimed_until_ns = 32 * kSecond + 1;
  EXPECT_EQ(next_epoch(current, members, 30 * kSecond)->from_ns, 33 * kSecond);
  members.push_back({w[2], true, 0, 0});
  members[1] = {w[1], true, 0, 30 * kSecond};
  members[0].claimed_until_ns = 33 * kSecond;
  next = next_epoch(current, members, 30 * kSecond);
  EXPECT_EQ(next->from_ns, 33 * kSecond);
  EXPECT_EQ(losers(current, *next), current.members);
  members[0].is_ready = false;  // leaves
  EXPECT_EQ(next_epoch(current, members, 30 * kSecond)->members, (std::vector{w[2], w[1]}));
  const JobEpoch last = last_epoch(current, members, 40 * kSecond);
  EXPECT_TRUE(last.is_last && last.members.empty());
  EXPECT_EQ(last.from_ns, 41 * kSecond);
  EXPECT_EQ(next_epoch(last, members, 41 * kSecond), std::nullopt);
  const std::vector<JobEpoch> epochs = {{0, 0, false, {w[0]}}, {1, 5, false, {w[1]}}};
  EXPECT_EQ(epoch_at(epochs, 4)->number, 0u);
  EXPECT_EQ(epoch_at(epochs, 5)->number, 1u);
}

/// The store's rows, and the rule of its statements.
struct FakeRows {
  std::map<std::string, int64_t> claims;
  std::map<std::string, int64_t> heartbeats;
  std::vector<JobEpoch> epochs;

  bool put_epoch(const JobEpoch& epoch, const std::vector<std::string>& losing) {
    if (epoch.number != epochs.size()) return false;
    for (const std::string& id : losing) {
      if (claims[id] > epoch.from_ns) return false;
    }
    epochs.push_back(epoch);
    return true;
  }
};

/// A worker that sends what its share asks for, up to its horizon, and reports once per second.
struct FakeWorker {
  FakeWorker(const Schedule& schedule, std::string name)
      : id(std::move(name)), share(schedule, id) {}
  std::string id;
  WorkerShare share;
  bool is_ready = true;
  int64_t paused_until_ns = 0;
  int64_t dies_ns = INT64_MAX;
  int64_t next_claim_ns = 0;
  int64_t claimed_ns = -1;  // claimed and not read yet
  int64_t horizon_ns = 0;
  int64_t done_ns = 0;  // everything before it was sent
  size_t epochs_known = 0;
  int64_t next_report_ns = 0;
  LoadReport unreported, reported;
};

class SharedLoad {
 public:
  SharedLoad(const std::string& stages, uint32_t seed)
      : random_(seed), schedule_(*make_schedule(*parse_stages(stages))) {
    options_.stages = schedule_.stages;
    rhythm_ = rhythm_of(options_);
  }

  FakeWorker& add(int64_t now_ns) {
    char id[17];
    snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(random_()));
    auto worker = std::make_unique<FakeWorker>(schedule_, id);
    worker->next_claim_ns = now_ns;
    worker->next_report_ns = now_ns + kSecond;
    worker->done_ns = 0;
    rows_.heartbeats[id] = now_ns;
    workers_.push_back(std::move(worker));
    return *workers_.back();
  }

  void send(FakeWorker& worker, int64_t now_ns) {
    if (worker.share.stays().empty()) return;
    const int64_t until_ns = std::min({now_ns + 1, worker.horizon_ns, schedule_.end_ns});
    for (const ClientStay& stay : worker.share.stays()) {
      const int64_t phase = client_phase_ns(stay.slot, rhythm_);
      const int64_t from_ns = std::max(stay.join_ns, worker.done_ns);
      for (int64_t due = first_due_ns(phase, rhythm_.period_ns, from_ns);
           due < std::min(stay.leave_ns, until_ns); due += rhythm_.period_ns) {
        const bool is_sent = now_ns - due <= rhythm_.period_ns;
        if (is_sent) ++sent_[{stay.slot, due}];
        LoadPart part;
        part.accounts.scheduled = 1;
        (is_sent ? part.accounts.sent : part.accounts.never_scheduled) = 1;
        part.accounts.replied = is_sent ? 1 : 0;
        size_t stage = 0;
        while (schedule_.stage_end_ns(stage) <= due) ++stage;
        LoadReport one;
        one.stages = {{static_cast<uint32_t>(stage), part}};
        one.until_ns = worker.unreported.until_ns;
        worker.unreported.merge(one);
      }
    }
    if (until_ns > worker.done_ns) worker.done_ns = until_ns;
    worker.unreported.until_ns = worker.done_ns;
  }

  void step(FakeWorker& worker, int64_t now_ns) {
    if (now_ns >= worker.dies_ns || now_ns < worker.paused_until_ns) return;
    // The claim and the reading after it are two round trips: anything may come between.
    if (worker.claimed_ns >= 0) {
      while (worker.epochs_known < rows_.epochs.size())
        (void)worker.share.apply(rows_.epochs[worker.epochs_known++]);
      worker.horizon_ns = std::max(worker.horizon_ns, worker.claimed_ns);
      worker.claimed_ns = -1;
    } else if (now_ns >= worker.next_claim_ns && !is_away(now_ns)) {
      worker.claimed_ns = now_ns + kClaimAheadNs;
      rows_.claims[worker.id] = std::max(rows_.claims[worker.id], worker.claimed_ns);
      rows_.heartbeats[worker.id] = now_ns;
      worker.next_claim_ns = now_ns + kClaimEveryNs;
    }
    send(worker, now_ns);
    if (now_ns >= worker.next_report_ns && !is_away(now_ns)) {
      worker.reported.merge(std::exchange(worker.unreported, {}));
      worker.unreported.until_ns = worker.done_ns;
      worker.next_report_ns = now_ns + kSecond;
    }
  }

  void coordinate(int64_t now_ns) {
    if (is_away(now_ns)) return;
    std::vector<JobMember> members;
    for (const auto& worker : workers_) {
      members.push_back({worker->id, worker->is_ready, now_ns - rows_.heartbeats[worker->id],
                         rows_.claims[worker->id]});
    }
    if (rows_.epochs.empty()) {
      JobEpoch first;
      for (const auto& member : members) first.members.push_back(member.id);
      rows_.epochs.push_back(first);
      return;
    }
    if (wish_ && random_() % 20 == 0) {  // it was decided a while ago, and claims have grown
      const JobEpoch wish = *std::exchange(wish_, std::nullopt);
      (void)rows_.put_epoch(wish, losers(rows_.epochs.back(), wish));
      return;
    }
    if (!wish_) wish_ = next_epoch(rows_.epochs.back(), members, now_ns);
    if (wish_ && wish_->number != rows_.epochs.size()) wish_.reset();
  }

  bool is_away(int64_t now_ns) const { return now_ns >= away_from_ns_ && now_ns < away_to_ns_; }

  LoadResult result() {
    std::vector<JobWorker> parts;
    for (auto& worker : workers_) {
      JobWorker& part = parts.emplace_back();
      part.about.id = worker->id;
      part.claimed_until_ns = rows_.claims[worker->id];
      part.report = worker->reported;
      const bool is_dead = worker->dies_ns < INT64_MAX;
      if (is_dead) {
        part.about.end = WorkerEnd::kDied;
        continue;
      }
      part.report.merge(worker->unreported);
      part.report.is_last = true;
      for (const ClientStay& stay : worker->share.stays()) {
        part.report.planned += count_due(client_phase_ns(stay.slot, rhythm_), rhythm_.period_ns,
                                         stay.join_ns, stay.leave_ns);
      }
    }
    return join_job(options_, schedule_, rows_.epochs, std::move(parts));
  }

  std::mt19937_64 random_;
  Schedule schedule_;
  LoadOptions options_;
  Rhythm rhythm_;
  FakeRows rows_;
  std::optional<JobEpoch> wish_;
  std::vector<std::unique_ptr<FakeWorker>> workers_;
  std::map<std::pair<uint32_t, int64_t>, int> sent_;
  int64_t away_from_ns_ = INT64_MAX, away_to_ns_ = INT64_MAX;
};

void check_exactly_once(SharedLoad& load) {
  const LoadResult whole = load.result();
  size_t twice = 0;
  for (const auto& [moment, times] : load.sent_) twice += times > 1;
  EXPECT_EQ(twice, 0u);
  const LoadAccounts& a = whole.total.accounts;
  EXPECT_EQ(a.scheduled, whole.planned);
  EXPECT_EQ(whole.planned, count_planned(load.schedule_, load.rhythm_, load.schedule_.end_ns));
  EXPECT_EQ(a.scheduled, a.sent + a.send_errors + a.never_scheduled);
  uint64_t perhaps = 0;
  for (const WorkerPart& worker : whole.workers) perhaps += worker.perhaps_sent;
  // What was sent is what was said, and at most what the dead may not have said.
  EXPECT_LE(a.sent, load.sent_.size());
  EXPECT_LE(load.sent_.size(), a.sent + perhaps);
  for (const std::string& reason : whole.invalid_reasons)
    EXPECT_EQ(reason.find("do not balance"), std::string::npos) << reason;
}

TEST(SharedLoad, ThousandWorkersComeGoDieAndStopAndEveryMomentIsSentOnceOrAccountedForOnce) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    SharedLoad load(seed == 1 ? "0:300 over 5s, hold 20s, 300:0 over 5s"
                              : "0:150 over 5s, hold 20s, 150:0 over 5s",
                    seed);
    const size_t most = seed == 1 ? 1000 : 200;
    for (size_t i = 0; i < most / 5; ++i) load.add(0);
    constexpr int64_t kStep = 50 * kNanosPerMilli;
    for (int64_t now = 0; now <= load.schedule_.end_ns + 12 * kSecond; now += kStep) {
      if (now < 25 * kSecond && load.workers_.size() < most) {
        for (int i = 0; i < 2; ++i) load.add(now);
      }
      for (int i = 0; i < 2; ++i) {
        FakeWorker& any = *load.workers_[load.random_() % load.workers_.size()];
        switch (load.random_() % 4) {
          case 0: any.dies_ns = std::min(any.dies_ns, now); break;
          case 1:
            any.paused_until_ns = now + static_cast<int64_t>(load.random_() % 6) * kSecond;
            break;
          case 2: any.is_ready = load.random_() % 2 == 0; break;
          default: break;
        }
        if (now > 28 * kSecond) break;
      }
      if (seed == 3 && now == 12 * kSecond) {
        load.away_from_ns_ = now;
        load.away_to_ns_ = now + 4 * kSecond;
      }
      load.coordinate(now);
      for (auto& worker : load.workers_) {
        if (now > 28 * kSecond && worker->paused_until_ns > 32 * kSecond)
          worker->paused_until_ns = 32 * kSecond;
        load.step(*worker, now);
      }
    }
    EXPECT_GE(load.workers_.size(), most);
    EXPECT_GT(load.rows_.epochs.size(), 5u);
    check_exactly_once(load);
  }
}

TEST(SharedLoad, AWorkerThatStoppedForFiveSecondsSendsNothingOfWhatHasANewOwner) {
  SharedLoad load("100:100 over 20s", 7);
  for (int i = 0; i < 3; ++i) load.add(0);
  load.workers_[1]->paused_until_ns = -1;
  for (int64_t now = 0; now <= 30 * kSecond; now += 20 * kNanosPerMilli) {
    if (now == 5 * kSecond) load.workers_[1]->paused_until_ns = now + 5 * kSecond;
    load.coordinate(now);
    for (auto& worker : load.workers_) load.step(*worker, now);
  }
  EXPECT_EQ(load.rows_.epochs.size(), 3u) << "it went, and came back";
  check_exactly_once(load);
  const LoadResult whole = load.result();
  // From its last claim on, others have its clients.
  EXPECT_LT(whole.total.accounts.never_scheduled, 100u / 3 * 4);
  EXPECT_GT(whole.total.accounts.never_scheduled, 0u);
}

TEST(SharedLoad, TheDeadOnesAccountIsClosed) {
  LoadOptions options;
  options.stages = *parse_stages("10:10 over 10s");
  const Schedule schedule = *make_schedule(options.stages);
  const auto w = ids(1);
  const std::vector<JobEpoch> epochs = {{0, 0, false, w}, {1, 8 * kSecond, false, {}}};
  JobWorker dead;
  dead.about.id = w[0];
  dead.about.host = "h";
  dead.about.end = WorkerEnd::kDied;
  dead.claimed_until_ns = 6 * kSecond;
  dead.report.until_ns = 5 * kSecond;
  LoadPart part;
  part.accounts.scheduled = part.accounts.sent = 50;
  part.accounts.replied = 45;
  dead.report.stages = {{0, part}};
  dead.report.tcp.emplace();
  const LoadResult whole = join_job(options, schedule, epochs, {dead});
  const LoadAccounts& a = whole.total.accounts;
  EXPECT_EQ(whole.planned, 100u);
  EXPECT_EQ(a.scheduled, 100u);
  EXPECT_EQ(a.sent, 50u);
  EXPECT_EQ(a.lost, 5u);
  EXPECT_EQ(whole.tcp->lost(), 5u);
  EXPECT_EQ(a.never_scheduled, 50u);
  EXPECT_EQ(whole.workers[0].orphaned, 30u);
  EXPECT_EQ(whole.workers[0].perhaps_sent, 10u);
  EXPECT_EQ(whole.never_scheduled_reasons.at("there was no worker"), 20u);
  EXPECT_EQ(whole.never_scheduled_reasons.at("a worker had died or failed"), 30u);
  EXPECT_FALSE(whole.valid());
  for (const std::string& reason : whole.invalid_reasons)
    EXPECT_EQ(reason.find("do not balance"), std::string::npos) << reason;
}

TEST(JobText, WhatWasWrittenIsReadAndAnythingElseIsRefused) {
  JobDescription job{"udp-pingpong", "127.0.0.1:9", {{"clients", "10"}, {"hold", "3s"}}};
  const std::string bytes = encode_job(job);
  const auto read = decode_job(bytes);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->options, job.options);
  EXPECT_EQ(job_options(*read)->target, "127.0.0.1:9");
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_job(std::string_view(bytes).substr(0, size)).ok()) << size;
  job.workload = "udp-flood";
  EXPECT_FALSE(job_options(job).ok());
  job.workload = "sh";
  EXPECT_FALSE(job_options(job).ok());
  job.workload = "http";
  job.options["exec"] = "x";
  EXPECT_FALSE(job_options(job).ok());

  LoadReport report;
  report.until_ns = 7;
  report.clients = 3;
  report.is_last = true;
  LoadPart part;
  part.accounts.sent = 4;
  part.latency_intended.record_n(1000, 4);
  report.stages = {{2, part}};
  report.tcp.emplace().connected = 5;
  report.http.emplace().statuses[200] = 6;
  report.errors["EMFILE"] = 1;
  report.own.host_busy_ns = 0;
  report.planned = 9;
  report.invalid_reasons = {"slow"};
  const std::string text = encode_report(report);
  const auto again = decode_report(text);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(encode_report(*again), text);
  EXPECT_EQ(again->own.host_busy_ns, 0);
  EXPECT_EQ(again->own.host_steal_ns, std::nullopt);
  for (size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(decode_report(std::string_view(text).substr(0, size)).ok()) << size;
  EXPECT_FALSE(decode_report(text + "x").ok());
}

}  // namespace
}  // namespace topspin
