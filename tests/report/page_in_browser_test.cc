// The HTML report in a real browser: it shows the numbers of the JSON report, its plots zoom, it
// logs no errors, and it requests nothing from the network.
//
// The tests also take screenshots. With TOPSPIN_SCREENS=DIR they are written to that directory:
// this is how the pictures in docs/screens are made. If TOPSPIN_SCREENS_DB names a database,
// report-*.png shows its newest run, and flame-*.png compares its sides a and b.
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/report/chromium.h"
#include "tests/report/report_testing.h"
#include "tests/support/process.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

/// One browser for all tests, because starting it takes longer than the tests.
class PageInBrowser : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    program_ = find_chromium();
    if (program_) browser_ = std::make_unique<Chromium>(*program_);
    database_ = std::make_unique<TempDir>();
    a_ = store_report_run(database());
    b_ = store_report_run(database(), {.name = "b",
                                       .started_wall_ns = 1'700'001'000 * kSecond,
                                       .ticks = 50,
                                       .slow = 1.5,
                                       .side = "b"});
  }
  static void TearDownTestSuite() {
    browser_.reset();
    database_.reset();
  }
  void SetUp() override {
    if (!program_) GTEST_SKIP() << "no chromium in PATH, nor named by CHROMIUM";
    browser_->view(1400, 900, false);
  }
  void TearDown() override {
    if (!program_) return;
    EXPECT_TRUE(browser_->complaints().empty()) << browser_->complaints().front();
    ASSERT_EQ(browser_->requests().size(), 1u) << "more than the page itself";
    EXPECT_TRUE(browser_->requests().front().starts_with("file://"));
  }

  static std::string database() { return database_->file("t.db"); }

  void open_report(std::vector<std::string> arguments) {
    const std::string file = dir_.file("report.html");
    arguments.insert(arguments.begin(), "report");
    for (const std::string& more : {std::string("--db"), database(), std::string("-o"), file})
      arguments.push_back(more);
    const Outcome made = topspin(arguments);
    ASSERT_EQ(made.exit_code, 0) << made.err;
    browser_->open_file(file);
  }
  static Json json_report(const std::string& run) {
    const Outcome made = topspin({"report", run, "--db", database(), "--format", "json"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return Json::parse(made.out);
  }

  static std::optional<std::string> program_;
  static std::unique_ptr<Chromium> browser_;
  static std::unique_ptr<TempDir> database_;
  static std::string a_, b_;
  TempDir dir_;
};
std::optional<std::string> PageInBrowser::program_;
std::unique_ptr<Chromium> PageInBrowser::browser_;
std::unique_ptr<TempDir> PageInBrowser::database_;
std::string PageInBrowser::a_, PageInBrowser::b_;

const char* const kAllData =
    "Array.from(document.querySelectorAll('data[data-path]'), d => "
    "({path: d.dataset.path, run: Number(d.dataset.run || 0), value: Number(d.value), "
    "text: d.textContent}))";

Json at_path(Json json, const std::string& path) {
  for (size_t from = 0; from < path.size();) {
    const size_t end = std::min(path.find('.', from), path.size());
    json = json.at(path.substr(from, end - from));
    from = end + 1;
  }
  return json;
}

TEST_F(PageInBrowser, SaysWhatTheJsonReportSays) {
  open_report({a_});
  const Json json = json_report(a_);
  size_t compared = 0;
  for (const Json& datum : browser_->evaluate(kAllData)) {
    const std::string path = datum["path"];
    if (path.empty()) continue;
    EXPECT_EQ(datum["value"].get<double>(), at_path(json, path).get<double>()) << path;
    EXPECT_FALSE(datum["text"].get<std::string>().empty()) << path;
    ++compared;
  }
  EXPECT_GE(compared, 15u);

  // The plots show what was measured, tick by tick.
  const auto plotted = [&](const std::string& figure, const std::string& curve) {
    return browser_->evaluate("topspinPage.plots." + figure +
                              ".data[1 + topspinPage.data.figures.find("
                              "f => f.id === '" +
                              figure + "').lines.findIndex(l => l.curve === '" + curve + "')]");
  };
  Json active = Json::array(), reply = Json::array(), rss = Json::array(), times = Json::array();
  for (const Json& tick : json["ticks"]) {
    times.push_back(tick["elapsed_ns"].get<double>() / 1e9);
    active.push_back(tick["active_flows"]);
    reply.push_back(tick["reply_latency_ns"]["p99"]);
    rss.push_back(tick["rss_bytes"]);
  }
  EXPECT_EQ(browser_->evaluate("topspinPage.plots.flows.data[0]"), times);
  EXPECT_EQ(plotted("flows", "active_flows"), active);
  EXPECT_EQ(plotted("reply", "reply_latency_ns_p99"), reply);
  EXPECT_EQ(plotted("memory", "rss_bytes"), rss);

  // The heat map holds every sample.
  EXPECT_EQ(
      browser_->evaluate("topspinPage.data.heats.find(h => h.id === 'heat-reply_latency_ns-0')"
                         ".cells.filter((_, i) => i % 3 === 2).reduce((a, b) => a + b)"),
      json["summary"]["reply_latency_ns"]["count"]);
  EXPECT_EQ(browser_->evaluate("document.getElementById('verdict').dataset.verdict"), "Usable");
}

TEST_F(PageInBrowser, HostileNamesAreTextAndNothingElse) {
  open_report({a_});
  EXPECT_NE(browser_->evaluate("document.title"), "owned");
  EXPECT_EQ(
      browser_->evaluate("document.querySelectorAll('img, [onload], [onerror], iframe').length"),
      0);
  EXPECT_EQ(browser_->evaluate("document.scripts.length"), 3);  // data, uPlot, page.js
  const std::string name = browser_->evaluate("document.querySelector('h1').textContent");
  EXPECT_NE(name.find("</script><script>document.title='owned'"), std::string::npos) << name;
  EXPECT_EQ(browser_->evaluate("document.querySelector('#threads tbody th').textContent"),
            kHostile.substr(0, 15));
  // The policy is in force: a script that was not in the page does not run.
  EXPECT_EQ(browser_->evaluate("(() => { const s = document.createElement('script'); "
                               "s.textContent = 'window.ran = 1'; document.body.append(s); "
                               "return window.ran === undefined; })()"),
            true);
  open_report({a_});  // clears the complaint about that script
}

const char* const kScales = "topspinPage.timePlots.map(p => [p.scales.x.min, p.scales.x.max])";

TEST_F(PageInBrowser, OnePlotZoomsAllPlotsZoom) {
  open_report({a_});
  const Json before = browser_->evaluate(kScales);
  ASSERT_GE(before.size(), 10u);
  for (const Json& scale : before) EXPECT_EQ(scale, Json::parse("[0, 60]"));

  const Json box = browser_->evaluate(
      "(() => { const o = topspinPage.plots.reply.over; o.scrollIntoView({block: 'center'}); "
      "const r = o.getBoundingClientRect().toJSON(); return [r.left, r.top, r.width, r.height]; "
      "})()");
  const double left = box[0], top = box[1], width = box[2], height = box[3];
  browser_->drag(left + width / 4, top + height / 2, left + width / 2, top + height / 2);
  const Json zoomed = browser_->evaluate(kScales);
  EXPECT_NEAR(zoomed[0][0].get<double>(), 15, 0.5);
  EXPECT_NEAR(zoomed[0][1].get<double>(), 30, 0.5);
  for (const Json& scale : zoomed) EXPECT_EQ(scale, zoomed[0]);
  EXPECT_NE(browser_->evaluate("document.getElementById('zoom-span').textContent")
                .get<std::string>()
                .find(" to "),
            std::string::npos);

  // The cursor is shared: all plots show the moment under the mouse.
  browser_->mouse("mouseMoved", left + width / 3, top + height / 2, 0);
  browser_->evaluate("new Promise(done => setTimeout(done, 100))");
  const Json moments =
      browser_->evaluate("topspinPage.timePlots.map(p => p.posToVal(p.cursor.left, 'x'))");
  for (const Json& moment : moments) EXPECT_NEAR(moment.get<double>(), 20, 0.5);
  EXPECT_EQ(browser_->evaluate(
                "document.querySelectorAll('#figure-reply .legend b')[0].textContent !== ''"),
            true);

  browser_->evaluate("document.getElementById('zoom-reset').click()");
  EXPECT_EQ(browser_->evaluate(kScales), before);
}

TEST_F(PageInBrowser, TheKeyboardReachesAndZoomsThePlots) {
  open_report({a_});
  browser_->evaluate("document.querySelector('.plot[data-plot=cpu]').focus()");
  browser_->key("ArrowRight");
  browser_->key("ArrowRight");
  EXPECT_EQ(browser_->evaluate("topspinPage.plots.cpu.cursor.idx"), 1);
  EXPECT_NE(browser_->evaluate("document.querySelector('#figure-cpu .legend b').textContent"), "");
  browser_->key("+", "+");
  const Json zoomed = browser_->evaluate(kScales);
  EXPECT_LT(zoomed[0][1].get<double>(), 60);
  for (const Json& scale : zoomed) EXPECT_EQ(scale, zoomed[0]);
  browser_->key("0", "0");
  EXPECT_EQ(browser_->evaluate(kScales)[0], Json::parse("[0, 60]"));
}

TEST_F(PageInBrowser, AAndBLieOverEachOther) {
  open_report({a_, b_});
  // The tiles of a comparison belong to both runs and have no path. Every other number must be the
  // one that the JSON report of its run has.
  const Json json[] = {json_report(a_), json_report(b_)};
  for (const Json& datum : browser_->evaluate(kAllData)) {
    const std::string path = datum["path"];
    if (path.empty() || path.starts_with("losses")) continue;
    EXPECT_EQ(datum["value"].get<double>(),
              at_path(json[datum["run"].get<size_t>()], path).get<double>())
        << path;
  }
  EXPECT_EQ(browser_->evaluate(
                "topspinPage.data.figures.find(f => f.id === 'memory').lines.map(l => l.label)"),
            Json::parse(R"(["A resident", "B resident"])"));
  EXPECT_EQ(browser_->evaluate("topspinPage.plots.memory.data.length"), 3);
}

TEST_F(PageInBrowser, TheHistoryMarksItsChange) {
  const std::string path = dir_.file("history.db");
  for (int i = 0; i < 16; ++i) {
    store_report_run(path, {.name = "h",
                            .started_wall_ns = (1'700'000'000 + i * 1000) * kSecond,
                            .ticks = 6,
                            .slow = i < 8 ? 1 + 0.001 * (i % 3) : 1.4 + 0.001 * (i % 3)});
  }
  const Outcome made = topspin({"report", "side=a", "--db", path, "-o", dir_.file("history.html")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  browser_->open_file(dir_.file("history.html"));
  EXPECT_EQ(browser_->evaluate("document.getElementById('verdict').dataset.verdict"), "Fail");
  const Json cpu = browser_->evaluate("topspinPage.data.history.find(h => h.changes.length > 0)");
  ASSERT_TRUE(cpu.is_object());
  EXPECT_EQ(cpu["values"].size(), 16u);
  EXPECT_EQ(cpu["changes"][0]["index"], 8);
  EXPECT_EQ(cpu["changes"][0]["worse"], true);
}

/// Each place for a plot has one, on the pages of one run, of A and B, and of a history.
TEST_F(PageInBrowser, NoPlaceForAPlotIsEmpty) {
  for (const std::vector<std::string>& runs :
       {std::vector<std::string>{a_}, {a_, b_}, {a_, b_, "last"}}) {
    open_report(runs);
    EXPECT_EQ(
        browser_->evaluate("Array.from(document.querySelectorAll('.plot'))"
                           ".filter(p => !p.querySelector('canvas')).map(p => p.dataset.plot)"),
        Json::array());
  }
}

/// Decodes base64 up to the first character that is not a digit of it. Enough for pictures.
std::string decode_base64(const std::string& text) {
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (const char c : text) {
    const size_t digit = alphabet.find(c);
    if (digit == std::string::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return bytes;
}

/// Plots are drawn before the layout on paper is known, but must still fill their places exactly.
TEST_F(PageInBrowser, OnPaperEachPlotIsAsWideAsItsPlace) {
  open_report({a_, b_});
  browser_->view(1100, 900, false);  // another width than the plots were first drawn for
  browser_->view(700, 900, false);
  browser_->paper(true);
  const Json places = browser_->evaluate(
      "Array.from(document.querySelectorAll('.plot canvas'), c => ({"
      "  canvas: c.getBoundingClientRect().toJSON(), place: "
      "c.closest('.plot').getBoundingClientRect().toJSON()}))");
  EXPECT_GE(places.size(), 10u);
  for (const Json& at : places) {
    EXPECT_NEAR(at["canvas"]["width"].get<double>(), at["place"]["width"].get<double>(), 1);
    EXPECT_NEAR(at["canvas"]["height"].get<double>(), at["place"]["height"].get<double>(), 1)
        << "nothing lies over what follows";
  }
  browser_->paper(false);
}

/// What is folded on the screen would be missing there.
TEST_F(PageInBrowser, OnPaperFindingsAreUnfolded) {
  open_report({a_});
  const std::string findings = "document.querySelectorAll('.causes details')";
  const auto open = [&] {
    return browser_->evaluate("Array.from(" + findings + ", finding => finding.open)");
  };
  browser_->evaluate("for (const finding of " + findings + ") finding.open = false");
  ASSERT_GE(open().size(), 1u);
  for (const Json& is_open : open()) EXPECT_EQ(is_open, false);
  browser_->paper(true);
  for (const Json& is_open : open()) EXPECT_EQ(is_open, true);
  // Without the script, their sentences are there.
  browser_->evaluate("for (const finding of " + findings + ") finding.open = false");
  for (const Json& height : browser_->evaluate(
           "Array.from(" + findings + ", finding => finding.getBoundingClientRect().height)"))
    EXPECT_GT(height.get<double>(), 0);
  browser_->evaluate("for (const finding of " + findings + ") finding.open = true");
  browser_->paper(false);
  for (const Json& is_open : open()) EXPECT_EQ(is_open, false) << "as before";
}

/// Perfetto reads its traces with the browser's JSON parser, and so does this test.
TEST_F(PageInBrowser, ReadsThePerfettoTrace) {
  const std::string file = dir_.file("trace.json");
  const Outcome made =
      topspin({"export", a_, "--db", database(), "--format", "perfetto", "-o", file});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  browser_->open_file(file);
  EXPECT_EQ(browser_->evaluate("document.contentType"), "application/json");
  const Json counts = browser_->evaluate(
      "(() => { const phases = {};"
      "for (const e of JSON.parse(document.body.textContent).traceEvents) {"
      "  if (e.ph !== 'M' && !(e.ts >= 0)) throw new Error('no time: ' + JSON.stringify(e));"
      "  phases[e.ph] = (phases[e.ph] || 0) + 1; }"
      "return phases; })()");
  EXPECT_GE(counts["C"], 100) << "counters, tick by tick";
  EXPECT_GE(counts["X"], 1) << "threads";
  EXPECT_GE(counts["M"], 2) << "names";
}

/// A run of 40 ticks. Tick 20 has slow replies of 30 to 34 ms, and tick 30 has one of 90 ms. The
/// first ten ticks have none, and all others have one of 2 ms.
std::string store_run_with_slow_replies(const std::string& path) {
  const RunInfo info = report_run("server", 1'700'000'000 * kSecond);
  auto writer = create(path, info);
  for (uint64_t tick = 1; tick <= 40; ++tick) {
    Sample sample = report_tick(tick, "server");
    const auto slow = [&](uint64_t ms, int32_t tid) {
      SlowReply reply;
      reply.tick = tick;
      reply.protocol = kProtocolUdp;
      reply.local = {{127, 0, 0, 1}, 8888};
      reply.remote = {{127, 0, 0, 1}, 40'001};
      reply.reader_tid = reply.sender_tid = tid;
      reply.sender = kHostile.substr(0, 15);
      reply.total_ns = ms * 1'000'000;
      reply.ready_ns =
          info.started_monotonic_ns + static_cast<int64_t>(tick) * kSecond - kSecond / 2;
      reply.parts[static_cast<size_t>(ReplyPart::kFutex)] = reply.total_ns - 1'000'000;
      reply.parts[static_cast<size_t>(ReplyPart::kOnCpu)] = 1'000'000;
      sample.slowest_replies.push_back(reply);
    };
    if (tick == 20)
      for (int32_t i = 0; i < 5; ++i) slow(34 - static_cast<uint64_t>(i), 700 + i);
    else if (tick == 30)
      slow(90, 800);
    else if (tick > 10)
      slow(2, 900);
    EXPECT_OK(writer->append(sample));
  }
  RunEnd end;
  end.duration_ns = 40 * kSecond;
  EXPECT_OK(writer->finish(end));
  return info.id;
}

TEST_F(PageInBrowser, FromAMomentAndFromABucketOneGetsToItsSlowReplies) {
  const std::string path = dir_.file("slow.db");
  const std::string run = store_run_with_slow_replies(path);
  const std::string file = dir_.file("slow.html");
  ASSERT_EQ(topspin({"report", run, "--db", path, "-o", file}).exit_code, 0);
  browser_->open_file(file);
  const std::string panel = "document.querySelector('.slow-panel')";
  const auto heading = [&] {
    return browser_->evaluate(panel + ".querySelector('h3').textContent").get<std::string>();
  };
  const auto rows = [&] {
    return browser_->evaluate(
        "[...document.querySelectorAll('.slow-panel tbody tr')].map(r => "
        "[...r.children].map(c => c.textContent))");
  };
  const auto click = [&](const std::string& plot, const std::string& x, const std::string& y) {
    const Json at =
        browser_->evaluate("(() => { const u = topspinPage.plots['" + plot +
                           "']; u.over.scrollIntoView({block: 'start'}); scrollBy(0, -80); "
                           "const r = u.over.getBoundingClientRect(); "
                           "return [r.left + u.valToPos(" +
                           x + ", 'x'), r.top + " + y + "]; })()");
    browser_->mouse("mouseMoved", at[0], at[1], 0);
    browser_->evaluate("new Promise(done => setTimeout(done, 60))");
    browser_->mouse("mousePressed", at[0], at[1], 1);
    browser_->mouse("mouseReleased", at[0], at[1], 0);
  };

  click("reply", "20", "40");
  EXPECT_EQ(heading(), "Slow replies, 19\u202fs to 20\u202fs");
  const Json at_20 = rows();
  ASSERT_EQ(at_20.size(), 5u);
  EXPECT_EQ(at_20[0][1], "34.0\u202fms") << "the slowest first";
  EXPECT_NE(at_20[0][2].get<std::string>().find("33.0\u202fms"), std::string::npos);
  EXPECT_EQ(at_20[0][3], "udp 127.0.0.1:8888");
  EXPECT_NE(at_20[0][5].get<std::string>().find("</script><scrip"), std::string::npos);
  EXPECT_EQ(browser_->evaluate("document.querySelectorAll('img').length"), 0);

  // No slow reply was kept in the first ten ticks, and the page says so.
  browser_->evaluate(panel + ".querySelector('button').click()");
  EXPECT_EQ(browser_->evaluate(panel), Json());
  click("reply", "5", "40");
  EXPECT_EQ(rows(), Json::array());
  EXPECT_NE(
      browser_->evaluate(panel + ".textContent").get<std::string>().find("None was kept here"),
      std::string::npos);

  // The panel opens and closes by keyboard too.
  browser_->key("Escape");
  browser_->evaluate("document.querySelector('.plot[data-plot=reply]').focus()");
  browser_->key("Escape");
  EXPECT_EQ(browser_->evaluate(panel), Json());
  browser_->evaluate(
      "topspinPage.plots.reply.setCursor({left: topspinPage.plots.reply.valToPos(30, "
      "'x'), top: 1}, true)");
  browser_->key("Enter");
  ASSERT_EQ(rows().size(), 1u);
  EXPECT_EQ(rows()[0][1], "90.0\u202fms");
  EXPECT_EQ(browser_->evaluate("document.activeElement.tagName"), "H3");
  browser_->key("Escape");
  EXPECT_EQ(browser_->evaluate("document.activeElement.dataset.plot"), "reply");

  // A cell of the heat map: the replies between 2^24.75 and 2^25 ns (28 to 33.6 ms) at that moment.
  click("heat-reply_latency_ns-0", "19.5", "u.valToPos(31e6, 'y')");
  EXPECT_EQ(rows().size(), 4u) << heading() << rows();
  browser_->evaluate(panel + ".querySelector('button').click()");

  // A bucket of the plot of percentiles: the end of the line of replies has the slowest one.
  browser_->evaluate("document.querySelector('.plot[data-plot=percentiles]').focus()");
  browser_->evaluate(
      "(() => { const u = topspinPage.plots.percentiles, l = topspinPage.data.percentiles[0].lines"
      ".find(l => l.latency === 'reply_latency_ns'); "
      "u.setCursor({left: u.valToPos(l.at[l.at.length - 1], 'x'), top: 1}, true); })()");
  browser_->key("Enter");
  EXPECT_EQ(heading().substr(0, 13), "Slow replies,") << heading();
  if (const char* screens = std::getenv("TOPSPIN_SCREENS")) {
    click("reply", "20", "40");
    std::ofstream(std::string(screens) + "/slow-replies.png", std::ios::binary)
        << decode_base64(browser_->screenshot());
  }
}

/// A run with stacks of a server that parses, copies and sleeps. `parse` is the number of samples
/// per tick in scan_token, which parse calls; `extra` names another function.
std::string store_run_with_stacks(const std::string& path, int64_t started_s, uint64_t parse,
                                  const std::string& extra) {
  RunInfo info = report_run("server", started_s * kSecond);
  info.settings.stack_samples_per_second = 99;
  auto writer = create(path, info);
  for (uint64_t tick = 1; tick <= 4; ++tick) {
    Sample sample = report_tick(tick, "server");
    const std::string loop = "_start;main;event_loop;";
    sample.changed_stacks = {
        {1, "server", loop + "on_request;parse;scan_token", parse * tick},
        {2, "server", loop + "on_request;parse", 40 * tick},
        {3, "server", loop + "on_request;render;memcpy", 90 * tick},
        {4, "server",
         loop + "on_request;send;entry_SYSCALL_64_[k];__x64_sys_sendto_[k];udp_sendmsg_[k]",
         200 * tick},
        {5, "server", loop + "epoll_wait;entry_SYSCALL_64_[k];do_epoll_wait_[k]", 70 * tick},
        {6, "gc", "_start;collector;mark", 120 * tick},
        {7, "gc", "_start;collector;sweep", 50 * tick},
        {8, "server", loop + "on_request;" + extra, 60 * tick}};
    sample.changed_sleep_stacks = {
        {1, "server", loop + "epoll_wait;schedule_[k]", BlockedBy::kPoll, "[interrupt]", 900 * tick,
         700'000'000 * tick},
        {2, "server", loop + "on_request;lock;futex_wait_[k]", BlockedBy::kFutex, "gc", 40 * tick,
         parse * 1'000'000 * tick},
        {3, "", std::string(kShortSleeps), BlockedBy::kPoll, "", 4'000 * tick, 20'000'000 * tick}};
    EXPECT_OK(writer->append(sample));
  }
  RunEnd end;
  end.duration_ns = 4 * kSecond;
  EXPECT_OK(writer->finish(end));
  return info.id;
}

TEST_F(PageInBrowser, AFlameGraphZoomsSearchesAndIsReachedByKeyboard) {
  const std::string path = dir_.file("stacks.db");
  const std::string run = store_run_with_stacks(path, 1'700'000'000, 100, kHostile);
  const std::string file = dir_.file("flame.html");
  ASSERT_EQ(topspin({"report", run, "--db", path, "-o", file}).exit_code, 0);
  browser_->open_file(file);
  const std::string cpu = "topspinPage.flames['flame-cpu']";
  EXPECT_EQ(browser_->evaluate(cpu + ".frames[0].weight[0]"), 730 * 4);
  // A hostile name is only text.
  EXPECT_NE(browser_->evaluate("document.title"), "owned");
  EXPECT_EQ(browser_->evaluate("document.querySelectorAll('img').length"), 0);

  const std::string box = "document.querySelector('.plot[data-plot=flame-cpu] .flame-box')";
  const std::string said =
      "document.querySelector('.plot[data-plot=flame-cpu] .flame-said').textContent";
  browser_->evaluate(box + ".focus()");
  browser_->key("ArrowDown");  // selects "all"
  for (int i = 0; i < 4; ++i) browser_->key("ArrowDown");
  EXPECT_EQ(browser_->evaluate(cpu + ".state().current"), "event_loop") << "the widest, each time";
  EXPECT_EQ(browser_->evaluate(said).get<std::string>().substr(0, 11), "event_loop:");
  browser_->key("Enter");
  EXPECT_EQ(browser_->evaluate(cpu + ".state().zoomed"), "event_loop");
  const std::string width = "(n => " + cpu + ".box(" + cpu + ".frames.find(f => f.name === n)).w)";
  EXPECT_EQ(browser_->evaluate(width + "('event_loop')"), browser_->evaluate(width + "('main')"));
  browser_->key("Escape");
  EXPECT_EQ(browser_->evaluate(cpu + ".state().zoomed"), "all");
  EXPECT_LT(browser_->evaluate(width + "('event_loop')").get<double>(),
            browser_->evaluate(width + "('all')").get<double>());

  browser_->key("/", "/");
  for (const char* letter : {"p", "a", "r", "s", "e"}) browser_->key(letter, letter);
  // parse with scan_token, which it calls: 140 of 730 samples.
  EXPECT_EQ(browser_->evaluate(cpu + ".state().found"), "1 box, 19.2\u202f%");
  browser_->key("Enter");
  EXPECT_EQ(browser_->evaluate(cpu + ".state().current"), "parse");
  browser_->key("Escape");
  EXPECT_EQ(browser_->evaluate(cpu + ".state().found"), "");

  // The function under the mouse is named, and a click zooms to it.
  const Json at = browser_->evaluate(
      "(() => { const f = " + cpu + "; const c = " + box +
      ".querySelector('canvas'); "
      "c.scrollIntoView({block: 'center'}); const r = c.getBoundingClientRect(); "
      "const b = f.box(f.frames.find(x => x.name === 'collector')); "
      "return [r.left + b.x + b.w / 2, r.top + 19 * b.frame.depth + 9]; })()");
  browser_->mouse("mouseMoved", at[0], at[1], 0);
  EXPECT_NE(browser_->evaluate("document.querySelector('.flame-tip:not([hidden])').textContent")
                .get<std::string>()
                .find("collector23.3\u202f% (680 samples)"),
            std::string::npos);
  browser_->mouse("mousePressed", at[0], at[1], 1);
  browser_->mouse("mouseReleased", at[0], at[1], 0);
  EXPECT_EQ(browser_->evaluate(cpu + ".state().zoomed"), "collector");
  EXPECT_EQ(browser_->evaluate("topspinPage.flames['flame-sleep'].frames[0].weight[0]"),
            4 * 820'000'000.0);
}

TEST_F(PageInBrowser, ADifferentialFlameGraphShowsWhatGrewAndWhatIsGone) {
  const std::string path = dir_.file("stacks.db");
  const std::string a = store_run_with_stacks(path, 1'700'000'000, 100, "old_cache");
  const std::string b = store_run_with_stacks(path, 1'700'001'000, 300, "new_cache");
  const std::string file = dir_.file("difference.html");
  ASSERT_EQ(topspin({"report", a, b, "--db", path, "-o", file}).exit_code, 0);
  const std::string cpu = "topspinPage.flames['flame-cpu']";
  const auto change = [&](const std::string& name) {
    return browser_->evaluate(cpu + ".frames.find(f => f.name === '" + name + "').change")
        .get<double>();
  };
  browser_->open_file(file);
  EXPECT_GT(change("scan_token"), 0.9) << "300 of 930 against 100 of 730";
  EXPECT_EQ(change("new_cache"), 1);
  EXPECT_EQ(change("old_cache"), -1);
  EXPECT_EQ(change("all"), 0);
  // A function that only A has takes no width by B's shares, but does by A's.
  const std::string old_box = cpu + ".box(" + cpu + ".frames.find(f => f.name === 'old_cache'))";
  EXPECT_EQ(browser_->evaluate(old_box + " === undefined"), true);
  browser_->evaluate("document.querySelector('#figure-flame-cpu .flame-sides button').click()");
  EXPECT_GT(browser_->evaluate(old_box + ".w").get<double>(), 20);
  browser_->evaluate(cpu + ".select(" + cpu + ".frames.find(f => f.name === 'old_cache'))");
  EXPECT_EQ(browser_->evaluate(cpu + ".state().said"),
            "old_cache: B 0.00\u202f%, A 8.22\u202f%: \u22128.22 points, gone in B");

  const char* screens = std::getenv("TOPSPIN_SCREENS");
  if (const char* own = std::getenv("TOPSPIN_SCREENS_DB")) {
    ASSERT_EQ(topspin({"report", "side=a", "side=b", "--db", own, "-o", file}).exit_code, 0);
  }
  struct Shot {
    const char* name;
    int width, height;
    bool dark;
  };
  for (const Shot& shot :
       {Shot{"flame-light", 1180, 900, false}, Shot{"flame-dark", 1180, 900, true},
        Shot{"flame-narrow", 400, 800, false}}) {
    browser_->view(shot.width, shot.height, shot.dark);
    browser_->open_file(file);
    browser_->evaluate("document.getElementById('flames').scrollIntoView()");
    EXPECT_LE(browser_->evaluate("document.documentElement.scrollWidth").get<int>(), shot.width);
    const std::string png = decode_base64(browser_->screenshot());
    if (screens != nullptr)
      std::ofstream(std::string(screens) + "/" + shot.name + ".png", std::ios::binary) << png;
  }
}

/// The background colour shows whether the page is light or dark.
TEST_F(PageInBrowser, LightDarkNarrowAndOnPaper) {
  const char* own = std::getenv("TOPSPIN_SCREENS_DB");
  const std::string file = dir_.file("screen.html");
  const Outcome made = topspin({"report", own != nullptr ? "last" : a_, "--db",
                                own != nullptr ? own : database(), "-o", file});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  struct Shot {
    const char* name;
    int width, height;
    bool dark;
  };
  for (const Shot& shot :
       {Shot{"report-light", 1180, 1320, false}, Shot{"report-dark", 1180, 1320, true},
        Shot{"report-narrow", 400, 800, false}}) {
    browser_->view(shot.width, shot.height, shot.dark);
    browser_->open_file(file);
    EXPECT_EQ(browser_->evaluate("getComputedStyle(document.body).backgroundColor"),
              shot.dark ? "rgb(19, 22, 26)" : "rgb(255, 255, 255)");
    // Nothing is wider than the page, so it does not scroll sideways.
    EXPECT_LE(browser_->evaluate("document.documentElement.scrollWidth").get<int>(), shot.width)
        << shot.name << ": "
        << browser_->evaluate(
               "[...document.querySelectorAll('main *')].filter(e => "
               "e.getBoundingClientRect().right > innerWidth).slice(0, 5).map(e => e.tagName + '.' "
               "+ "
               "e.className + ' ' + e.textContent.slice(0, 60)).join('; ')");
    const std::string png = decode_base64(browser_->screenshot());
    EXPECT_EQ(png.substr(1, 3), "PNG");
    if (const char* screens = std::getenv("TOPSPIN_SCREENS"))
      std::ofstream(std::string(screens) + "/" + shot.name + ".png", std::ios::binary) << png;
  }
  EXPECT_EQ(decode_base64(browser_->pdf()).substr(0, 5), "%PDF-");
  EXPECT_EQ(browser_->evaluate("document.documentElement.dataset.theme === undefined"), true);
}

}  // namespace
}  // namespace topspin::test
