// Fuzz target: stored rows. The writer makes a database, the input edits it, and then everything in
// it is read. The tables have none of the schema's types and rules, because a hostile file declares
// what it likes.
//
// The input is a list of edits: a table, a column, a kind of value, a length, and that many bytes.
#include <algorithm>
#include <cstring>

#include "core/base/check.h"
#include "store/runs/run_tables.h"
#include "store/schema/database.h"
#include "tests/fuzz/fuzz.h"
#include "tests/store/store_testing.h"

namespace topspin {
namespace {

constexpr int kEditsMax = 8;

enum Kind : uint8_t { kNull, kInteger, kText, kBlob, kKinds };

/// Writes a run with some rows in every table.
void write_run(const std::string& path) {
  Filler filler;
  RunInfo run;
  filler.fill(run);
  auto writer = must(RunWriter::create(path, run, {}));
  for (uint64_t position = 0; position < 2; ++position) {
    RunStage stage;
    filler.fill(stage);
    stage.start_ns = static_cast<int64_t>(position) * 1'000'000'000;
    CHECK(writer->put_stage(position, stage).ok());
  }
  for (uint64_t tick = 1; tick <= 2; ++tick) {
    Sample sample = make_tick(tick, 2);
    filler.fill(sample);
    sample.tick = tick;
    CHECK(writer->append(sample).ok());
  }
  LoadResult load;
  filler.fill(load);
  CHECK(writer->put_load(load).ok());
  CHECK(writer->add_event(1, "an event").ok());
  CHECK(writer->finish({}).ok());
}

struct Base {
  TemporaryDirectory directory;
  std::unique_ptr<Connection> connection;
  std::vector<RunTable> tables;

  Base() {
    write_run(directory.file());
    connection = must(Connection::open(directory.file(), Access::kWrite));
    for (const RunTable& table : must(run_tables(*connection))) {
      const std::string name = quoted_name(table.name);
      CHECK(connection
                ->execute("CREATE TABLE loose AS SELECT * FROM " + name + "; DROP TABLE " + name +
                          "; ALTER TABLE loose RENAME TO " + name)
                .ok());
    }
    tables = must(run_tables(*connection));
  }
};

void check(const Status& status) { CHECK(status.ok() || !status.error().message.empty()); }

void read_run(RunStore& store, const std::string& id) {
  check(store.for_each_tick(id, [](const Sample& s) { (void)s.flows.lateness.summary(); }));
  for (const RunPart part : {RunPart::kWhole, RunPart::kMeasured}) (void)store.fold(id, part);
  check(store.for_each_flow(id, [](const FlowRow&) {}));
  check(store.for_each_thread(id, [](const ThreadRow&) {}));
  check(store.for_each_thread_tick(id, [](const ThreadTick&) {}));
  check(store.for_each_late_message(id, [](const LateMessage&) {}));
  check(store.for_each_owner(id, [](const FlowOwner&) {}));
  check(store.for_each_socket(id, [](const SocketRow&) {}));
  check(store.for_each_syscall(id, [](const SyscallRow&) {}));
  check(store.for_each_called(id, [](const CalledRow&) {}));
  check(store.for_each_sleep_stack(id, [](const SleepStackRow&) {}));
  check(store.for_each_busy_stretch(id, [](const BusyStretch&) {}));
  check(store.for_each_cpu_holder(id, [](const CpuHolderRow&) {}));
  check(store.for_each_stack(id, [](const StackRow&) {}));
  check(store.for_each_event(id, [](const StoredEvent&) {}));
  (void)store.load_stages(id);
  (void)store.load_load(id);
}

/// Takes one edit off the input and makes it. What SQLite refuses is left undone.
void edit(Base& base, std::string_view& input) {
  const auto byte = [&] {
    if (input.empty()) return uint8_t{0};
    const auto value = static_cast<uint8_t>(input.front());
    input.remove_prefix(1);
    return value;
  };
  const RunTable& table = base.tables[byte() % base.tables.size()];
  const uint8_t column = byte(), kind = byte() % kKinds;
  size_t length = byte();
  length = std::min(length, input.size());
  const std::string_view value = input.substr(0, length);
  input.remove_prefix(length);
  if (table.columns.empty()) return;
  auto update =
      base.connection->prepare("UPDATE OR IGNORE " + quoted_name(table.name) + " SET " +
                               quoted_name(table.columns[column % table.columns.size()]) + " = ?1");
  if (!update.ok()) return;
  int64_t integer = 0;
  std::memcpy(&integer, value.data(), std::min(length, sizeof(integer)));
  switch (kind) {
    case kInteger: update->bind_int(1, integer); break;
    case kText: update->bind_text(1, value); break;
    case kBlob: update->bind_blob(1, value); break;
    default: update->bind_null(1);
  }
  (void)update->run();
}

}  // namespace
}  // namespace topspin

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace topspin;
  static Base base;
  std::string_view input = fuzz_text(data, size);
  const auto transaction = Transaction::begin(*base.connection);  // rolled back at the end
  CHECK(transaction.ok());
  for (int edits = 0; edits < kEditsMax && !input.empty(); ++edits) edit(base, input);
  const auto store = read_runs_of(*base.connection);
  std::vector<Error> damaged;
  const auto runs = store->list_runs(&damaged);
  if (!runs.ok()) return 0;
  for (const StoredRun& run : *runs) read_run(*store, run.info.id);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  using namespace topspin;
  // Some edits of each table. The kinds of the columns are not known here.
  std::vector<std::string> seeds = {""};
  Histogram histogram;
  histogram.record(1'000'000);
  const std::string values[] = {"", std::string("\1\0\0\0\0\0\0\x80", 8), "complete",
                                histogram.encode()};
  for (uint8_t table = 0; table < 32; ++table) {
    for (const uint8_t column : {uint8_t{1}, uint8_t{6}}) {
      const size_t kind = size_t{table} + column;
      const std::string& value = values[kind % kKinds];
      std::string seed;
      for (const size_t byte : {size_t{table}, size_t{column}, kind, value.size()})
        seed += static_cast<char>(byte);
      seeds.push_back(seed + value);
    }
  }
  return seeds;
}
