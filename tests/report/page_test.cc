// The HTML page as text: it is escaped, bounded and complete. page_in_browser_test opens it in a
// browser.
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "report/document/readable.h"
#include "report/html/blocks.h"
#include "report/html/html_report.h"
#include "report/html/page_assets.h"
#include "report/html/plot_data.h"
#include "report/sections/sections.h"
#include "tests/report/report_testing.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(HtmlText, EscapesAndCuts) {
  EXPECT_EQ(HtmlWay::escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(HtmlWay::escape("\x1b[31m\n"), "\\x1b[31m\\x0a");
  EXPECT_EQ(HtmlWay::escape("\xe2\x80\xae"), "\\u{202e}");
  EXPECT_EQ(HtmlWay::escape("abcdef", 3), "abc…");
  EXPECT_EQ(HtmlWay::escape("aé", 2), "a…");  // not half a code point
  EXPECT_EQ(HtmlWay::escape("é", 2), "é");
  EXPECT_EQ(HtmlWay::escape(std::string(1 << 20, '<'), 2), "&lt;&lt;…");
}

TEST(HtmlText, JsonCannotLeaveItsScript) {
  EXPECT_EQ(json_for_script(R"({"a":"</script>&<!--"})"),
            R"({"a":"\u003c/script\u003e\u0026\u003c!--"})");
  EXPECT_EQ(json_number(1e15), "1000000000000000");
  EXPECT_EQ(json_number(0.1), "0.1");
  EXPECT_EQ(json_number(std::nan("")), "null");
  EXPECT_EQ(json_number(INFINITY), "null");
}

TEST(HtmlText, NumbersAsPeopleReadThem) {
  EXPECT_EQ(document::page_count(1'234'567), "1,234,567");
  EXPECT_EQ(document::page_count(999), "999");
  EXPECT_EQ(document::page_duration(1'250), "1.25\u202fµs");
  EXPECT_EQ(document::page_duration(280 * kSecond), "4.67\u202fmin");
  EXPECT_EQ(document::page_bytes(int64_t{3} << 30), "3.00\u202fGiB");
  EXPECT_EQ(document::page_percent(0.0912), "9.12\u202f%");
  EXPECT_EQ(document::page_percent(2), "200\u202f%");
}

/// How many of each tag are still open at the end.
std::map<std::string, int> tags(const std::string& html) {
  std::map<std::string, int> open;
  for_each_tag(html, [&](const std::string& name, bool closes) { open[name] += closes ? -1 : 1; });
  return open;
}

TEST(HtmlPage, IsWellFormedWithHostileNamesInEveryPlace) {
  TemporaryDirectory directory;
  const std::string a = store_report_run(directory.file());
  ReportPage page = read_page(directory.file(), {a});
  page.runs[0].slos = {broken_rule()};
  const std::string html = html_report(page);
  EXPECT_NE(html.find("<section id=\"rules\">"), std::string::npos);
  // The body, from the end of the head to the first script.
  const size_t from = html.find("</head>");
  for (const auto& [tag, open] : tags(html.substr(from, html.find("<script") - from))) {
    if (tag == "rect" || tag == "wbr") continue;  // written without a closing tag
    EXPECT_EQ(open, tag == "body" ? 1 : tag == "head" ? -1 : 0) << tag;
  }
  EXPECT_EQ(count_of(html, "<script"), kPageHasPlots ? 3u : 1u);
  EXPECT_EQ(count_of(html, "</script"), count_of(html, "<script"));
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_EQ(count_of(html, "\x1b"), 0u);
  EXPECT_EQ(count_of(html, "\xe2\x80\xae"), 0u);
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(count_of(html, " style="), 0u);
  EXPECT_EQ(count_of(html, "http://evil") + count_of(html, "href=\"http"),
            count_of(html, "(http://evil"));
}

TEST(HtmlPage, ShowsWhatWasMeasuredAndLeavesOutTheRest) {
  TemporaryDirectory directory;
  const std::string a = store_report_run(directory.file(), {.name = "x"});
  const std::string html = html_report(read_page(directory.file(), {a}));
  for (const char* part : {"id=\"load\"",
                           "warm up",
                           "id=\"scheduling\"",
                           "same cgroup",
                           "Timer oversleep",
                           "id=\"calls\"",
                           "tcp 127.0.0.1:5432",
                           "a call was pending in ",
                           "id=\"sockets\"",
                           "Inside a mean reply of 105\u202fµs",
                           "id=\"syscalls\"",
                           "id=\"limits\"",
                           "Who had the CPUs instead",
                           "x1, the subject itself",
                           "3 processes",
                           "other processes",
                           "had to wake up",
                           "By process",
                           "Slept on",
                           "Where CPU time went",
                           "figure-ipc",
                           "figure-pressure",
                           "figure-accept_queue"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(Json::parse(page_data_json(read_page(directory.file(), {a})))["stages"][1]["end_s"],
            60);

  RunPage bare;
  bare.add(Sample{});
  ReportPage page;
  page.runs.push_back(std::move(bare));
  const std::string little = html_report(page);
  for (const char* part :
       {"id=\"load\"", "id=\"scheduling\"", "id=\"sockets\"", "id=\"syscalls\"", "id=\"calls\"",
        "id=\"limits\"", "id=\"threads\"", "id=\"instead\"", "figure-cpu"}) {
    EXPECT_EQ(little.find(part), std::string::npos) << part;
  }
}

TEST(HtmlPage, SaysFirstWhyARunIsInvalid) {
  TemporaryDirectory directory;
  const std::string a = store_report_run(
      directory.file(), {.name = "x", .invalid_reasons = {"the kernel dropped 3 packets <b>"}});
  const std::string html = html_report(read_page(directory.file(), {a}));
  const size_t verdict = html.find("data-verdict=\"Not usable\"");
  ASSERT_NE(verdict, std::string::npos);
  EXPECT_LT(verdict, html.find("the kernel dropped 3 packets &lt;b&gt;"));
  EXPECT_LT(html.find("the kernel dropped 3 packets"), html.find("class=\"tiles\""));
  EXPECT_NE(html.find("capture kernel drops 3"), std::string::npos);
}

TEST(HtmlPage, EmptyRunsAndUnmeasuredOnesAreNoTrouble) {
  TemporaryDirectory directory;
  const std::string none = store_report_run(directory.file(), {.name = "", .ticks = 0});
  const std::string html = html_report(read_page(directory.file(), {none}));
  EXPECT_NE(html.find("</html>"), std::string::npos);
  EXPECT_EQ(html.find("id=\"timeline\""), std::string::npos);

  const std::string path = directory.file("flows_only.db");
  const RunInfo info = make_run();
  auto writer = create(path, info);
  for (uint64_t tick = 1; tick <= 3; ++tick) EXPECT_OK(writer->append(make_tick(tick, 1)));
  EXPECT_OK(writer->finish({}));
  const std::string flows_only = html_report(read_page(path, {info.id}));
  EXPECT_EQ(flows_only.find("figure-memory"), std::string::npos);
  EXPECT_NE(flows_only.find("figure-flows"), std::string::npos);
}

TEST(HtmlPage, ADayIsNoBiggerThanAnHourAndKeepsItsExtreme) {
  RunPage run;
  run.run.info = report_run("x", 0);
  const Sample usual = report_tick(7, "x");
  for (uint64_t tick = 1; tick <= 86'400; ++tick) {
    Sample s;  // histograms take most of the time, so only one tick in a hundred has them
    if (tick % 100 == 0) s = usual;
    s.tick = tick;
    s.interval_ns = kSecond;
    s.elapsed_ns = static_cast<int64_t>(tick) * kSecond;
    s.flows.active_flows = tick == 54'321 ? 987'654 : 100;
    run.add(s);
  }
  ReportPage page;
  page.runs.push_back(std::move(run));
  const std::string html = html_report(page);
  EXPECT_LT(html.size(), 2'000'000u);
  const Json data = Json::parse(page_data_json(page));
  const Json& active = data["figures"][0]["lines"][0];
  ASSERT_EQ(active["curve"], "active_flows");
  double greatest = 0;
  for (const Json& value : active["values"]) greatest = std::max(greatest, value.get<double>());
  EXPECT_EQ(greatest, 987'654);
  EXPECT_EQ(active["values"].size(), data["runs"][0]["time_s"].size());
  EXPECT_LE(active["values"].size(), 2 * kPageBins);
}

TEST(HtmlPage, TimesIncreaseWhateverTheFileSays) {
  RunPage run;
  for (const int64_t elapsed_s : {5, 3, 3, 9, -4}) {
    Sample s;
    s.elapsed_ns = elapsed_s * kSecond;
    s.interval_ns = elapsed_s == 9 ? INT64_MIN : INT64_MAX;
    s.flows.begin_ns = INT64_MIN;
    run.add(s);
  }
  ReportPage page;
  page.runs.push_back(std::move(run));
  double last = -1;
  const Json data = Json::parse(page_data_json(page));
  for (const Json& time : data["runs"][0]["time_s"]) {
    EXPECT_GT(time.get<double>(), last);
    last = time;
  }
}

TEST(PercentileCurve, AgreesWithTheHistogram) {
  SignedHistogram lateness;
  for (int i = -1000; i < 9000; ++i) lateness.record(i * 1000);
  const LatencyCurve d{
      "x", "x", &lateness.non_negative(), lateness.negative().count(), lateness.summary(), nullptr};
  const auto points = percentile_curve(d);
  ASSERT_GT(points.size(), 10u);
  for (size_t i = 1; i < points.size(); ++i) EXPECT_GT(points[i].at, points[i - 1].at);
  EXPECT_EQ(points.back().value, 8'999'000);
  EXPECT_NEAR(points.back().at, 4, 1e-9);  // one in 10,000
  for (const PercentilePoint& p : points) {
    const double quantile = 1 - std::pow(10, -p.at);
    if (const auto value = lateness.percentile(quantile)) {
      EXPECT_NEAR(p.value, static_cast<double>(*value), 0.07 * p.value + 1000) << quantile;
    }
  }
}

TEST(HtmlPage, OnlyAPassIsGreen) {
  Judgement judgement;
  judgement.metrics.resize(1);
  judgement.metrics[0].verdict = Verdict::kPass;
  for (const auto& [verdict, cell] : {std::pair{Verdict::kPass, "word-good\">pass"},
                                      std::pair{Verdict::kInvalid, "word-open\">invalid"}}) {
    judgement.verdict = verdict;
    const document::Document document = sections::judgement(judgement);
    EXPECT_NE(html_section(document.sections.at(0)).str().find(cell), std::string::npos) << cell;
  }
}

TEST(HtmlPage, ComparesAAndBAndTellsAHistory) {
  TemporaryDirectory directory;
  const std::string a = store_report_run(directory.file(), {.name = "a"});
  const std::string b = store_report_run(
      directory.file(),
      {.name = "b", .started_wall_ns = 1'700'001'000 * kSecond, .slow = 2, .side = "b"});
  const ReportPage compared = read_page(directory.file(), {"side=a", "side=b"});
  ASSERT_EQ(compared.runs.size(), 2u);
  EXPECT_EQ(compared.runs[0].run.info.id, a);
  const std::string html = html_report(compared);
  EXPECT_NE(html.find("id=\"comparison\""), std::string::npos);
  EXPECT_NE(html.find("reply_latency_ns_p99"), std::string::npos);
  // Curves are for reports without plots; here they would leave their headings.
  const size_t over_time = html.find("<section id=\"timeline\"");
  ASSERT_NE(over_time, std::string::npos);
  const std::string above_plots =
      html.substr(over_time, html.find("class=\"toolbar\"", over_time) - over_time);
  EXPECT_EQ(above_plots.find("<h3>"), std::string::npos) << above_plots;
  EXPECT_NE(text_report(compared).find("\n  A\n"), std::string::npos);

  const ReportPage history = read_page(directory.file(), {a, b, "last"});
  EXPECT_EQ(history.history_runs.size(), 2u);
  EXPECT_EQ(history.runs.size(), 1u);
  EXPECT_EQ(history.runs[0].run.info.id, b);
  EXPECT_NE(html_report(history).find("id=\"history\""), std::string::npos);

  EXPECT_EQ(read_report_page(*open(directory.file()), {"no-such-run"}).error().code,
            ErrorCode::kUsage);
}

/// Only CPU samples show the functions of a garbage collector.
TEST(Findings, AreTheSameOnThePageAndInJsonWhereSamplesDecide) {
  TemporaryDirectory directory;
  const RunInfo info = report_run("server", 1'700'000'000 * kSecond);
  auto writer = create(directory.file(), info);
  Sample tick = report_tick(1, "server", 1);
  for (auto* part : {&tick.sockets->reply_socket, &tick.sockets->reply_cpu_queue,
                     &tick.sockets->reply_runtime}) {
    (*part)->clear();
    (*part)->record_n(part == &tick.sockets->reply_socket ? 70'000'000 : 10'000, 200);
  }
  tick.changed_called.clear();  // some of the calls failed, which would be the first finding
  tick.changed_stacks = {{1, "server", "main;gc_collect_main;visit", 60},
                         {2, "server", "main;send", 40}};
  EXPECT_OK(writer->append(tick));
  EXPECT_OK(writer->finish({}));
  const auto store = open(directory.file());
  const StoredRun run = must(store->last_run());
  const RunPage page = must(read_run_page(*store, run));
  const RunReport report = must(read_run_report(*store, run));
  const std::vector<Finding> alone = must(read_findings(*store, run));
  ASSERT_EQ(page.findings.size(), report.findings.size());
  ASSERT_EQ(page.findings.size(), alone.size());
  for (size_t i = 0; i < page.findings.size(); ++i) {
    EXPECT_EQ(page.findings[i].sentence, report.findings[i].sentence);
    EXPECT_EQ(page.findings[i].sentence, alone[i].sentence);
  }
  EXPECT_EQ(page.findings.front().key, "stop_the_world") << page.findings.front().sentence;
}

}  // namespace
}  // namespace topspin::test
