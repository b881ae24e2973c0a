// `topspin read`: the tracker on a capture file. Needs no privilege.
#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/host/host.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "app/tick/judge_losses.h"
#include "app/tick/tick_builder.h"
#include "app/version.h"
#include "core/base/clock.h"
#include "report/json/reports.h"
#include "report/text/text_report.h"
#include "store/run_store.h"

namespace topspin {
namespace {

struct ReadOptions {
  ObserveOptions observe;
  std::string file;
  std::string format = "text";
  bool flows = false;
  uint64_t max_packets = UINT64_MAX;
  int threads = 1;
};

/// Stores a file's intervals as ticks, many in one transaction, because a file is read faster than
/// real time.
class FileRecorder {
 public:
  static constexpr size_t kBatchTicks = 64;
  static constexpr size_t kBatchRows = 20'000;  // flow rows that wait in memory

  FileRecorder(std::string database, RunInfo info)
      : database_(std::move(database)), info_(std::move(info)), ticks_(TickSettings()) {}

  Status add(ClosedInterval&& interval) {
    if (!writer_) TOPSPIN_TRY(open(interval.flows.begin_ns));
    pending_.push_back(ticks_.build_of_file(std::move(interval)));
    duration_ns_ = pending_.back().elapsed_ns;
    pending_rows_ += pending_.back().changed_flows.size();
    return pending_.size() >= kBatchTicks || pending_rows_ >= kBatchRows ? flush() : Status();
  }

  /// Ends the run, which is judged like a recording.
  Status finish(const std::optional<Error>& error, std::vector<std::string> doubts) {
    if (!writer_) TOPSPIN_TRY(open(wall_now_ns()));
    TOPSPIN_TRY(flush());
    RunEnd end;
    end.duration_ns = duration_ns_;
    const RunFold& fold = ticks_.fold();
    LossInterval losses = fold.merged.losses;
    losses.merge(writer_->take_losses());
    end.invalid_reasons = judge_losses(losses, fold.merged.flows, fold.ticks);
    end.doubts = std::move(doubts);
    if (error) {
      end.status = RunStatus::kFailed;
      end.invalid_reasons.push_back(error->message);
    }
    invalid_reasons_ = end.invalid_reasons;
    return writer_->finish(end);
  }

  const std::vector<std::string>& invalid_reasons() const { return invalid_reasons_; }

  const std::string& run_id() const { return info_.id; }

 private:
  Status open(int64_t start_ns) {
    info_.id = make_run_id(start_ns);
    info_.started_wall_ns = start_ns;
    WriterOptions options;
    options.folds = ticks_.folds();
    TOPSPIN_ASSIGN(writer_, RunWriter::create(database_, info_, options));
    return {};
  }
  Status flush() {
    if (pending_.empty()) return {};
    pending_rows_ = 0;
    return writer_->append(std::exchange(pending_, {}));
  }

  std::string database_;
  RunInfo info_;
  std::unique_ptr<RunWriter> writer_;
  TickBuilder ticks_;
  std::vector<Sample> pending_;
  size_t pending_rows_ = 0;
  int64_t duration_ns_ = 0;
  std::vector<std::string> invalid_reasons_;
};

/// Why numbers of a file may be wrong.
std::vector<std::string> doubts_of(const FlowInterval& totals, const FileNotes& notes) {
  constexpr double kBackwardsShare = 0.01;
  std::vector<std::string> doubts = doubts_of(totals);
  if (totals.time_steps == 0 && static_cast<double>(totals.time_went_backwards) >
                                    kBackwardsShare * static_cast<double>(totals.packets)) {
    doubts.push_back(
        fmt::format("{} of {} packets have an earlier timestamp than a packet before them; their "
                    "times may be wrong",
                    totals.time_went_backwards, totals.packets));
  }
  if (notes.fractions_are_ns) {
    doubts.push_back(
        "the file says that its timestamps are in microseconds, but they are in nanoseconds; "
        "topspin reads them as nanoseconds");
  }
  if (notes.long_fractions > 0) {
    doubts.push_back(fmt::format(
        "{} packets have a fraction of a second that is a second or more; they are taken for the "
        "end of their second",
        notes.long_fractions));
  }
  return doubts;
}

int read_capture(const ReadOptions& o) {
  const auto table = flow_table_options(o.observe);
  if (!table.ok()) return fail(table.error());
  const auto filter = filter_text(o.observe);
  if (!filter.ok()) return fail(filter.error());
  const auto labels = parse_labels(o.observe.labels);
  if (!labels.ok()) return fail(labels.error());
  const auto interval_ns = positive_duration(o.observe.interval, "--interval");
  if (!interval_ns.ok()) return fail(interval_ns.error());

  const bool store = !o.observe.db.empty();
  const HostInfo host = store ? read_host_info() : HostInfo();
  look_up_names_in(*filter);
  const Status entered =
      enter_sandbox({.inputs = {o.file},
                     .changed_databases = store ? std::vector{database_path(o.observe.db)}
                                                : std::vector<std::string>()});
  if (!entered.ok()) return fail(entered.error());

  FileOptions file{o.file, *filter, store ? *interval_ns : 0,
                   store ? WriterOptions{}.max_flow_rows : 0};
  file.max_rows_at_end = WriterOptions{}.max_flow_rows;
  file.max_packets = o.max_packets;
  file.threads = o.threads;
  auto tracker = FlowTracker::open_file(file, *table);
  if (!tracker.ok()) return fail(tracker.error());

  FileReading reading;
  reading.file = o.file;
  reading.link_type = (*tracker)->link_type();
  reading.period_ns = table->period_ns;
  reading.reply_timeout_ns = table->reply_timeout_ns;
  std::optional<FileRecorder> recorder;
  if (store) {
    RunInfo info;
    info.host = host;
    info.labels = *labels;
    info.settings.interface = o.file;
    info.settings.filter = *filter;
    info.settings.link_type = reading.link_type;
    info.settings.period_ns = table->period_ns;
    info.settings.window_ns = table->window_ns;
    info.settings.interval_ns = *interval_ns;
    info.settings.reply_timeout_ns = table->reply_timeout_ns;
    info.settings.max_flows = table->max_flows;
    info.settings.max_stored_flows = WriterOptions{}.max_flow_rows;
    info.settings.subject = "file";
    info.topspin_version = kVersion;
    recorder.emplace(database_path(o.observe.db), info);
  }

  std::optional<Error> error, store_error;
  int64_t ends_guessed = 0;
  const IntervalSink sink = [&](ClosedInterval&& interval) {
    ends_guessed += interval.ends_guessed;
    if (!recorder || store_error) return;
    if (auto status = recorder->add(std::move(interval)); !status.ok())
      store_error = status.error();
  };
  while (!store_error) {
    const auto outcome = (*tracker)->step(sink);
    if (!outcome.ok()) error = outcome.error();
    if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
  }
  (*tracker)->finish(0, sink);
  reading.totals = (*tracker)->totals();
  const FileNotes notes = (*tracker)->notes();
  reading.doubts = doubts_of(reading.totals, notes);
  if (auto doubt = doubt_of_guessed_ends(ends_guessed)) reading.doubts.push_back(*doubt);
  reading.hidden_by_tag = notes.hidden_by_tag;
  if (recorder && !store_error) {
    if (auto status = recorder->finish(error, reading.doubts); !status.ok())
      store_error = status.error();
  }

  reading.complete = !error;
  if (error) reading.error = error->message;
  if (o.format == "text") fmt::print("{}", file_reading_text(reading));
  if (o.format == "json") fmt::print("{}", file_reading_json(reading));
  if (o.flows || o.format == "ndjson") {
    (*tracker)->for_each_flow([](const FlowRow& flow) { fmt::print("{}", flow_json_line(flow)); });
  }
  if (store_error) return fail(*store_error);
  if (recorder) {
    for (const std::string& reason : recorder->invalid_reasons()) {
      if (!error || reason != error->message) say(fmt::format("not usable: {}", reason));
    }
    say(fmt::format("kept in {} as run {}", database_path(o.observe.db), recorder->run_id()));
  }
  return error ? fail(*error) : 0;
}

}  // namespace

void add_read_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("read", "Read a capture file (pcap or pcapng); needs no privilege");
  auto o = std::make_shared<ReadOptions>();
  command->add_option("FILE", o->file, "Capture file, plain or gzip; - is standard input")
      ->required();
  add_flow_options(*command, o->observe);
  const OptionGroup capture(*command, kCaptureGroup);
  capture.number("-c,--count", o->max_packets, "COUNT", 1, UINT64_MAX,
                 "Stop after COUNT packets that match the filter");
  capture.number(
      "--threads", o->threads, "COUNT", 1, 64,
      "With 2, parse on a thread of its own: the same answers, sooner, from a large file "
      "(default 1; more than 2 change nothing)");
  command
      ->add_flag(
          "-n", [](int64_t) {}, "As in tcpdump; addresses are numbers anyway")
      ->group(kCaptureGroup);
  OptionGroup(*command, kTimeGroup)
      .option("--interval", o->observe.interval, "DURATION",
              "With --db: length of a tick (default 1s)");
  const OptionGroup storage(*command, kStorageGroup);
  storage.option("--db", o->observe.db, "FILE", "Store what was read as a run in this database");
  add_label_option(*command, o->observe.labels);
  const OptionGroup display(*command, kDisplayGroup);
  display.choice("--format", o->format, "FORMAT", {"text", "json", "ndjson"},
                 "text (default), json, or ndjson: one object per flow");
  display.flag("--flows", o->flows, "Then print one JSON object per flow, one per line");
  command->footer(
      "Examples:\n"
      "  topspin read capture.pcap\n"
      "  topspin read --period 1s --format json capture.pcapng udp port 8888\n"
      "  zstd -dc big.pcap.zst | topspin read - --db runs.db --label site=berlin");
  command->callback([o, &action] { action = [o] { return read_capture(*o); }; });
}

}  // namespace topspin
