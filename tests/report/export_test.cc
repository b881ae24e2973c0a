// `topspin export` of runs: each format is read back by a reader that is not ours, with hostile
// text in every place that takes text.
#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>

#include "ci/slo/slo_rule.h"
#include "exported_run.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

/// Every format must show bytes that are not UTF-8 as U+FFFD.
std::string as_unicode(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\xff')
      out += "\xef\xbf\xbd";
    else
      out += c;
  }
  return out;
}

class Export : public testing::Test {
 protected:
  void SetUp() override { id_ = store_hostile_run(db()); }
  std::string db() const { return dir_.file("t.db"); }

  Outcome export_run(std::vector<std::string> more) const {
    more.insert(more.begin(), {"export", "--db", db(), "--format"});
    return topspin(more);
  }
  /// The file that an export wrote.
  std::string exported(std::vector<std::string> more) const {
    const std::string file = dir_.file("out");
    more.insert(more.end(), {"-o", file});
    const Outcome run = export_run(more);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.out, "");
    return file;
  }
  static std::string bytes_of(const std::string& file) {
    std::ostringstream bytes;
    bytes << std::ifstream(file, std::ios::binary).rdbuf();
    return bytes.str();
  }
  TempDir dir_;
  std::string id_;
};

void expect_printable_ascii(const std::string& bytes) {
  for (const char c : bytes)
    ASSERT_TRUE(c == '\n' || (c >= ' ' && c <= '~')) << static_cast<int>(c);
}

TEST_F(Export, JsonIsOneDocumentWithEverything) {
  const std::string file = exported({"json"});
  expect_printable_ascii(bytes_of(file));
  const Json json =
      python("import json,sys; print(json.dumps(json.load(open(sys.argv[1]))))", file);
  EXPECT_EQ(json["schema_version"], 1);
  ASSERT_EQ(json["runs"].size(), 1u);
  const Json& run = json["runs"][0];
  EXPECT_EQ(run["run"]["id"], id_);
  EXPECT_EQ(run["run"]["labels"][as_unicode(hostile("key"))], as_unicode(hostile()));
  EXPECT_EQ(run["run"]["hostname"], as_unicode(hostile("@")));
  EXPECT_EQ(run["run"]["command"][2], as_unicode(hostile("-")));
  EXPECT_EQ(run["run"]["probes"][0]["rung"], "proc");
  ASSERT_EQ(run["ticks"].size(), 2u);
  const Json& tick = run["ticks"][1];
  EXPECT_EQ(tick["active_flows"], 5);
  EXPECT_EQ(tick["active_is_lower_bound"], false);
  EXPECT_EQ(tick["cpu_ns"], 250'000'000);
  EXPECT_EQ(tick["migrations"], nullptr) << "absent is not 0";
  EXPECT_EQ(tick["histograms"]["reply_latency_ns"]["count"], 1000);
  EXPECT_EQ(tick["histograms"]["run_queue_latency_ns"], nullptr);
  uint64_t buckets = 0;
  int64_t last = INT64_MIN;
  for (const Json& bucket : tick["histograms"]["lateness_ns"]["buckets"]) {
    EXPECT_LT(last, bucket[0].get<int64_t>());
    last = bucket[1];
    buckets += bucket[2].get<uint64_t>();
  }
  EXPECT_EQ(buckets, 1000u);
  ASSERT_EQ(run["flows"].size(), 4u);
  EXPECT_EQ(run["flows"][0]["initiator_address"], "127.0.0.2");
  EXPECT_EQ(run["flows"][3]["responder_address"], "fd00::1");
  EXPECT_EQ(run["flows"][3]["responder_port"], 8888);
  EXPECT_EQ(run["threads"][0]["name"], as_unicode(hostile("+")));
  EXPECT_EQ(run["owners"][0]["name"], as_unicode(hostile("\t")));
  EXPECT_EQ(run["stacks"][0]["samples"], 17);
  EXPECT_EQ(run["syscalls"][0]["latency_ns"]["count"], 1);
  EXPECT_EQ(run["called"][0]["address"], "127.0.0.1");
  EXPECT_EQ(run["called"][0]["latency_ns"]["count"], 4);
  EXPECT_EQ(run["events"][0]["text"], as_unicode(hostile("event")));
  ASSERT_EQ(run["loads"].size(), 1u);
  const Json& load = run["loads"][0];
  EXPECT_EQ(load["workload"], "udp-pingpong");
  EXPECT_EQ(load["target"], as_unicode(hostile("=")));
  EXPECT_EQ(load["http_statuses"]["200"], 98);
  EXPECT_EQ(load["tcp_connected"], nullptr) << "absent is not 0";
  EXPECT_EQ(load["send_errors"][as_unicode(hostile("@errno"))], 1);
  EXPECT_EQ(load["invalid_reasons"][0], as_unicode(hostile("-late")));
  ASSERT_EQ(run["load_parts"].size(), 2u) << "the whole and its stage";
  EXPECT_EQ(run["load_parts"][0]["position"], 0);
  EXPECT_EQ(run["load_parts"][1]["name"], as_unicode(hostile("+stage")));
  EXPECT_EQ(run["load_parts"][1]["lost"], 2);
  EXPECT_EQ(run["load_parts"][1]["latency_intended_ns"]["count"], 98);
}

/// Prints {"tables": how many there are, "missing": the columns that the exported document does not
/// show, "numbers": the integer columns of ticks and of a load's parts}.
constexpr const char* kUnreachableColumns = R"(
import json, sqlite3, sys, os
home = sys.argv[1]
runs = json.load(open(os.path.join(home, 'out')))['runs']
keys = lambda objects: {key for one in objects for key in one}
of_list = lambda name: keys(row for run in runs for row in run[name])
ticks = [tick for run in runs for tick in run['ticks']]
run_keys = keys(run['run'] for run in runs)
lists = ('thread', 'flow', 'thread_tick', 'late_message', 'owner', 'socket', 'syscall', 'cpu_holder', 'stack', 'sleep_stack',
         'stage', 'load', 'load_part', 'event')
shown = {name: of_list(name + 's') for name in lists}
shown |= {
    'called': of_list('called'), 'slow_reply': of_list('slow_replies'),
    'busy_stretch': of_list('busy_stretches'),
    'run': run_keys, 'tick': keys(ticks), 'plan': keys([runs[1]['run']['plan']]),
    'cpu_tick': keys(cpu for tick in ticks for cpu in tick['cpus']),
    'probe': keys(probe for run in runs for probe in run['run']['probes'])}
# Tables that are a map or a list of their table's rows: by name, by position, by tick.
inside = {'label': ('labels', run_keys), 'argument': ('command', run_keys),
          'invalid_reason': ('invalid_reasons', run_keys), 'doubt': ('doubts', run_keys),
          'load_count': ('send_errors', shown['load']),
          'load_distribution': ('tls_handshake_ns', shown['load']),
          'load_invalid_reason': ('invalid_reasons', shown['load']),
          'histogram': ('histograms', shown['tick']),
          'counter': ('counter_instructions', shown['tick']),
          'busy_stretch_stack': ('stacks', shown['busy_stretch'])}
# Another name there. A moment's tick and thread are its end and the thread's own number.
same = {'connect_latency': 'connect_latency_ns', 'latency_intended': 'latency_intended_ns',
        'latency_actual': 'latency_actual_ns', 'own_lateness': 'own_lateness_ns',
        'latency': 'latency_ns', 'run_queue_wait_histogram': 'run_queue_wait_ns',
        'on_cpu_histogram': 'on_cpu_ns', 'thread_tick.tick': 'elapsed_ns',
        'thread_tick.thread': 'tid', 'late_message.tick': 'time_ns', 'cpu_tick.tick': 'cpu'}
# Keys of rows, and who writes a run that is not over.
own = ('run', 'position', 'row', 'writer_')
# The gate's own, which gate --format json shows; and what the ticks add up to.
elsewhere = ('judgement', 'acceptance', 'total')
# The later values of columns of flows, until they are in their rows.
elsewhere += ('flow_change',)
db = sqlite3.connect('file:' + home + '/t.db?mode=ro', uri=True)
tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
missing, numbers = [], []
for table in tables:
    if table.startswith(('sqlite', *elsewhere)): continue
    if table in inside and inside[table][0] in inside[table][1]: continue
    for (_, column, kind, *_) in db.execute('PRAGMA table_info(' + table + ')'):
        keys_of_it = shown.get(table, set())
        name = same.get(table + '.' + column, same.get(column, column))
        if table in ('tick', 'load_part') and kind == 'INTEGER': numbers.append(column)
        if not column.startswith(own) and not {name, column} & keys_of_it:
            missing.append(table + '.' + column)
print(json.dumps({'tables': len(tables), 'missing': missing, 'numbers': numbers}))
)";

/// Everything that is stored can be reached: each column of each table is in the exported document,
/// named as in the database, and rules can name each number of a tick and of a load's part.
TEST_F(Export, EveryColumnOfTheDatabaseIsInADocumentAndEachNumberInRules) {
  // Has what the run of the other tests lacks.
  RunInfo info;
  info.id = make_run_id(kStart + 1);
  info.started_wall_ns = kStart + 1;
  info.settings.window_ns = info.settings.interval_ns = kNanosPerSecond;
  info.plan.emplace();
  auto writer = RunWriter::create(db(), info, {});
  ASSERT_TRUE(writer.ok());
  Sample sample;
  sample.tick = 1;
  sample.interval_ns = sample.elapsed_ns = kNanosPerSecond;
  SocketRow socket;
  socket.cookie = 7;
  socket.protocol = kProtocolTcp;
  sample.changed_sockets.push_back(socket);
  ASSERT_TRUE((*writer)->append(sample).ok());
  ASSERT_TRUE((*writer)->put_stage(0, {"hold", StageKind::kLoad, 0, {}, 1, 1}).ok());
  ASSERT_TRUE((*writer)->finish({}).ok());

  exported({"json", id_, info.id});
  const Json columns = python(kUnreachableColumns, dir_.path().string());
  EXPECT_GT(columns["tables"], 20);
  EXPECT_EQ(columns["missing"], Json::array());
  const std::set<std::string> no_numbers = {
      "run",        "tick",        "position",       "monotonic_ns",
      "elapsed_ns", "interval_ns", "flows_begin_ns", "flows_end_ns",
      "begin_ns",   "end_ns",      "clients_from",   "clients_to"};
  EXPECT_GT(columns["numbers"].size(), 100u);
  for (const std::string name : columns["numbers"]) {
    if (no_numbers.contains(name)) continue;
    const auto rule = parse_slo(name + (name.ends_with("_ns") ? " >= 0ns" : " >= 0"));
    EXPECT_TRUE(rule.ok()) << (rule.ok() ? "" : rule.error().message);
  }
}

TEST_F(Export, NdjsonIsOneObjectALine) {
  const std::string file = exported({"ndjson"});
  expect_printable_ascii(bytes_of(file));
  const Json lines = python(
      "import json,sys; print(json.dumps([json.loads(l) for l in open(sys.argv[1])]))", file);
  std::map<std::string, int> types;
  for (const Json& line : lines) {
    EXPECT_EQ(line["schema_version"], 1);
    EXPECT_EQ(line["run"], id_);
    ++types[line["type"]];
  }
  EXPECT_EQ(types, (std::map<std::string, int>{{"run", 1},
                                               {"tick", 2},
                                               {"thread", 1},
                                               {"flow", 4},
                                               {"thread_tick", 1},
                                               {"late_message", 1},
                                               {"owner", 1},
                                               {"syscall", 1},
                                               {"called", 1},
                                               {"slow_reply", 1},
                                               {"cpu_holder", 1},
                                               {"stack", 1},
                                               {"sleep_stack", 1},
                                               {"busy_stretch", 1},
                                               {"load", 1},
                                               {"load_part", 2},
                                               {"event", 1}}));
}

constexpr const char* kReadCsv =
    "import csv,json,sys\n"
    "with open(sys.argv[1], newline='', encoding='utf-8') as f:\n"
    "  rows = list(csv.reader(f, strict=True))\n"
    "assert all(len(r) == len(rows[0]) for r in rows)\n"
    "print(json.dumps([dict(zip(rows[0], r)) for r in rows[1:]]))";

TEST_F(Export, CsvHasNumbersAsNumbersAndNoFormula) {
  const Json ticks = python(kReadCsv, exported({"csv"}));
  ASSERT_EQ(ticks.size(), 2u);
  EXPECT_EQ(ticks[0]["run"], id_);
  EXPECT_EQ(ticks[1]["active_flows"], "5");
  EXPECT_EQ(ticks[1]["migrations"], "") << "absent is empty";
  EXPECT_EQ(ticks[1]["reply_latency_ns_count"], "1000");
  EXPECT_EQ(ticks[1]["lateness_ns_min"], "-499000000") << "a negative number stays one";
  const Json flows = python(kReadCsv, exported({"csv", "--table", "flows"}));
  ASSERT_EQ(flows.size(), 4u);
  EXPECT_EQ(flows[1]["lateness_last_ns"], "-5");
  EXPECT_EQ(flows[3]["initiator_address"], "fd00::2");

  const auto safe = [](const Json& cell) {
    const std::string text = cell;
    const size_t first = text.find_first_not_of(' ');
    if (first == std::string::npos) return true;
    return std::string("=+-@\t\r\n").find(text[first]) == std::string::npos;
  };
  const std::map<std::string, size_t> rows_of = {
      {"thread_ticks", 1}, {"late_messages", 1}, {"runs", 1},          {"threads", 1},
      {"owners", 1},       {"syscalls", 1},      {"called", 1},        {"cpu_holders", 1},
      {"slow_replies", 1}, {"stacks", 1},        {"events", 1},        {"loads", 1},
      {"load_parts", 2},   {"sleep_stacks", 1},  {"busy_stretches", 1}};
  for (const auto& [table, count] : rows_of) {
    const Json rows = python(kReadCsv, exported({"csv", "--table", table}));
    ASSERT_EQ(rows.size(), count) << table;
    for (const Json& row : rows) {
      for (const auto& [name, cell] : row.items())
        EXPECT_TRUE(safe(cell)) << table << "." << name << ": " << cell;
    }
  }
  const Json parts = python(kReadCsv, exported({"csv", "--table", "load_parts"}));
  EXPECT_EQ(parts[0]["scheduled"], "100");
  EXPECT_EQ(parts[1]["latency_intended_ns_max"], "98000");
  const Json counters = python(kReadCsv, exported({"csv", "--table", "counters"}));
  ASSERT_EQ(counters.size(), 2u) << "one event in two ticks";
  EXPECT_EQ(counters[1]["name"], "instructions");
  EXPECT_EQ(counters[1]["tick"], "2");
  EXPECT_EQ(counters[1]["count"], "2000");
  EXPECT_EQ(counters[1]["running_ns"], "50");
  const Json threads = python(kReadCsv, exported({"csv", "--table", "threads"}));
  EXPECT_TRUE(threads[0]["name"].get<std::string>().starts_with("'+=1+1\"',;\r\n")) << threads;
  const Json runs = python(kReadCsv, exported({"csv", "--table", "runs"}));
  EXPECT_TRUE(runs[0]["hostname"].get<std::string>().starts_with("'@=1+1"));
}

TEST_F(Export, HdrPercentilesGrowTowardsTheMaximum) {
  const Json json = python(
      "import json,re,sys\n"
      "rows, notes = [], {}\n"
      "for i, line in enumerate(open(sys.argv[1])):\n"
      "  if i == 0: assert line.split() == ['Value','Percentile','TotalCount','1/(1-Percentile)']\n"
      "  elif line.startswith('#['): notes.update((k.strip(), float(v)) for k, v in "
      "re.findall(r'([A-Za-z ]+)=\\s*([0-9.]+)', line))\n"
      "  elif line.strip(): rows.append([float(x) for x in line.split()])\n"
      "print(json.dumps({'rows': [r[:3] for r in rows], 'notes': notes}))",
      exported({"hdr"}));
  const Json& rows = json["rows"];
  ASSERT_GT(rows.size(), 20u);
  double value = 0, share = 0;
  for (const Json& row : rows) {
    EXPECT_GE(row[0].get<double>(), value);
    EXPECT_GE(row[1].get<double>(), share);
    value = row[0];
    share = row[1];
    // The values 1 to 1,000 us, twice each: the value at share q is q ms, to within a bucket.
    EXPECT_NEAR(value, share * 1e6, 1e6 / 32 + 1000);
    EXPECT_NEAR(row[2].get<double>(), share * 2000, 0.01);
  }
  EXPECT_EQ(rows.back()[0], 1e6);
  EXPECT_EQ(rows.back()[1], 1.0);
  EXPECT_EQ(json["notes"]["Total count"], 2000);
  EXPECT_EQ(json["notes"]["Max"], 1e6);
  EXPECT_NEAR(json["notes"]["Mean"].get<double>(), 500'500, 1);
  EXPECT_NEAR(json["notes"]["StdDeviation"].get<double>(), 288'675, 3000);
  const Outcome absent = export_run({"hdr", "--histogram", "run_queue_latency_ns"});
  EXPECT_EQ(absent.exit_code, 2);
  EXPECT_THAT(absent.err, HasSubstr("no samples of run_queue_latency_ns"));
}

TEST_F(Export, HdrHasTheLoadsLatencyToo) {
  const std::string text = bytes_of(exported({"hdr", "--histogram", "load_latency_intended_ns"}));
  EXPECT_THAT(text, HasSubstr("Total count    =           98]"));
  EXPECT_THAT(text, HasSubstr("98000.000 1.000000000000"));
}

TEST_F(Export, PerfettoTraceHasCountersThreadsAndLateFlows) {
  const std::string file = exported({"perfetto"});
  expect_printable_ascii(bytes_of(file));
  const Json trace =
      python("import json,sys; print(json.dumps(json.load(open(sys.argv[1]))))", file);
  std::map<std::string, int> phases;
  int tick_slices = 0;
  for (const Json& event : trace["traceEvents"]) {
    ++phases[event["ph"]];
    EXPECT_TRUE(event["pid"].is_number()) << event;
    if (event["ph"] != "M") {
      EXPECT_GE(event["ts"].get<double>(), 0) << event;
      EXPECT_LE(event["ts"].get<double>(), 2e6) << event;
    }
    if (event["ph"] == "i" && event["cat"] == "late") {
      EXPECT_EQ(event["name"], "late: 127.0.0.2:10001");
      EXPECT_EQ(event["args"]["lateness_ns"], 300'000'000);
      EXPECT_EQ(event["ts"], 1.9e6);
    }
    if (event["ph"] == "C" && event["name"] == "active_flows" && event["ts"] == 2e6) {
      EXPECT_EQ(event["args"]["active_flows"], 5);
    }
    if (event["ph"] == "C" && event["name"] == "cpu 3") {
      EXPECT_EQ(event["args"], Json({{"switches", 20}, {"wait_ns", 600}}));
    }
    if (event["ph"] == "X" && event["cat"] == "tick") {
      EXPECT_EQ(event["args"]["cpu_ns"], 9);
      EXPECT_THAT(event["name"].get<std::string>(), testing::StartsWith("on CPU 0.0%"));
      EXPECT_EQ(event["dur"], 1e6);
      ++tick_slices;
    } else if (event["ph"] == "X") {
      EXPECT_EQ(event["name"], as_unicode(hostile("+")));
      EXPECT_EQ(event["args"]["cpu_ns"], 9);
      EXPECT_EQ(event["args"]["on_cpu_ns_count"], 3);
      EXPECT_EQ(event["args"]["on_cpu_ns_max"], 90'000);
      EXPECT_FALSE(event["args"].contains("run_queue_wait_ns_count")) << "absent is left out";
    }
  }
  // The slow reply has two halves in their order, and each half is filled by its parts.
  struct Slice {
    std::string name;
    double begin = 0, end = 0;
    bool operator==(const Slice&) const = default;
  };
  std::vector<Slice> slices;
  std::vector<size_t> open;
  size_t stretches = 0;
  for (const Json& event : trace["traceEvents"]) {
    if (event.value("cat", "") == "busy_stretch") {
      EXPECT_EQ(event["name"], "busy: leaf");
      EXPECT_EQ(event["tid"], 43);
      EXPECT_EQ(event["ts"], event["ph"] == "b" ? 500'000 : 580'000);
      if (event["ph"] == "b") {
        EXPECT_EQ(event["args"]["samples"], 8);
        EXPECT_EQ(event["args"]["most_samples"], 7);
        ++stretches;
      }
      continue;
    }
    if (event["ph"] == "b") {
      EXPECT_EQ(event["id"], "1.1");
      if (open.empty()) {
        EXPECT_EQ(event["args"]["sender_tid"], 8);
        EXPECT_EQ(event["args"]["remote_port"], 40'000);
        EXPECT_EQ(event["args"]["tick"], 1);
      }
      open.push_back(slices.size());
      slices.push_back({event["name"], event["ts"], 0});
    } else if (event["ph"] == "e") {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(event["name"], slices[open.back()].name);
      slices[open.back()].end = event["ts"];
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(stretches, 1u);
  const auto label = [](ReplyPart part) { return std::string(names_of(part).label); };
  EXPECT_EQ(slices, (std::vector<Slice>{{"slow reply", 1'000'000, 1'009'000},
                                        {"unread in the socket", 1'000'000, 1'002'000},
                                        {label(ReplyPart::kUnreadBusy), 1'000'000, 1'002'000},
                                        {"inside", 1'002'000, 1'009'000},
                                        {label(ReplyPart::kOnCpu), 1'002'000, 1'003'000},
                                        {label(ReplyPart::kFutex), 1'003'000, 1'009'000}}));
  EXPECT_EQ(phases["i"], 2) << "one late flow, one event";
  EXPECT_EQ(tick_slices, 1) << "one thread, which ran in one tick";
  EXPECT_EQ(phases["X"], 2);
  EXPECT_EQ(phases["M"], 2);
  EXPECT_GE(phases["C"], 20);
}

TEST_F(Export, ExplainListsTheSlowRepliesOfATimeOrOfALength) {
  const auto kept = [&](std::vector<std::string> options) {
    std::vector<std::string> words = {"explain", id_, "--db", db(), "--format", "json"};
    words.insert(words.end(), options.begin(), options.end());
    const Outcome listed = topspin(words);
    EXPECT_EQ(listed.exit_code, 0) << listed.err;
    return listed.exit_code == 0 ? Json::parse(listed.out) : Json();
  };
  const Json first = kept({"--at", "1s"});
  EXPECT_EQ(first["from_elapsed_ns"], 0);
  EXPECT_EQ(first["to_elapsed_ns"], 1'000'000'000);
  ASSERT_EQ(first["slow_replies"].size(), 1u);
  EXPECT_EQ(first["slow_replies"][0]["total_ns"], 9'000'000);
  EXPECT_EQ(kept({"--at", "1001ms"})["slow_replies"].size(), 0u) << "of the second tick alone";
  const Json both = kept({"--at", "500ms..90s"});
  EXPECT_EQ(both["to_elapsed_ns"], 2'000'000'000);
  EXPECT_EQ(both["slow_replies"].size(), 1u);
  EXPECT_EQ(kept({"--took", "9ms"})["slow_replies"].size(), 1u);
  EXPECT_EQ(kept({"--took", "..9ms"})["slow_replies"].size(), 1u);
  EXPECT_EQ(kept({"--took", "10ms"})["slow_replies"].size(), 0u);
  EXPECT_EQ(kept({"--took", "1ms..8ms", "--at", "1s"})["slow_replies"].size(), 0u);
  const Outcome text = topspin({"explain", id_, "--db", db(), "--at", "0s..1s"});
  EXPECT_NE(text.out.find("1 of them is kept one by one"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("9.00ms"), std::string::npos) << text.out;
  for (const char* wrong : {"90s", "noon", "2s..1s", "..", "-1s"})
    EXPECT_EQ(topspin({"explain", id_, "--db", db(), "--at", wrong}).exit_code, 2) << wrong;
}

TEST_F(Export, FoldedStacksAreALineEach) {
  std::istringstream lines(bytes_of(exported({"folded"})));
  std::string line, more;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_FALSE(std::getline(lines, more));
  const size_t space = line.rfind(' ');
  EXPECT_EQ(line.substr(space + 1), "17");
  EXPECT_TRUE(line.starts_with("st=1+1\"',:")) << line;
  EXPECT_NE(line.find("end;main;frame=1+1"), std::string::npos) << line;
  EXPECT_TRUE(line.substr(0, space).ends_with("end;leaf")) << line;

  std::istringstream within(bytes_of(exported({"folded", "--table", "busy_stretches"})));
  ASSERT_TRUE(std::getline(within, line));
  EXPECT_TRUE(line.ends_with("[no room for the stack] 1")) << line;
  ASSERT_TRUE(std::getline(within, line));
  EXPECT_TRUE(line.ends_with("end;leaf 7")) << line;
  EXPECT_FALSE(std::getline(within, line));
}

/// The Python client's parser refuses what the format forbids: names without their unit or _total,
/// samples of a family apart, buckets out of order or without +Inf, text after # EOF.
TEST_F(Export, OpenMetricsIsConformToTheLetter) {
  const std::string python = python_with("prometheus_client");
  if (python.empty())
    GTEST_SKIP() << "prometheus_client is not installed (package python3-prometheus-client)";
  store_hostile_run(db());
  const Json list = Json::parse(topspin({"list", "--db", db(), "--format", "json"}).out);
  std::vector<std::string> arguments = {"openmetrics"};
  for (const Json& run : list["runs"]) arguments.push_back(run["id"]);
  const Outcome parsed = test::run(
      {python, "-c",
       "import json,sys\n"
       "from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n"
       "text = open(sys.argv[1], newline='', encoding='utf-8').read()\n"
       "print(json.dumps({m.name: [m.type, m.unit, [[s.name, s.labels, s.value] for s in "
       "m.samples]] for m in read(text)}))",
       exported(arguments)});
  ASSERT_EQ(parsed.exit_code, 0) << parsed.err;
  const Json families = Json::parse(parsed.out);
  const auto kind = [&](const char* family) {
    return std::pair<std::string, std::string>(families[family][0], families[family][1]);
  };
  using Kind = std::pair<std::string, std::string>;
  EXPECT_EQ(kind("process_cpu_time_seconds"), Kind("counter", "seconds"));
  EXPECT_EQ(kind("process_memory_usage_bytes"), Kind("gauge", "bytes"));
  EXPECT_EQ(kind("topspin_reply_latency_seconds"), Kind("histogram", "seconds"));
  EXPECT_EQ(kind("topspin_load_latency_intended_seconds"), Kind("histogram", "seconds"));
  EXPECT_EQ(kind("topspin_load_messages"), Kind("counter", ""));
  EXPECT_EQ(kind("topspin_run"), Kind("info", ""));
  const Json& info = families["topspin_run"][2];
  ASSERT_EQ(info.size(), 2u);
  // A label's value has no escape for a carriage return or a tab, so they become spaces.
  std::string hostname = as_unicode(hostile("@"));
  for (char& c : hostname) c = c == '\r' || c == '\t' ? ' ' : c;
  for (const std::string& bad : {std::string("\x1b"), std::string("\xef\xbf\xbe"),
                                 std::string("\xe2\x80\xae"), std::string(1, '\0')}) {
    for (size_t at; (at = hostname.find(bad)) != std::string::npos;)
      hostname.replace(at, bad.size(), "\xef\xbf\xbd");
  }
  EXPECT_EQ(info[0][1]["hostname"], hostname);
  std::map<std::string, double> states;
  for (const Json& sample : families["topspin_load_messages"][2])
    states[sample[1]["state"]] += sample[2].get<double>();
  EXPECT_EQ(states["scheduled"], 200) << "100 of each run";
  EXPECT_EQ(states["lost"], 4);
}

TEST_F(Export, OpenMetricsIsTakenByPrometheus) {
  TOPSPIN_NEEDS_PROGRAM("promtool", "prometheus");
  const std::string file = exported({"openmetrics"});
  EXPECT_TRUE(bytes_of(file).ends_with("\n# EOF\n"));
  const Outcome blocks =
      test::run({"promtool", "tsdb", "create-blocks-from", "openmetrics", file, dir_.file("data")});
  ASSERT_EQ(blocks.exit_code, 0) << blocks.out << blocks.err;
  std::filesystem::create_directory(dir_.file("data") + "/wal");  // dump needs it, even if empty
  // Newer versions also need a directory data/ in the directory in which they are started.
  const Outcome dump = test::run({"promtool", "tsdb", "dump", "data"},
                                 [&] { std::filesystem::current_path(dir_.path()); });
  ASSERT_EQ(dump.exit_code, 0) << dump.err;
  const auto value_of = [&](const std::string& name, const std::string& label) -> std::string {
    std::istringstream lines(dump.out);
    for (std::string line; std::getline(lines, line);) {
      if (line.find("__name__=\"" + name + "\"") != std::string::npos &&
          line.find(label) != std::string::npos) {
        const size_t end = line.rfind('}');
        return line.substr(end + 2, line.rfind(' ') - end - 2);
      }
    }
    return "none";
  };
  EXPECT_EQ(value_of("process_cpu_time_seconds_total", id_), "0.5");
  EXPECT_EQ(value_of("process_memory_usage_bytes", id_), "1.0000002e+07");
  EXPECT_EQ(value_of("process_context_switches_total", "voluntary"), "22");
  EXPECT_EQ(value_of("topspin_packets_total", "initiator"), "180");
  EXPECT_EQ(value_of("topspin_migrations_total", ""), "none") << "absent is left out";
  EXPECT_EQ(value_of("topspin_reply_latency_seconds_count", ""), "2000");
  EXPECT_EQ(value_of("topspin_reply_latency_seconds_sum", ""), "1.001");
  EXPECT_EQ(value_of("topspin_reply_latency_seconds_bucket", "le=\"+Inf\""), "2000");
  // Twice the 262 values from 1 to 262 us. Exact, since it is also the edge of a stored bucket.
  EXPECT_EQ(value_of("topspin_reply_latency_seconds_bucket", "le=\"0.000262143\""), "524");
  // Of lateness from -499 to 500 ms, twice: the values up to -33.6 ms, and up to 134.2 ms.
  EXPECT_EQ(value_of("topspin_lateness_seconds_bucket", "le=\"-0.033554432\""), "932");
  EXPECT_EQ(value_of("topspin_lateness_seconds_bucket", "le=\"0.134217727\""), "1268");
  EXPECT_EQ(value_of("topspin_lateness_seconds_sum", ""), "none");
  EXPECT_EQ(value_of("topspin_losses_total", "late_ticks"), "0");
  EXPECT_NE(value_of("topspin_run_info", "label_side=\"a\""), "none");
}

TEST_F(Export, FamiliesOfSeveralRunsStandTogether) {
  store_hostile_run(db());
  const Outcome list = topspin({"list", "--db", db(), "--format", "json"});
  ASSERT_EQ(list.exit_code, 0) << list.err;
  std::vector<std::string> arguments = {"openmetrics"};
  const Json runs = Json::parse(list.out);
  for (const Json& run : runs["runs"]) arguments.push_back(run["id"]);
  ASSERT_EQ(arguments.size(), 3u);
  std::istringstream lines(bytes_of(exported(arguments)));
  std::set<std::string> seen;
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(seen.insert(family).second) << family << " stands twice";
    } else if (!line.starts_with("#")) {
      EXPECT_TRUE(line.starts_with(family)) << line;
    }
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST_F(Export, WrongUsageIsSaidAndLeavesNoFile) {
  const auto refused = [&](const std::vector<std::string>& arguments, int code,
                           const std::string& part) {
    const Outcome run = export_run(arguments);
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_THAT(run.err, HasSubstr(part));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    EXPECT_EQ(run.out, "");
  };
  refused({"xml"}, 2, "json, ndjson, csv");
  refused({"csv", "--table", "pigs"}, 2, "runs, ticks");
  refused({"json", "--table", "ticks"}, 2, "--table has no effect");
  refused({"json", "--collector", "127.0.0.1:1"}, 2, "--collector has no effect");
  refused({"ipfix", "--collector", "localhost"}, 2, "ADDRESS:PORT");
  refused({"hdr", "--histogram", "pigs"}, 2, "reply_latency_ns");
  EXPECT_EQ(export_run({"hdr", "last", "last"}).exit_code, 0) << "a run that is named twice is one";
  refused({"junit", "last"}, 2, "exports a judgement");
  refused({"junit"}, 2, "no judgement yet");
  refused({"json", "nosuchrun"}, 2, "nosuchrun");
  refused({"json", "-o", dir_.file("no/such/file")}, 5, "cannot write");
  refused({"json", "-o", "/dev/full"}, 5, "cannot write");
  EXPECT_EQ(topspin({"export", "--db", db()}).exit_code, 2);
  // A failed export keeps the old file and leaves no other one.
  std::ofstream(dir_.file("kept")) << "old";
  refused({"hdr", "--histogram", "tcp_handshake_ns", "-o", dir_.file("kept")}, 2, "no samples");
  EXPECT_EQ(bytes_of(dir_.file("kept")), "old");
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
    EXPECT_TRUE(entry.path().filename() == "kept" || entry.path().filename() == "t.db") << entry;
}

}  // namespace
}  // namespace topspin::test
