// What waits for a collector, and where it is: without a network and without a clock.
#include "app/scrape/otlp_queue.h"

#include <map>

#include <gmock/gmock.h>

#include "app/scrape/otlp_target.h"

namespace topspin::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Outcome = OtlpAnswer::Outcome;

constexpr int64_t kSecond = kNanosPerSecond;

OtlpRequest metrics(const std::string& body, uint64_t points = 10) {
  return {OtlpRequest::Signal::kMetrics, body, points};
}
OtlpRequest logs(const std::string& body, uint64_t records = 1) {
  return {OtlpRequest::Signal::kLogs, body, records};
}

OtlpAnswer answer(Outcome outcome, int64_t retry_after_ns = 0) {
  return {outcome, retry_after_ns, 0, outcome == Outcome::kAccepted ? "HTTP 200" : "HTTP 503"};
}

/// Takes the next request, which must be there, and returns its body.
std::string taken(OtlpQueue& queue, int64_t now_ns) {
  const OtlpRequest* request = queue.take(now_ns);
  return request == nullptr ? "none" : request->body;
}

TEST(OtlpQueueTest, SendsOneAtATimeInOrder) {
  OtlpQueue queue("c", 1);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.take(0), nullptr);
  EXPECT_EQ(queue.due_ns(), std::nullopt);
  queue.push(metrics("a"));
  queue.push(logs("b"));
  EXPECT_EQ(taken(queue, 0), "a");
  EXPECT_EQ(taken(queue, 0), "none") << "the first is under way";
  EXPECT_EQ(queue.due_ns(), std::nullopt);
  EXPECT_FALSE(queue.empty());
  queue.answered(answer(Outcome::kAccepted), 5);
  EXPECT_EQ(taken(queue, 5), "b");
  queue.answered(answer(Outcome::kAccepted), 6);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.totals().requests_delivered, 2u);
  EXPECT_EQ(queue.totals().retries, 0u);
  EXPECT_THAT(queue.take_messages(), IsEmpty());
}

TEST(OtlpQueueTest, WaitsTwiceAsLongEachTimeWithJitter) {
  std::map<int64_t, int> first_waits;
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    OtlpQueue queue("c", seed);
    queue.push(metrics("a"));
    int64_t now_ns = 100 * kSecond, longest_ns = OtlpQueue::kFirstWaitNs;
    for (int attempt = 0; attempt < 12; ++attempt) {
      ASSERT_EQ(taken(queue, now_ns), "a");
      queue.answered(answer(Outcome::kTryAgain), now_ns);
      const int64_t wait_ns = queue.due_ns().value_or(0) - now_ns;
      EXPECT_GE(wait_ns, longest_ns / 2);
      EXPECT_LE(wait_ns, longest_ns);
      if (attempt == 0) ++first_waits[wait_ns];
      EXPECT_EQ(taken(queue, now_ns + wait_ns - 1), "none");
      now_ns += wait_ns;
      longest_ns = std::min(2 * longest_ns, OtlpQueue::kLongestWaitNs);
    }
    EXPECT_EQ(queue.totals().retries, 11u);
    ASSERT_EQ(taken(queue, now_ns), "a");
    queue.answered(answer(Outcome::kAccepted), now_ns);
    // The next failure begins anew.
    queue.push(metrics("b"));
    ASSERT_EQ(taken(queue, now_ns), "b");
    queue.answered(answer(Outcome::kTryAgain), now_ns);
    EXPECT_LE(queue.due_ns().value_or(0) - now_ns, OtlpQueue::kFirstWaitNs);
    EXPECT_THAT(queue.take_messages(),
                ElementsAre("c did not take the numbers (HTTP 503); they are sent again",
                            "c takes the numbers again",
                            "c did not take the numbers (HTTP 503); they are sent again"));
  }
  EXPECT_GT(first_waits.size(), 40u) << "clients do not come back together";
}

TEST(OtlpQueueTest, WaitsAsLongAsTheCollectorAsksWithinReason) {
  OtlpQueue queue("c", 1);
  queue.push(metrics("a"));
  ASSERT_EQ(taken(queue, 0), "a");
  queue.answered(answer(Outcome::kTryAgain, 7 * kSecond), 0);
  EXPECT_EQ(queue.due_ns(), 7 * kSecond);
  ASSERT_EQ(taken(queue, 7 * kSecond), "a");
  queue.answered(answer(Outcome::kTryAgain, INT64_MAX), 7 * kSecond);
  EXPECT_EQ(queue.due_ns(), 7 * kSecond + OtlpQueue::kLongestRetryAfterNs);
}

TEST(OtlpQueueTest, WhatIsRefusedIsNotSentAgainAndCounted) {
  OtlpQueue queue("c", 1);
  queue.push(metrics("a", 37));
  queue.push(logs("b", 2));
  ASSERT_EQ(taken(queue, 0), "a");
  queue.answered({Outcome::kRefused, 0, 0, "HTTP 400: \x1b[31mno"}, 0);
  ASSERT_EQ(taken(queue, 0), "b") << "at once";
  queue.answered({Outcome::kRefused, 0, 0, "HTTP 400"}, 1);
  EXPECT_EQ(queue.totals().points_dropped, 37u);
  EXPECT_EQ(queue.totals().logs_dropped, 2u);
  const auto messages = queue.take_messages();
  ASSERT_EQ(messages.size(), 1u) << "one a minute";
  EXPECT_THAT(messages[0], HasSubstr("c refused 37 of 37 data points (HTTP 400: \\x1b[31mno)"));
  queue.push(logs("c", 5));
  ASSERT_EQ(taken(queue, 1), "c");
  queue.answered({Outcome::kAccepted, 0, 3, "HTTP 200: too old"}, OtlpQueue::kMessageEveryNs + 1);
  EXPECT_EQ(queue.totals().logs_dropped, 5u);
  EXPECT_EQ(queue.totals().requests_delivered, 1u);
  EXPECT_THAT(queue.take_messages(), ElementsAre(HasSubstr("refused 3 of 5 log records")));
  // What a collector says is not believed beyond what it got.
  queue.push(logs("d", 1));
  ASSERT_EQ(taken(queue, OtlpQueue::kMessageEveryNs + 1), "d");
  queue.answered({Outcome::kAccepted, 0, UINT64_MAX, ""}, OtlpQueue::kMessageEveryNs + 2);
  EXPECT_EQ(queue.totals().logs_dropped, 6u);
}

TEST(OtlpQueueTest, IsBoundedAndDropsTheOldestNumbersFirst) {
  OtlpQueue queue("c", 1);
  queue.push(logs("incident"));
  for (size_t i = 0; i < OtlpQueue::kMostRequests + 4; ++i) queue.push(metrics(std::to_string(i)));
  EXPECT_EQ(queue.totals().points_dropped, 50u);
  EXPECT_EQ(queue.totals().logs_dropped, 0u);
  EXPECT_THAT(queue.take_messages(), ElementsAre(HasSubstr("32 requests for c wait already")));
  EXPECT_EQ(taken(queue, 0), "incident");
  queue.answered(answer(Outcome::kAccepted), 0);
  EXPECT_EQ(taken(queue, 0), "5");
  // A request that comes back takes no more room than there is.
  for (int i = 0; i < 5; ++i) queue.push(metrics("more"));
  queue.answered(answer(Outcome::kTryAgain), 0);
  EXPECT_EQ(taken(queue, INT64_MAX / 2), "9") << "those before it went for it and for those after";
  // Only logs, and too many bytes.
  OtlpQueue full("c", 1);
  for (size_t i = 0; i < OtlpQueue::kMostRequests + 1; ++i) full.push(logs(std::to_string(i), 2));
  EXPECT_EQ(full.totals().logs_dropped, 2u);
  EXPECT_EQ(taken(full, 0), "1");
  full.push(metrics(std::string(OtlpQueue::kMostBytes + 1, 'x')));
  EXPECT_EQ(full.totals().points_dropped, 10u) << "it alone is too large";
  EXPECT_EQ(full.totals().logs_dropped, 2u) << "and pushes nothing out";
}

TEST(OtlpQueueTest, CountsWhatIsLeftAtTheEnd) {
  OtlpQueue queue("c", 1);
  queue.push(metrics("a", 3));
  queue.push(metrics("b", 4));
  queue.push(logs("l"));
  ASSERT_EQ(taken(queue, 0), "a");
  queue.abandon();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.totals().points_dropped, 7u);
  EXPECT_EQ(queue.totals().logs_dropped, 1u);
}

using Variables = std::map<std::string, std::string>;

Result<OtlpTarget> target(const std::string& url, const Variables& variables = {}) {
  return otlp_target(url, [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(OtlpTargetTest, AppendsThePathsOfTheSignals) {
  for (const char* url :
       {"http://127.0.0.1:4318", "http://127.0.0.1:4318/", "HTTP://127.0.0.1:4318//"}) {
    const auto one = target(url);
    ASSERT_TRUE(one.ok()) << one.error().message;
    EXPECT_EQ(one->base_url, "http://127.0.0.1:4318");
    EXPECT_EQ(one->metrics_url, "http://127.0.0.1:4318/v1/metrics");
    EXPECT_EQ(one->logs_url, "http://127.0.0.1:4318/v1/logs");
    EXPECT_EQ(one->interval_ns, 10 * kSecond);
  }
  const auto below = target("https://example.org/api/otlp/");
  ASSERT_TRUE(below.ok());
  EXPECT_EQ(below->logs_url, "https://example.org/api/otlp/v1/logs");
  EXPECT_TRUE(target("http://[::1]:4318").ok());
}

TEST(OtlpTargetTest, RefusesWhatIsNoPlaceForACollector) {
  for (const auto& [url, says] :
       std::map<std::string, std::string>{{"127.0.0.1:4318", "must begin with http://"},
                                          {"ftp://a", "must begin with http://"},
                                          {"file:///etc/passwd", "must begin with http://"},
                                          {"http://", "names no host"},
                                          {"http:///v1", "names no host"},
                                          {"http://:4318", "names no host"},
                                          {"http://a b", "has a space"},
                                          {"http://a\r\nX: y", "has a space"},
                                          {"http://a/?x=1", "nothing after them"},
                                          {"http://a/#x", "nothing after them"},
                                          {"http://a/v1/metrics", "leave out /v1/metrics"},
                                          {"http://a/v1/logs/", "leave out /v1/logs"},
                                          {"http://" + std::string(3'000, 'a'), "too long"}}) {
    const auto refused = target(url);
    ASSERT_FALSE(refused.ok()) << url;
    EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
    EXPECT_THAT(refused.error().message, HasSubstr(says)) << url;
  }
  const auto secret = target("http://user:hunter2@collector:4318");
  ASSERT_FALSE(secret.ok());
  EXPECT_THAT(secret.error().message, HasSubstr("OTEL_EXPORTER_OTLP_HEADERS"));
  EXPECT_THAT(secret.error().message, Not(HasSubstr("hunter2")));
}

TEST(OtlpTargetTest, ReadsHeadersAndNeverShowsThem) {
  const char* const kHeaders = "OTEL_EXPORTER_OTLP_HEADERS";
  const auto one =
      target("http://a",
             {{kHeaders, " Authorization=Basic%20aHVudGVy%3D , x-scope=1,empty-is-left-out=x,"}});
  ASSERT_TRUE(one.ok()) << one.error().message;
  EXPECT_THAT(one->headers,
              ElementsAre("Authorization: Basic aHVudGVy=", "x-scope: 1", "empty-is-left-out: x"));
  EXPECT_TRUE(one->shows_headers());
  for (const char* safe :
       {"https://a", "http://localhost:4318", "http://127.1.2.3", "http://[::1]:1"})
    EXPECT_FALSE(target(safe, {{kHeaders, "a=hunter2"}})->shows_headers()) << safe;
  EXPECT_FALSE(target("http://a")->shows_headers());
  for (const char* bad : {"hunter2", "=hunter2", "a b=hunter2", "a=hunter2%0d%0aX: y", "a=hunter2%",
                          "a=hunter2%zz", "a=hunter2%4", "Host=hunter2", "content-LENGTH=hunter2",
                          "a=", "a\r=hunter2", "ok=1,a=hunter2%00"}) {
    const auto refused = target("http://a", {{kHeaders, bad}});
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_THAT(refused.error().message, HasSubstr("values are not shown"));
    EXPECT_THAT(refused.error().message, Not(HasSubstr("hunter2"))) << bad;
  }
  std::string many;
  for (int i = 0; i < 40; ++i) many += "a" + std::to_string(i) + "=b,";
  EXPECT_FALSE(target("http://a", {{kHeaders, many}}).ok());
}

TEST(OtlpTargetTest, ReadsTheIntervalAndTheCertificates) {
  const char* const kInterval = "OTEL_METRIC_EXPORT_INTERVAL";
  EXPECT_EQ(target("http://a", {{kInterval, "60000"}})->interval_ns, 60 * kSecond);
  EXPECT_EQ(target("http://a", {{kInterval, ""}})->interval_ns, 10 * kSecond);
  for (const char* bad : {"10s", "0", "999", "-5", "99999999999999999999", "3600001"})
    EXPECT_FALSE(target("http://a", {{kInterval, bad}}).ok()) << bad;
  EXPECT_EQ(target("http://a", {{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/x.pem"}})->certificates,
            "/x.pem");
}

}  // namespace
}  // namespace topspin::test
