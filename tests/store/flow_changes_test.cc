// Changes of flows that wait to be written into their rows: whoever reads, whenever, gets each flow
// as it was last stored.
#include "store/flows/flow_changes.h"

#include <map>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/flows/flow_writer.h"
#include "store/runs/merge.h"
#include "store/sql/sql_reader.h"
#include "store/sqlite/columns.h"
#include "store/sqlite/row_values.h"
#include "store/sqlite/sqlite.h"
#include "store_testing.h"
#include "tests/support/every_night.h"

namespace topspin {
namespace {

using ::testing::IsEmpty;
using Random = std::mt19937_64;

/// A number of any size, often a border.
uint64_t any_number(Random& random) {
  switch (random() % 8) {
    case 0: return 0;
    case 1: return INT64_MAX;
    case 2: return uint64_t{1} << 63;
    case 3: return UINT64_MAX;
    default: return random() >> (random() % 64);
  }
}

/// Gives each changing column another value.
void change(FlowRow& flow, Random& random) {
  for_each_changing_flow_column(flow, [&](auto, auto, auto& value) {
    using T = std::decay_t<decltype(value)>;
    const uint64_t number = any_number(random);
    if constexpr (std::is_same_v<T, bool>) {
      value = (number & 1) != 0;
    } else if constexpr (std::is_integral_v<T>) {
      value = static_cast<T>(number);
    } else if (random() % 3 == 0) {
      value.reset();
    } else {
      value = static_cast<typename T::value_type>(number);
    }
  });
}

/// As it comes out of a database, whose integers have a sign.
FlowRow as_stored(FlowRow flow) {
  for_each_changing_flow_column(flow, [](auto, auto, auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, uint64_t>) {
      value = std::min<uint64_t>(value, INT64_MAX);
    } else if constexpr (std::is_same_v<T, std::optional<uint64_t>>) {
      if (value) value = std::min<uint64_t>(*value, INT64_MAX);
    }
  });
  return flow;
}

/// As the reader gives it.
FlowRow as_read(const FlowRow& flow) {
  FlowRow row = as_stored(flow);
  for_each_changing_flow_column(row, [](auto, auto, auto& value) { bound_time(value); });
  return row;
}

std::vector<std::string> listed(const FlowRow& flow) { return Listing::of(flow); }

/// The fields in which they differ.
std::vector<std::string> differences(const FlowRow& a, const FlowRow& b) {
  const auto of_a = listed(a), of_b = listed(b);
  std::vector<std::string> all;
  for (size_t i = 0; i < std::max(of_a.size(), of_b.size()); ++i) {
    const std::string in_a = i < of_a.size() ? of_a[i] : "", in_b = i < of_b.size() ? of_b[i] : "";
    if (in_a != in_b) all.push_back(in_a + " instead of " + in_b);
  }
  return all;
}

TEST(FlowChanges, GiveTheLastChangeOfEachFlow) {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    FlowChanges changes;
    std::map<uint32_t, FlowRow> last;
    for (int blob = 0; blob < 4; ++blob) {
      std::map<uint32_t, FlowRow> some;
      for (int i = 0; i < 20; ++i) {
        const auto number = static_cast<uint32_t>(i == 0 ? std::numeric_limits<uint32_t>::max()
                                                         : random() % (round % 2 == 0 ? 30 : 3000));
        FlowRow& flow = some[number];
        change(flow, random);
        flow.initiator_is_low = random() % 2 == 0;
      }
      std::vector<NumberedFlow> flows;
      for (const auto& [number, flow] : some) flows.push_back({number, &flow});
      ASSERT_TRUE(changes.add(encode_flow_changes(flows)));
      for (const auto& [number, flow] : some) last[number] = flow;
    }
    changes.sort();
    ASSERT_EQ(changes.size(), last.size());
    size_t position = 0;
    for (const auto& [number, flow] : last) {
      EXPECT_EQ(changes.number(position), number);
      FlowRow read;
      ASSERT_TRUE(changes.read(position++, read));
      EXPECT_THAT(differences(read, as_stored(flow)), IsEmpty());
      FlowRow other_end = flow;
      other_end.initiator_is_low = !flow.initiator_is_low;
      other_end.packets = {1, 2};
      const FlowRow before = other_end;
      EXPECT_TRUE(changes.apply(number, other_end));
      EXPECT_THAT(differences(other_end, before), IsEmpty());  // what is stored is newer
    }
  }
}

TEST(FlowChanges, DamagedBytesAreRefused) {
  Random random(2);
  std::vector<FlowRow> flows(5);
  std::vector<NumberedFlow> numbered;
  for (FlowRow& flow : flows) {
    change(flow, random);
    numbered.push_back({static_cast<uint32_t>(numbered.size() * 100), &flow});
  }
  const std::string good = encode_flow_changes(numbered);
  for (size_t size = 0; size < good.size(); ++size) {
    FlowChanges changes;
    EXPECT_FALSE(changes.add(good.substr(0, size))) << size;
    EXPECT_TRUE(changes.empty());
  }
  EXPECT_FALSE(FlowChanges().add(good + '\0'));
  EXPECT_FALSE(FlowChanges().add("\2" + good.substr(1)));
  const std::vector<NumberedFlow> twice = {{7, &flows[0]}, {7, &flows[1]}};
  EXPECT_FALSE(FlowChanges().add(encode_flow_changes(twice)));
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (uint64_t i = 0; i < 1 + random() % 3; ++i)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    FlowChanges changes;
    (void)changes.add(bytes);
    changes.sort();
    FlowRow flow;
    for (size_t i = 0; i < changes.size(); ++i) (void)changes.read(i, flow);
  }
}

/// A run with many flows that change, and what they must be.
class ChangingRun {
 public:
  explicit ChangingRun(const std::string& path, uint32_t seed = 3) : random_(seed) {
    info_.started_wall_ns = 1'700'000'000'000'000'000;
    info_.id = make_run_id(info_.started_wall_ns);
    WriterOptions options;
    options.busy_timeout_ms = 1;
    writer_ = must(RunWriter::create(path, info_, options));
  }

  /// The next tick: all flows that there are not yet, and changes of `changed` others.
  Sample tick(size_t flows, size_t changed) {
    Sample sample = make_tick(++ticks_, flows);
    std::vector<FlowRow> rows = std::move(sample.changed_flows);
    sample.changed_flows.clear();
    std::set<size_t> places;
    while (places.size() < std::min(changed, flows_.size()))
      places.insert(random_() % flows_.size());
    for (const size_t place : places) {
      FlowRow flow = flows_[place + 1];
      if (random_() % 50 == 0) {  // two rows of one flow
        change(flow, random_);
        sample.changed_flows.push_back(flow);
      }
      change(flow, random_);
      if (random_() % 20 == 0) flow.initiator_is_low = !flow.initiator_is_low;
      sample.changed_flows.push_back(flow);
    }
    for (size_t i = flows_.size(); i < flows; ++i) sample.changed_flows.push_back(rows[i]);
    for (const FlowRow& flow : sample.changed_flows) next_[flow.id] = flow;
    return sample;
  }
  void store(size_t flows, size_t changed) {
    EXPECT_OK(writer_->append(tick(flows, changed)));
    accept();
  }
  /// The last tick() was stored.
  void accept() { flows_ = next_; }
  void refuse() { next_ = flows_; }

  void expect_in(RunStore& store) const {
    const auto rows = flows_of(store, info_.id);
    ASSERT_EQ(rows.size(), flows_.size());
    for (const FlowRow& row : rows)
      ASSERT_THAT(differences(row, as_read(flows_.at(row.id))), IsEmpty()) << row.id;
  }
  /// So do those who read with SQL.
  void expect_in_sql(const std::string& path) const {
    const auto reader = must(
        SqlReader::open(path, [](RunStore&, const StoredRun&) { return RunDescription{}; }, {}));
    SqlRefusal refusal;
    const auto rows = reader->ask(
        "SELECT flow, initiator_packets, last_ns, period_ns, run FROM flows ORDER BY flow",
        refusal);
    ASSERT_TRUE(rows) << refusal.error.message;
    std::vector<SqlValue> row;
    for (const auto& [id, wanted] : flows_) {
      ASSERT_TRUE(must(rows->next(row)));
      const FlowRow flow = as_stored(wanted);
      EXPECT_EQ(std::get<int64_t>(row[0]), static_cast<int64_t>(id));
      EXPECT_EQ(std::get<int64_t>(row[1]), static_cast<int64_t>(flow.packets[0]));
      EXPECT_EQ(std::get<int64_t>(row[2]), flow.last_ns);
      EXPECT_EQ(std::holds_alternative<int64_t>(row[3]), flow.period_ns.has_value());
      if (flow.period_ns) EXPECT_EQ(std::get<int64_t>(row[3]), *flow.period_ns);
      EXPECT_EQ(std::get<int64_t>(row[4]), 1);
    }
    EXPECT_FALSE(must(rows->next(row)));
  }

  RunWriter& writer() { return *writer_; }
  void drop_writer() { writer_.reset(); }
  const std::string& id() const { return info_.id; }

 private:
  Random random_;
  RunInfo info_ = make_run();
  std::unique_ptr<RunWriter> writer_;
  uint64_t ticks_ = 0;
  std::map<uint64_t, FlowRow> flows_, next_;
};

int64_t waiting_in(const std::string& path) {
  return must(
      must(Connection::open(path, Access::kRead))->query_int("SELECT count(*) FROM flow_change"));
}

TEST(WaitingChanges, ReadersGetEachFlowAsLastStored) {
  const TemporaryDirectory directory;
  ChangingRun run(directory.file());
  const auto store = open(directory.file());
  constexpr size_t kMany = FlowWriter::kFewChanges + 1;
  run.store(100, 50);
  run.store(100, 100);
  EXPECT_EQ(waiting_in(directory.file()), 0);  // few
  int64_t most = 0;
  for (int round = 0; round < 100; ++round) {
    const bool few = round % 7 == 0;  // but earlier ones wait
    run.store(static_cast<size_t>(600 + 2 * round), few ? 3 : kMany + round % 11);
    most = std::max(most, waiting_in(directory.file()));
    if (round % test::repeats(10, 3) == 0) run.expect_in(*store);
    if (round % test::repeats(39, 13) == 0) run.expect_in_sql(directory.file());
  }
  EXPECT_GE(most, static_cast<int64_t>(FlowWriter::kFoldTicks));
  EXPECT_LE(most, static_cast<int64_t>(FlowWriter::kFoldTicks + FlowWriter::kFoldSteps + 1));
  // In quiet ticks they go into their rows.
  for (size_t i = 0; i <= 2 * FlowWriter::kFoldSteps; ++i) run.store(900, 0);
  EXPECT_EQ(waiting_in(directory.file()), 0);
  run.expect_in(*store);
  run.store(900, kMany);
  EXPECT_EQ(waiting_in(directory.file()), 1);
  EXPECT_OK(run.writer().finish({}));
  EXPECT_EQ(waiting_in(directory.file()), 0);
  run.expect_in(*store);
}

TEST(WaitingChanges, AreFoldedInPartsThatEnd) {
  // More rows than a step writes, and each tick brings new changes of the same rows.
  const TemporaryDirectory directory;
  ChangingRun run(directory.file());
  const auto steps = static_cast<size_t>(test::repeats(1, 2));
  const size_t flows = steps * FlowWriter::kFoldRows + 500;
  run.store(flows, 0);
  int64_t before = 0;
  int ends = 0;
  for (size_t i = 0; i < FlowWriter::kFoldTicks + 6; ++i) {
    run.store(flows, i == 3 ? flows : 300);
    const int64_t now = waiting_in(directory.file());
    ends += now < before ? 1 : 0;
    before = now;
  }
  EXPECT_EQ(ends, 1);
  run.expect_in(*open(directory.file()));
  EXPECT_OK(run.writer().finish({}));
  run.expect_in(*open(directory.file()));
  EXPECT_EQ(waiting_in(directory.file()), 0);
}

TEST(WaitingChanges, ATickThatWasNotStoredLeavesNone) {
  const TemporaryDirectory directory;
  ChangingRun run(directory.file());
  run.store(700, 0);
  Random random(5);
  for (int round = 0; round < 90; ++round) {
    const Sample sample = run.tick(static_cast<size_t>(700 + round), 400);
    if (random() % 3 == 0) {
      auto other = must(Connection::open(directory.file(), Access::kWrite));
      EXPECT_OK(other->execute("BEGIN IMMEDIATE"));
      EXPECT_FALSE(run.writer().append(sample).ok());
      EXPECT_OK(other->execute("ROLLBACK"));
      if (random() % 2 == 0) {
        run.refuse();
        continue;
      }
    }
    EXPECT_OK(run.writer().append(sample));
    run.accept();
  }
  run.expect_in(*open(directory.file()));
  EXPECT_OK(run.writer().finish({}));
  run.expect_in(*open(directory.file()));
}

TEST(WaitingChanges, AreCopiedWithTheirRun) {
  const TemporaryDirectory directory;
  ChangingRun run(directory.file("a.db"));
  run.store(700, 0);
  for (int i = 0; i < 3; ++i) run.store(700, 400);
  // What a killed writer leaves.
  std::filesystem::copy_file(directory.file("a.db"), directory.file("b.db"));
  std::filesystem::copy_file(directory.file("a.db-wal"), directory.file("b.db-wal"));
  EXPECT_EQ(waiting_in(directory.file("b.db")), 3);
  {
    auto killed = must(Connection::open(directory.file("b.db"), Access::kWrite));
    EXPECT_OK(killed->execute("UPDATE run SET status = 'interrupted'"));
  }
  (void)store_run(directory.file("c.db"), 2, 5);  // so the run gets another number
  EXPECT_EQ(must(merge_database(directory.file("c.db"), directory.file("b.db"))).runs, 1u);
  EXPECT_EQ(waiting_in(directory.file("c.db")), 3);
  run.expect_in(*open(directory.file("c.db")));
  run.drop_writer();  // as after an error
  EXPECT_EQ(waiting_in(directory.file("a.db")), 0);
  run.expect_in(*open(directory.file("a.db")));
}

}  // namespace
}  // namespace topspin
