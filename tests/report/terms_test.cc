// What all reports of a run must say in the same words: lateness (only if something has a period),
// silence, unanswered requests next to the latencies, and whether the run is usable and may be
// judged.
#include <fstream>
#include <functional>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "report/export/export.h"
#include "report/html/html_report.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/model/run_report.h"
#include "report/text/text_report.h"
#include "tests/report/report_testing.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

struct Told {
  std::string text, json, markdown, html;
};

struct Setting {
  std::optional<int64_t> period_ns = {};
  std::optional<LoadResult> load = {};
  RunEnd end = {};
  std::function<void(Sample&)> change = [](Sample&) {};
};

RunEnd end_with(std::vector<std::string> invalid_reasons, std::vector<std::string> doubts) {
  RunEnd end;
  end.invalid_reasons = std::move(invalid_reasons);
  end.doubts = std::move(doubts);
  return end;
}

/// Stores a run of twelve ticks and returns its report in each format.
Told tell(const Setting& setting) {
  TemporaryDirectory directory;
  const std::string path = directory.file();
  RunInfo info = report_run("server", 1'700'000'000 * kSecond);
  info.settings.period_ns = setting.period_ns;
  auto writer = create(path, info);
  for (uint64_t tick = 1; tick <= 12; ++tick) {
    Sample sample = report_tick(tick, "server");
    setting.change(sample);
    EXPECT_OK(writer->append(sample));
  }
  if (setting.load) {
    EXPECT_OK(writer->put_stage(0, {"hold", StageKind::kLoad, 0, 6 * kSecond, 10, 10}));
    EXPECT_OK(writer->put_stage(1, {"after", StageKind::kAfter, 6 * kSecond, {}, {}, {}}));
    EXPECT_OK(writer->put_load(*setting.load));
  }
  RunEnd end = setting.end;
  end.duration_ns = 12 * kSecond;
  EXPECT_OK(writer->finish(end));
  auto store = open(path);
  const RunReport report = must(read_run_report(*store, must(store->find_run(info.id))));
  const ReportPage page = must(read_report_page(*store, {info.id}));
  std::string json;
  EXPECT_OK(run_report_json(report, [&](std::string_view piece) {
    json += piece;
    return Status();
  }));
  return {text_report(page), json, markdown_report(page, kStepSummaryBytes), html_report(page)};
}

/// Makes the tick one of traffic without any period.
void without_period(Sample& sample) {
  sample.flows.periodic_flows = sample.flows.silent_flows = 0;
  sample.flows.requests = 500;
  sample.flows.missed_ticks = sample.flows.late_flows = 0;
  sample.flows.lateness = {};
  for (FlowRow& row : sample.changed_flows) {
    row.period_ns.reset();
    row.lateness_max_ns.reset();
  }
}

TEST(Lateness, IsSaidNowhereWhereNothingHasAPeriod) {
  const Told told = tell({.change = without_period});
  for (const std::string* report : {&told.text, &told.markdown}) {
    EXPECT_THAT(*report, Not(HasSubstr("lateness")));
    EXPECT_THAT(*report, Not(HasSubstr("Lateness")));
    EXPECT_THAT(*report, Not(HasSubstr("issed")));
    EXPECT_THAT(*report, Not(HasSubstr("ilent")));
  }
  EXPECT_THAT(told.text, Not(HasSubstr("Latest")));
  EXPECT_THAT(told.html, Not(HasSubstr("Missed ticks")));
  EXPECT_THAT(told.html, Not(HasSubstr("figure-lateness")));
  EXPECT_THAT(told.html, Not(HasSubstr("figure-silent")));
  EXPECT_THAT(told.html, Not(HasSubstr("heat-lateness")));
  EXPECT_THAT(told.html, HasSubstr("figure-reply"));
}

/// Older versions of topspin learned periods from any traffic, so the lateness in their runs is not
/// reported unless the period was declared.
TEST(Lateness, OfOlderRunsCountsOnlyWhereThePeriodWasDeclared) {
  const auto older = [](Sample& sample) {
    sample.flows.periodic_flows = 0;
    sample.flows.requests = 0;
    sample.flows.missed_ticks = 5'000;
  };
  EXPECT_THAT(tell({.change = older}).text, Not(HasSubstr("Missed ticks")));
  EXPECT_THAT(tell({.period_ns = kSecond, .change = older}).text,
              ContainsRegex("Missed ticks +60,000 "));
}

TEST(Silence, IsInEveryReport) {
  const Told told = tell({.period_ns = kSecond, .change = [](Sample& sample) {
                            sample.flows.periodic_flows = 2'000;
                            sample.flows.silent_flows = sample.tick < 6 ? 0 : 1'408 - sample.tick;
                            for (FlowRow& row : sample.changed_flows) row.silent = true;
                          }});
  EXPECT_THAT(told.text, ContainsRegex("Missed ticks +0  of 2,000 flows with a period"));
  EXPECT_THAT(told.text, ContainsRegex("Silent flows +1,402  of 2,000 at most; 1,396 at the end"));
  EXPECT_THAT(told.text, HasSubstr("SILENT"));
  const Json json = Json::parse(told.json);
  EXPECT_EQ(json["summary"]["silent_flows"], Json({{"max", 1'402}, {"last", 1'396}}));
  EXPECT_EQ(json["summary"]["periodic_flows"], Json({{"max", 2'000}, {"last", 2'000}}));
  EXPECT_EQ(json["ticks"][5]["silent_flows"], 1'402);
  EXPECT_EQ(json["ticks"][5]["periodic_flows"], 2'000);
  EXPECT_THAT(told.markdown, AllOf(HasSubstr("Silent flows"), HasSubstr("1,402"),
                                   HasSubstr("of 2,000 at most; 1,396 at the end")));
  EXPECT_THAT(told.html, AllOf(HasSubstr("Silent flows"), HasSubstr("figure-silent")));
  EXPECT_THAT(told.html, Not(HasSubstr("verdict is-good")));
  EXPECT_THAT(told.html, HasSubstr("Of 2,000 flows with a period, 1,402 fell silent."));
}

TEST(Unanswered, StandsBesideTheLatencyOfReplies) {
  const Told told = tell({.change = [](Sample& sample) {
    without_period(sample);
    sample.flows.requests = 2'000;
    if (sample.tick == 7) {
      sample.flows.unanswered = 2'000;
      sample.flows.late_replies = 256;
      sample.flows.overlapping_requests = 12;
      sample.flows.reply_latency.record_n(kSecond, 1'744);
      sample.flows.reply_latency.record_n(1'600'000'000, 256);
    }
  }});
  // The line right below the percentiles.
  const size_t row = told.text.find("  Reply latency   ", told.text.find("\nLatencies"));
  ASSERT_NE(row, std::string::npos);
  const size_t next = told.text.find('\n', row) + 1;
  EXPECT_THAT(told.text.substr(next, told.text.find('\n', next) - next),
              HasSubstr("2,000 of 24,000 requests not answered within 1.00s, 256 of them answered "
                        "later; 12 not measured"));
  // 1,744 requests were never answered, so a percentile of the timeout or more is a lower bound.
  EXPECT_THAT(told.text.substr(row, next - row), HasSubstr(">=1."));
  EXPECT_THAT(told.html, HasSubstr("2,000 of 24,000 requests not answered within"));
  EXPECT_THAT(told.html, HasSubstr("≥ 1"));
  EXPECT_THAT(told.markdown, HasSubstr("2,000 of 24,000 requests not answered within"));
  const Json summary = Json::parse(told.json)["summary"];
  EXPECT_EQ(summary["requests"], 24'000);
  EXPECT_EQ(summary["unanswered"], 2'000);
  EXPECT_EQ(summary["late_replies"], 256);
  EXPECT_EQ(summary["overlapping_requests"], 12);
  const std::string keys = told.json.substr(told.json.find("\"reply_latency_ns\""));
  EXPECT_LT(keys.find("\"unanswered\""), keys.find("\"lateness_ns\""));
}

TEST(Unanswered, AnswersThatCameLateAreWhatTheyAre) {
  FlowInterval flows;
  flows.requests = flows.unanswered = flows.late_replies = 2'000;
  flows.reply_latency.record_n(2 * kSecond, 2'000);
  FileReading reading;
  reading.totals = flows;
  reading.reply_timeout_ns = kSecond;
  const std::string text = file_reading_text(reading);
  EXPECT_THAT(text, Not(HasSubstr(">=")));
  EXPECT_THAT(text, HasSubstr("2,000 of 2,000 requests not answered within 1.00s"));
  EXPECT_THAT(text, Not(HasSubstr("lateness")));
  reading.totals.late_replies = 0;
  EXPECT_THAT(file_reading_text(reading), HasSubstr(">=2.00s"));
}

TEST(Terms, AUsableRunWithoutDoubts) {
  const Told told = tell({});
  EXPECT_THAT(told.text, HasSubstr("complete, usable, may be judged\n"));
  EXPECT_THAT(told.html, HasSubstr("data-verdict=\"Usable\""));
  EXPECT_THAT(told.markdown, HasSubstr("Usable"));
  const Json run = Json::parse(told.json)["run"];
  EXPECT_EQ(run["complete"], true);
  EXPECT_EQ(run["usable"], true);
  EXPECT_EQ(run["doubts"], Json::array());
}

TEST(Terms, DoubtsLeaveARunUsableAndMayNotBeJudged) {
  const std::string doubt = "the reply split holds twice what the wire saw";
  const Told told = tell({.end = end_with({}, {doubt})});
  EXPECT_THAT(told.text, HasSubstr("complete, usable, may not be judged"));
  for (const std::string* report : {&told.text, &told.markdown, &told.html})
    EXPECT_THAT(*report, HasSubstr("a number of it is doubtful: " + doubt));
  EXPECT_THAT(told.html, HasSubstr("It may not be judged."));
  const Json run = Json::parse(told.json)["run"];
  EXPECT_EQ(run["usable"], true);
  EXPECT_EQ(run["doubts"], Json::array({doubt}));
}

TEST(Terms, ADoubtAboutTheSplitIsSaidAndLeavesTheRestToBeJudged) {
  const std::string sentence = "the split of replies has 1 of the 60 that the wire saw";
  const std::string doubt = sentence + " (2%)";
  const Told told = tell({.end = end_with({}, {doubt})});
  EXPECT_THAT(told.text, HasSubstr("complete, usable, may be judged"));
  for (const std::string* report : {&told.text, &told.markdown, &told.html})
    EXPECT_THAT(*report, HasSubstr("is doubtful and not judged: " + sentence));
  EXPECT_EQ(Json::parse(told.json)["run"]["not_judged_numbers"].size(), 1u);
}

TEST(Terms, RulesOfADoubtfulSplitAreNotJudgedAndTheOthersAre) {
  for (const bool doubtful : {false, true}) {
    TemporaryDirectory directory;
    const std::string path = directory.file();
    const RunInfo info = report_run("server", 1'700'000'000 * kSecond);
    auto writer = create(path, info);
    for (uint64_t tick = 1; tick <= 4; ++tick) {
      Sample sample = report_tick(tick, "server");
      sample.sockets.emplace().reply_socket.emplace().record_n(1'000, 2'000);
      EXPECT_OK(writer->append(sample));
    }
    RunEnd end;
    if (doubtful) end.doubts = {"the split of replies has 1 of the 60 that the wire saw (2%)"};
    end.duration_ns = 4 * kSecond;
    EXPECT_OK(writer->finish(end));
    auto store = open(path);
    const std::vector<SloRule> rules = {must(parse_slo("p99(reply_socket) < 1s")),
                                        must(parse_slo("packets > 0"))};
    const auto results = must(judge_slos(*store, must(store->find_run(info.id)), rules));
    EXPECT_EQ(results[0].verdict, doubtful ? SloVerdict::kUnknown : SloVerdict::kKept);
    EXPECT_EQ(results[0].explanation.find("the split is doubtful") != std::string::npos, doubtful);
    EXPECT_EQ(results[1].verdict, SloVerdict::kKept);
  }
}

LoadResult load_of(uint64_t asked, uint64_t replied, uint64_t errors) {
  LoadResult load;
  load.workload = WorkloadKind::kHttp;
  load.http.emplace();
  load.total.accounts.scheduled = load.total.accounts.sent = asked;
  load.total.accounts.replied = replied;
  load.total.accounts.lost = asked - replied;
  load.total.accounts.http_errors = errors;
  return load;
}

TEST(FailedWork, OfALoadHasATileAndTakesTheGreenAway) {
  const Told good = tell({.load = load_of(1000, 1000, 0)});
  EXPECT_THAT(good.html, AllOf(HasSubstr("verdict is-good"), HasSubstr("Work not done"),
                               HasSubstr("HTTP errors")));
  EXPECT_THAT(good.markdown,
              HasSubstr("| Work not done | **0.00\u202f%** | 0 of 1,000 asked for |"));
  const Told lost = tell({.load = load_of(1000, 500, 0)});
  EXPECT_THAT(lost.html,
              AllOf(HasSubstr("verdict is-open"),
                    HasSubstr("50.0\u202f% of the work that was asked for was not done."),
                    HasSubstr("500 of 1,000 asked for")));
  EXPECT_THAT(lost.markdown, HasSubstr("| Work not done | **50.0\u202f%** |"));
  const Told errors = tell({.load = load_of(1000, 1000, 100)});
  EXPECT_THAT(errors.html,
              AllOf(HasSubstr("verdict is-open"), HasSubstr("100 answers were an HTTP error.")));
  EXPECT_THAT(errors.markdown, HasSubstr("| HTTP errors | **100** | of 1,000 answers |"));
}

TEST(FailedWork, RefusedAndNeverCompletedConnectionsAreHeadlines) {
  const Told none = tell({});
  for (const char* word : {"Refused connections", "Never completed"})
    EXPECT_THAT(none.html + none.markdown, Not(HasSubstr(word)));
  const Told told = tell({.change = [](Sample& sample) {
    sample.flows.tcp_half_open = 5;  // may still be answered: not counted
    sample.flows.tcp_never_completed = sample.tick == 2 || sample.tick == 9 ? 2 : 0;
    sample.flows.tcp_refused = sample.tick == 3 ? 2 : 0;
  }});
  for (const std::string* report : {&told.html, &told.markdown}) {
    EXPECT_THAT(*report, AllOf(HasSubstr("2 TCP connections were refused."),
                               HasSubstr("4 TCP connections were never completed.")));
  }
  EXPECT_THAT(told.html, HasSubstr("verdict is-open"));
  EXPECT_THAT(told.markdown, AllOf(HasSubstr("| Refused connections | **2** |"),
                                   HasSubstr("| Never completed | **4** |")));
}

TEST(Silence, CountsUntilTheLoadIsOver) {
  const Told told = tell({.load = load_of(1000, 1000, 0), .change = [](Sample& sample) {
                            sample.flows.periodic_flows = 10;
                            sample.flows.missed_ticks = sample.tick > 6 ? 10 : 0;
                            sample.flows.silent_flows = sample.tick > 6 ? 10 : 0;
                          }});
  const Json summary = Json::parse(told.json)["summary"];
  EXPECT_EQ(summary["missed_ticks"], 0);
  EXPECT_EQ(summary["silent_flows"], Json({{"max", 0}, {"last", 0}}));
  EXPECT_THAT(told.html, Not(HasSubstr("fell silent")));
}

TEST(Terms, LossesAboveTheirLimitLeaveARunUnusable) {
  const Told told = tell({.end = end_with({"too many drops"}, {"a clock"})});
  EXPECT_THAT(told.text, HasSubstr("complete, not usable"));
  EXPECT_THAT(told.html, HasSubstr("data-verdict=\"Not usable\""));
  for (const std::string* report : {&told.text, &told.markdown, &told.html})
    EXPECT_THAT(*report, AllOf(HasSubstr("too many drops"), HasSubstr("a clock")));
  const Json run = Json::parse(told.json)["run"];
  EXPECT_EQ(run["usable"], false);
  EXPECT_EQ(run["complete"], true);
}

TEST(Traffic, EachCountReachesEveryReport) {
  const std::pair<const char*, uint64_t FlowInterval::*> counts[] = {
      {"tcp_out_of_order", &FlowInterval::tcp_out_of_order},
      {"tcp_retransmissions", &FlowInterval::tcp_retransmissions},
      {"tcp_resets", &FlowInterval::tcp_resets},
      {"tcp_refused", &FlowInterval::tcp_refused},
      {"tcp_handshakes", &FlowInterval::tcp_handshakes},
      {"requests", &FlowInterval::requests},
      {"handshake_turns", &FlowInterval::handshake_turns},
      {"multiplexed_turns", &FlowInterval::multiplexed_turns},
      {"time_steps", &FlowInterval::time_steps},
      {"time_went_backwards", &FlowInterval::time_went_backwards},
      {"duplicate_packets", &FlowInterval::duplicate_packets},
  };
  const Told told = tell({.change = [&](Sample& sample) {
    uint64_t value = 1'000;
    for (const auto& [name, field] : counts) sample.flows.*field = ++value;
  }});
  const Json summary = Json::parse(told.json)["summary"];
  uint64_t value = 1'000;
  for (const auto& [name, field] : counts) {
    const uint64_t total = 12 * ++value;
    EXPECT_EQ(summary[name], total) << name;
    EXPECT_EQ(Json::parse(told.json)["ticks"][0][name], value) << name;
    EXPECT_THAT(told.html, HasSubstr(fmt::format("data-path=\"summary.numbers.{}\"", name)));
    for (const std::string* report : {&told.text, &told.markdown})
      EXPECT_THAT(*report, HasSubstr(document::page_count(total))) << name;
  }
  EXPECT_THAT(told.text, HasSubstr("of 12,072 requests"));
}

TEST(Waits, TheKernelsNumberIsNamedAsThat) {
  const Told told = tell({.change = [](Sample& sample) {
    sample.scheduler->run_queue_wait_ns = 10'000'000;
    sample.scheduler->kernel_run_delay_ns = 900'000'000;
  }});
  EXPECT_THAT(told.text, ContainsRegex("Run-queue wait +120ms"));
  EXPECT_THAT(told.text, ContainsRegex("Run delay by the kernel +10.8s"));
  EXPECT_THAT(told.html, HasSubstr("Run delay by the kernel"));
  const Json summary = Json::parse(told.json)["summary"];
  EXPECT_EQ(summary["run_queue_wait_ns"], 120'000'000);
  EXPECT_EQ(summary["kernel_run_delay_ns"], 10'800'000'000);
}

/// The longest wait in a row of the table is never longer than the sum of the waits.
TEST(Waits, OfAThreadAreOneMeaningInOneRow) {
  const Told told = tell({.change = [](Sample& sample) {
    for (ThreadRow& thread : sample.changed_threads) {
      thread.run_queue_wait_ns = 0;  // the kernel's number
      thread.run_queue_wait.emplace();
      thread.run_queue_wait->record(31'200);
      thread.run_queue_wait_max_ns = 31'200;
    }
  }});
  EXPECT_THAT(told.text, ContainsRegex("31.2us +31.2us"));
}

TEST(Probes, WithoutASubjectAreOneLine) {
  ReportPage page;
  RunPage& report = page.runs.emplace_back();
  report.run.info.id = "x";
  for (const char* name : {"scheduler", "resources", "timers"})
    report.run.info.probes.push_back({name, Rung::kNone, "no subject: name a command"});
  report.run.info.probes.push_back({"owners", Rung::kTpBtf, ""});
  const std::string text = text_report(page);
  EXPECT_THAT(text, HasSubstr("no subject, so not measured: scheduler, resources, timers\n"));
  EXPECT_THAT(text, ContainsRegex("owners +tp_btf"));
  EXPECT_THAT(text, Not(HasSubstr("none")));
}

/// A tick that was not measured must not look like the lowest value.
TEST(Charts, HaveAGapWhereNothingWasMeasured) {
  const auto chart = [](bool gap) {
    const Told told = tell({.change = [&](Sample& sample) {
      if (!sample.resources) sample.resources.emplace();
      sample.resources->rss_bytes = 9'000'000;
      if (gap && sample.tick == 5) sample.resources->rss_bytes.reset();
    }});
    const size_t begin = told.text.find("  Resident memory", told.text.find("\nOver time"));
    return told.text.substr(begin, told.text.find(" max ", begin) - begin);
  };
  EXPECT_THAT(chart(false), testing::EndsWith("████████████"));
  EXPECT_THAT(chart(true), testing::EndsWith(" ████ ███████"));
}

TEST(Losses, EachHasItsWordsAndItsRowInTheDocument) {
  std::ifstream file(std::string(TOPSPIN_SOURCE_DIR) + "/docs/losses.md");
  std::stringstream document;
  document << file.rdbuf();
  LossInterval::for_each_number([&](const Number& number, auto) {
    const std::string name = LossInterval::bare_name(number);
    EXPECT_NE(number.label, "") << name;
    EXPECT_THAT(document.str(), HasSubstr("`" + name + "`"));
  });
}

}  // namespace
}  // namespace topspin::test
