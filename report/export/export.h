// Exports: writes stored runs for other programs. Each format has its file (json.cc, csv.cc, ...).
//
// Each function streams from the store to its output, so its memory does not grow with the length
// or the flows of a run. Names are those of docs/schema.md; docs/export.md describes each format.
// Text from outside is escaped as the format demands. Pure except for the store; any one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ci/judgement/judgement.h"
#include "core/base/result.h"
#include "report/metrics/live_facts.h"
#include "store/run_store.h"

namespace topspin {

/// Takes the bytes of an export. Its first error ends the export.
using ByteSink = std::function<Status(std::string_view)>;

/// Gathers small writes into large ones. After the sink's first error it passes on nothing more.
class ExportOutput {
 public:
  explicit ExportOutput(ByteSink sink) : sink_(std::move(sink)) {}
  ExportOutput(const ExportOutput&) = delete;
  ExportOutput& operator=(const ExportOutput&) = delete;

  void write(std::string_view bytes);
  /// Passes on the rest. Returns the first error, if there was one.
  Status finish();
  const Status& status() const { return status_; }

 private:
  void flush();

  ByteSink sink_;
  std::string buffer_;
  Status status_;
};

/// One document: {"schema_version", "runs": [{"run", "ticks", "threads", ...}]}.
Status export_json(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output);
/// One object per line, each with schema_version, type and the run's id.
Status export_ndjson(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output);

enum class CsvTableKind : uint8_t {
  kRuns,
  kTicks,
  kFlows,
  kThreads,
  kThreadTicks,
  kLateMessages,
  kOwners,
  kSockets,
  kSyscalls,
  kCalled,
  kCpuHolders,
  kStacks,
  kSleepStacks,
  kBusyStretches,
  kSlowReplies,
  kCounters,
  kStages,
  kLoads,
  kLoadParts,
  kEvents
};
/// Parses "runs", "ticks", ... kUsage names the tables that exist.
Result<CsvTableKind> parse_csv_table(std::string_view name);
/// One table, with a header. The first column is the run's id. No cell looks like a formula to a
/// spreadsheet.
Status export_csv(RunStore& store, const std::vector<StoredRun>& runs, CsvTableKind table,
                  ExportOutput& output);

/// OpenMetrics text 1.0: the totals of each run, stamped with its end.
Status export_openmetrics(RunStore& store, const std::vector<StoredRun>& runs,
                          ExportOutput& output);

enum class LiveFormat : uint8_t {
  kOpenMetrics,
  kPrometheus,  // its text format 0.0.4, the only one that node_exporter's text files may have
};
/// The same numbers of a recording that is under way: its totals so far, with neither times nor a
/// label of the run. Counters only grow, and distributions are those since its beginning.
std::string live_metrics(const RunInfo& run, const RunFold& fold, const LiveFacts& facts,
                         LiveFormat format);

/// The percentile text that HdrHistogram's plotter reads, in nanoseconds. kUsage if the run has no
/// histogram of that name.
Status export_hdr(RunStore& store, const StoredRun& run, std::string_view histogram,
                  ExportOutput& output);

/// Chrome's trace event JSON, as Perfetto reads it.
Status export_perfetto(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output);

/// IPFIX (RFC 7011) with biflows (RFC 5103). Each call of `message_sink` gets one complete message:
/// a datagram, or the next piece of a file.
Status export_ipfix(RunStore& store, const std::vector<StoredRun>& runs,
                    const ByteSink& message_sink);

/// A judgement as JUnit XML, with a case for each gating metric. An inconclusive one is "skipped".
std::string judgement_junit(const Judgement& judgement);

/// A judgement as GitHub workflow commands: ::error, ::warning and ::notice, one per line.
std::string judgement_github(const Judgement& judgement);

/// One workflow command: `kind` is error, warning or notice. Title and message may be hostile.
std::string github_annotation(std::string_view kind, std::string_view title,
                              std::string_view message);

/// Makes text safe for XML 1.0 and for Prometheus. Bytes that are not UTF-8, control, bidirectional
/// and invisible characters, and non-characters become U+FFFD. Newline, tab and carriage return
/// stay.
std::string replace_unprintable(std::string_view text);

}  // namespace topspin
