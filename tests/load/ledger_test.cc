// Compares the ledger with a simple model, and checks the equations of the accounts. No clock, no
// socket.
#include "load/engine/ledger.h"

#include <algorithm>
#include <functional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace topspin {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kMs = kNanosPerMilli;

Schedule two_stages(uint32_t clients) {
  auto schedule = make_schedule({{"first", clients, clients, kNanosPerSecond},
                                 {"second", clients, clients, 100 * kNanosPerSecond}});
  EXPECT_TRUE(schedule.ok());
  return *schedule;
}

LedgerSettings settings_with_timeout(int64_t timeout_ns) {
  LedgerSettings settings;
  settings.timeout_ns = timeout_ns;
  return settings;
}

void expire(Ledger& ledger, int64_t now_ns) {
  ledger.expire(now_ns, [](uint32_t, uint64_t) {});
}

TEST(Ledger, AReplyCountsInTheStageThatItsPingWasDueIn) {
  const Schedule schedule = two_stages(1);
  Ledger ledger(schedule, settings_with_timeout(kNanosPerSecond));
  const uint64_t a = ledger.sent(0, 990 * kMs, 995 * kMs);
  EXPECT_EQ(ledger.reply(0, a, 995 * kMs, 1200 * kMs), Match::kReply);
  EXPECT_EQ(ledger.parts()[0].accounts.replied, 1u);
  EXPECT_EQ(ledger.parts()[0].latency_intended.max(), 210 * kMs);
  EXPECT_EQ(ledger.parts()[0].latency_actual.max(), 205 * kMs);
  EXPECT_EQ(ledger.parts()[0].own_lateness.max(), 5 * kMs);
  EXPECT_EQ(ledger.parts()[1].accounts, LoadAccounts{});
}

/// A turn of a script may fail after its timeout, and the next one follows.
TEST(Ledger, AMessageThatIsGivenUpAfterItWasParkedIsForgotten) {
  const Schedule schedule = two_stages(1);
  LedgerSettings settings = settings_with_timeout(kNanosPerSecond);
  settings.closed_loop = true;
  settings.late_window_ns = 0;
  Ledger ledger(schedule, settings);
  for (int64_t turn = 0; turn < 3; ++turn) {
    const int64_t begun_ns = turn * 10 * kNanosPerSecond;
    const uint64_t number = ledger.sent(0, begun_ns, begun_ns);
    expire(ledger, begun_ns + 2 * kNanosPerSecond);
    ledger.lose(number);
    EXPECT_FALSE(ledger.is_of(0, number));
  }
  const uint64_t last = ledger.sent(0, 40 * kNanosPerSecond, 40 * kNanosPerSecond);
  EXPECT_EQ(ledger.reply(0, last, 40 * kNanosPerSecond, 40 * kNanosPerSecond + 1), Match::kReply);
  expire(ledger, 50 * kNanosPerSecond);
  ledger.close(0);
  const LoadAccounts a = ledger.total_accounts();
  EXPECT_EQ(a.sent, 4u);
  EXPECT_EQ(a.lost, 3u);
  EXPECT_EQ(a.replied, 1u);
  EXPECT_EQ(a.dead_clients, 0u);
}

TEST(Ledger, WhatTheClientsOwnEarlierMessageHeldUpIsNotTheGeneratorsLateness) {
  const Schedule schedule = two_stages(1);
  Ledger ledger(schedule, settings_with_timeout(kNanosPerSecond));
  ledger.sent(0, 100 * kMs, 303 * kMs, 300 * kMs);  // blocked for 200 ms, so only 3 ms late
  ledger.sent(0, 400 * kMs, 404 * kMs, 350 * kMs);  // free before it was due: 4 ms late
  EXPECT_EQ(ledger.parts()[0].own_lateness.min(), 3 * kMs);
  EXPECT_EQ(ledger.parts()[0].own_lateness.max(), 4 * kMs);
  EXPECT_EQ(ledger.total_accounts().sent_late, 0u);
  ledger.close(0);
  // The latency from the intended moment includes the time for which the message was blocked.
  EXPECT_EQ(ledger.parts()[0].latency_intended.max(), kNanosPerSecond + 203 * kMs);
  ledger.sent(0, 500 * kMs, 615 * kMs, 600 * kMs);  // the generator is 15 ms late
  EXPECT_EQ(ledger.total_accounts().sent_late, 1u);
}

TEST(Ledger, LateDuplicateAndForeignRepliesAreToldApart) {
  const Schedule schedule = two_stages(2);
  Ledger ledger(schedule, settings_with_timeout(kNanosPerSecond));
  const uint64_t a = ledger.sent(0, 0, 0);
  const uint64_t b = ledger.sent(0, 500 * kMs, 500 * kMs);
  expire(ledger, 1100 * kMs);
  EXPECT_TRUE(ledger.waiting(0));  // b is still outstanding
  EXPECT_EQ(ledger.reply(0, b, 500 * kMs, 1200 * kMs), Match::kReply);
  EXPECT_FALSE(ledger.waiting(0));
  EXPECT_EQ(ledger.reply(0, a, 0, 1300 * kMs), Match::kLateReply);
  EXPECT_EQ(ledger.reply(0, a, 0, 1300 * kMs), Match::kDuplicate);
  EXPECT_EQ(ledger.reply(0, b, 500 * kMs, 1300 * kMs), Match::kDuplicate);
  EXPECT_EQ(ledger.reply(1, b, 500 * kMs, 1300 * kMs), Match::kUnexpected);  // not this client's
  EXPECT_EQ(ledger.reply(0, b, 501 * kMs, 1300 * kMs), Match::kUnexpected);  // not its stamp
  EXPECT_EQ(ledger.reply(0, b + 1, 0, 1300 * kMs), Match::kUnexpected);      // never sent
  const LoadAccounts total = ledger.total_accounts();
  EXPECT_EQ(total.replied, 1u);
  EXPECT_EQ(total.late_replies, 1u);
  EXPECT_EQ(total.duplicates, 2u);
  EXPECT_EQ(total.unexpected, 3u);
}

TEST(Ledger, ALostPingEntersAsTheTimeoutAtLeast) {
  const Schedule schedule = two_stages(1);
  Ledger ledger(schedule, settings_with_timeout(kNanosPerSecond));
  ledger.sent(0, 100 * kMs, 150 * kMs);
  expire(ledger, 1150 * kMs);
  ledger.close(0);
  EXPECT_EQ(ledger.total_accounts().lost, 1u);
  EXPECT_EQ(ledger.parts()[0].latency_actual.min(), 1000 * kMs);
  EXPECT_EQ(ledger.parts()[0].latency_intended.min(), 1050 * kMs);
  ledger.close(0);  // closing again changes nothing
  EXPECT_EQ(ledger.total_accounts().lost, 1u);
}

TEST(Ledger, WithoutNumbersTheOldestOutstandingIsAnswered) {
  const Schedule schedule = two_stages(1);
  Ledger ledger(schedule, settings_with_timeout(300 * kMs));
  EXPECT_EQ(ledger.reply_unnumbered(0, 0), Match::kUnexpected);  // nothing was ever sent
  ledger.sent(0, 0, 0);
  ledger.sent(0, 100 * kMs, 100 * kMs);
  EXPECT_EQ(ledger.reply_unnumbered(0, 150 * kMs), Match::kReply);
  EXPECT_EQ(ledger.parts()[0].latency_actual.max(), 150 * kMs);
  expire(ledger, 500 * kMs);
  EXPECT_EQ(ledger.reply_unnumbered(0, 600 * kMs), Match::kLateReply);
  EXPECT_EQ(ledger.reply_unnumbered(0, 610 * kMs), Match::kDuplicate);
}

TEST(Ledger, AClosedLoopWaitsForEverAndCountsTheDead) {
  const Schedule schedule = two_stages(2);
  LedgerSettings settings = settings_with_timeout(kNanosPerSecond);
  settings.closed_loop = true;
  Ledger ledger(schedule, settings);
  const uint64_t a = ledger.sent(0, 0, 0);
  ledger.sent(1, 0, 1);
  expire(ledger, 50 * kNanosPerSecond);  // far beyond the late window
  EXPECT_EQ(ledger.total_accounts().lost, 0u);
  EXPECT_EQ(ledger.reply(0, a, 0, 60 * kNanosPerSecond), Match::kLateReply);
  // After the late reply the client continues as usual.
  const uint64_t c = ledger.sent(0, 61 * kNanosPerSecond, 61 * kNanosPerSecond);
  expire(ledger, 90 * kNanosPerSecond);
  EXPECT_EQ(ledger.reply(0, c, 61 * kNanosPerSecond, 90 * kNanosPerSecond), Match::kLateReply);
  expire(ledger, 100 * kNanosPerSecond);
  ledger.close(0);
  ledger.close(1);
  const LoadAccounts total = ledger.total_accounts();
  EXPECT_EQ(total.dead_clients, 1u);
  EXPECT_EQ(total.lost, 1u);
  EXPECT_EQ(total.late_replies, 2u);
}

TEST(Ledger, TcpFailuresAreLostAtOnce) {
  const Schedule schedule = two_stages(1);
  LedgerSettings settings = settings_with_timeout(kNanosPerSecond);
  settings.late_window_ns = 0;
  Ledger ledger(schedule, settings);
  const uint64_t a = ledger.sent(0, 0, 0);
  ledger.lose(a);
  EXPECT_FALSE(ledger.waiting(0));
  EXPECT_EQ(ledger.parts()[0].latency_actual.max(), 1000 * kMs);
  const uint64_t b = ledger.sent(0, 20 * kMs, 20 * kMs);
  int overdue = 0;
  ledger.expire(1020 * kMs, [&](uint32_t, uint64_t number) {
    EXPECT_EQ(number, b);
    ++overdue;
    ledger.lose(number);
  });
  EXPECT_EQ(overdue, 1);
  EXPECT_EQ(ledger.total_accounts().lost, 2u);
}

/// Simulates one client that sends an unnumbered ping every 200 ms, with a timeout of 1 s. The
/// server takes `latency_ns(k)` to answer ping k; nullopt means that the ping is lost.
LoadAccounts unnumbered(const std::function<std::optional<int64_t>(int)>& latency_ns,
                        Histogram& latencies) {
  constexpr int kPings = 60;
  const Schedule schedule = two_stages(1);
  Ledger ledger(schedule, settings_with_timeout(kNanosPerSecond));
  std::vector<int64_t> answers;
  for (int k = 0; k < kPings; ++k) {
    if (const auto latency = latency_ns(k)) answers.push_back(k * 200 * kMs + *latency);
  }
  std::sort(answers.begin(), answers.end());
  size_t answered = 0;
  for (int k = 0; k < kPings + 30; ++k) {
    const int64_t now = k * 200 * kMs;
    for (; answered < answers.size() && answers[answered] < now; ++answered) {
      expire(ledger, answers[answered]);
      ledger.reply_unnumbered(0, answers[answered]);
    }
    expire(ledger, now);
    if (k < kPings) ledger.sent(0, now, now);
  }
  ledger.close(0);
  for (const LoadPart& part : ledger.parts()) latencies.merge(part.latency_actual);
  return ledger.total_accounts();
}

TEST(Ledger, WithoutNumbersAServerThatIsAlwaysLateIsLate) {
  Histogram latencies;
  const LoadAccounts a = unnumbered([](int) { return 1500 * kMs; }, latencies);
  EXPECT_EQ(a.replied, 0u);
  EXPECT_EQ(a.late_replies, 60u);
  EXPECT_EQ(a.lost, 0u);
  EXPECT_EQ(latencies.min(), uint64_t{1500 * kMs});
  EXPECT_EQ(latencies.max(), uint64_t{1500 * kMs});
}

TEST(Ledger, WithoutNumbersAServerThatBecomesLateIsLate) {
  Histogram latencies;
  const LoadAccounts a = unnumbered([](int k) { return k * 50 * kMs + kMs; }, latencies);
  EXPECT_EQ(a.replied, 20u);
  EXPECT_EQ(a.late_replies, 40u);
  EXPECT_EQ(latencies.max(), uint64_t{59 * 50 * kMs + kMs});
}

TEST(Ledger, WithoutNumbersALossDelaysNoOtherReply) {
  Histogram latencies;
  const LoadAccounts a =
      unnumbered([](int k) { return k % 10 == 3 ? std::nullopt : std::optional<int64_t>(2 * kMs); },
                 latencies);
  EXPECT_EQ(a.replied, 54u);
  EXPECT_EQ(a.late_replies, 0u);
  EXPECT_EQ(a.lost, 6u);
  EXPECT_EQ(a.duplicates, 0u);
  EXPECT_EQ(latencies.min(), uint64_t{2 * kMs});
  EXPECT_EQ(latencies.max(), uint64_t{1000 * kMs}) << "the timeout, of those that are lost";
  EXPECT_EQ(latencies.sum(), static_cast<uint64_t>((54 * 2 + 6 * 1000) * kMs));
}

/// Many clients, with and without numbers. Random numbers decide whether a ping is answered, late,
/// lost or answered twice, and the ledger must count the same.
TEST(Ledger, CountsAreTheTruthOfARandomNetwork) {
  constexpr uint32_t kClients = 40;
  constexpr int64_t kTimeout = 200 * kMs;
  std::mt19937_64 random(7);
  for (const bool numbered : {true, false}) {
    const Schedule schedule = two_stages(kClients);
    Ledger ledger(schedule, settings_with_timeout(kTimeout));
    struct Delivery {
      int64_t at_ns;
      uint32_t client;
      uint64_t number;
      int64_t sent_ns;
    };
    const auto later = [](const Delivery& a, const Delivery& b) { return a.at_ns > b.at_ns; };
    std::vector<Delivery> wire;
    LoadAccounts truth;
    // Without numbers, the outcome is unambiguous only if a client has one outstanding ping at a
    // time and the latencies are similar.
    const int64_t step = numbered ? 10 * kMs : 500 * kMs;
    int64_t now = 0;
    const auto deliver_until = [&](int64_t until) {
      while (!wire.empty() && wire.front().at_ns <= until) {
        std::pop_heap(wire.begin(), wire.end(), later);
        const Delivery d = wire.back();
        wire.pop_back();
        expire(ledger, d.at_ns);
        if (numbered) {
          ledger.reply(d.client, d.number, d.sent_ns, d.at_ns);
        } else {
          ledger.reply_unnumbered(d.client, d.at_ns);
        }
      }
      expire(ledger, until);
    };
    for (int round = 0; round < 150; ++round, now += step) {
      deliver_until(now);
      for (uint32_t client = 0; client < kClients; ++client) {
        const uint64_t number = ledger.sent(client, now, now);
        ++truth.sent;
        const auto deliver = [&](int64_t after) {
          wire.push_back({now + after, client, number, now});
          std::push_heap(wire.begin(), wire.end(), later);
        };
        switch (round == 0 ? 7 : random() % 8) {  // the first is answered: a usual latency is known
          case 0: ++truth.lost; break;
          case 1:
            ++truth.late_replies;
            deliver(kTimeout + 1 + static_cast<int64_t>(random() % (numbered ? 200 : 60)) * kMs);
            break;
          case 2:
            ++truth.replied;
            ++truth.duplicates;
            deliver(100 * kMs);
            deliver(110 * kMs);
            break;
          default:
            ++truth.replied;
            deliver(static_cast<int64_t>(numbered ? random() % 190 : 70 + random() % 120) * kMs);
        }
      }
    }
    deliver_until(now + 2 * kNanosPerSecond);
    for (uint32_t client = 0; client < kClients; ++client) ledger.close(client);
    const LoadAccounts got = ledger.total_accounts();
    EXPECT_EQ(got.sent, truth.sent) << numbered;
    EXPECT_EQ(got.replied, truth.replied) << numbered;
    EXPECT_EQ(got.late_replies, truth.late_replies) << numbered;
    EXPECT_EQ(got.lost, truth.lost) << numbered;
    EXPECT_EQ(got.duplicates, truth.duplicates) << numbered;
    EXPECT_EQ(got.unexpected, 0u) << numbered;
    AccountsContext context;
    context.planned = got.scheduled;
    EXPECT_THAT(find_imbalances(got, {}, context), IsEmpty());
    uint64_t latencies = 0;
    for (const LoadPart& part : ledger.parts()) latencies += part.latency_intended.count();
    EXPECT_EQ(latencies, got.sent);  // each ping is recorded once, also if it is lost
  }
}

TEST(Accounts, EveryEquationIsHeldAgainstThem) {
  LoadAccounts good;
  good.scheduled = 10;
  good.sent = 7;
  good.send_errors = 2;
  good.never_scheduled = 1;
  good.replied = 4;
  good.late_replies = 1;
  good.lost = 2;
  TcpAccounts tcp;
  tcp.refused = 1;
  tcp.timeouts = 1;
  AccountsContext context;
  context.planned = 10;
  context.is_tcp = true;
  EXPECT_THAT(find_imbalances(good, tcp, context), IsEmpty());

  const auto one_wrong = [&](auto change, const char* text) {
    LoadAccounts accounts = good;
    TcpAccounts causes = tcp;
    AccountsContext around = context;
    change(accounts, causes, around);
    const auto wrong = find_imbalances(accounts, causes, around);
    ASSERT_THAT(wrong, SizeIs(1)) << text;
    EXPECT_THAT(wrong[0], HasSubstr(text));
  };
  one_wrong([](auto&, auto&, auto& c) { c.planned = 11; }, "what the stages ask for");
  one_wrong([](auto& a, auto&, auto&) { a.never_scheduled = 0; }, "send_errors + never_scheduled");
  one_wrong([](auto& a, auto&, auto&) { a.replied = 5; }, "replied + late_replies + lost");
  one_wrong([](auto&, auto& t, auto&) { t.truncated = 1; }, "truncated");
  one_wrong([](auto& a, auto&, auto&) { a.sent_late = 8; }, "sent_late");
  one_wrong([](auto& a, auto&, auto&) { a.blocked = 2; }, "blocked");
}

}  // namespace
}  // namespace topspin
