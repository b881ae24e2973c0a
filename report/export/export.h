// Exports: stored runs for programs, one format a file (json.cc, csv.cc, ...).
//
// Each function streams from the store to its output: its memory does not grow with the run's
// length or flows. Names are those of docs/schema.md; docs/export.md says what each format holds.
// All text from outside is escaped as the format demands. Pure but for the store; any one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ci/judgement/judgement.h"
#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

/// Takes bytes; its first error ends the export.
using ByteSink = std::function<Status(std::string_view)>;

/// Gathers small writes into large ones. After the sink's first error nothing more is handed on.
class ExportOutput {
 public:
  explicit ExportOutput(ByteSink sink) : sink_(std::move(sink)) {}
  ExportOutput(const ExportOutput&) = delete;
  ExportOutput& operator=(const ExportOutput&) = delete;

  void write(std::string_view bytes);
  /// Hands on what is left; the first error, if there was one.
  Status finish();

 private:
  void flush();

  ByteSink sink_;
  std::string buffer_;
  Status status_;
};

/// One document: {"schema_version", "runs": [{"run", "ticks", "threads", ...}]}.
Status export_json(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output);
/// One object a line, each with schema_version, type and the run's id.
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
  kSlowReplies,
  kCounters,
  kStages,
  kLoads,
  kLoadParts,
  kEvents
};
/// "runs", "ticks", ...; kUsage names those there are.
Result<CsvTableKind> parse_csv_table(std::string_view name);
/// One table, with a header; the first column is the run's id. No cell is a spreadsheet's formula.
Status export_csv(RunStore& store, const std::vector<StoredRun>& runs, CsvTableKind table,
                  ExportOutput& output);

/// OpenMetrics text 1.0: the totals of each run, stamped with its end.
Status export_openmetrics(RunStore& store, const std::vector<StoredRun>& runs,
                          ExportOutput& output);

/// The percentile text that HdrHistogram's plotter reads, in nanoseconds. kUsage: the run has no
/// histogram of that name.
Status export_hdr(RunStore& store, const StoredRun& run, std::string_view histogram,
                  ExportOutput& output);

/// Chrome's trace event JSON, as Perfetto reads it.
Status export_perfetto(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output);

/// IPFIX (RFC 7011) with biflows (RFC 5103). `message_sink` gets one whole message a call: a
/// datagram, or the next piece of a file.
Status export_ipfix(RunStore& store, const std::vector<StoredRun>& runs,
                    const ByteSink& message_sink);

/// A judgement as JUnit XML: a case for each gating metric; inconclusive is skipped.
std::string judgement_junit(const Judgement& judgement);

/// A judgement as GitHub workflow commands: ::error, ::warning, ::notice, a line each.
std::string judgement_github(const Judgement& judgement);

/// Text made fit for XML 1.0 and Prometheus alike: bytes that are no UTF-8, controls,
/// bidirectional and invisible characters and non-characters become U+FFFD; newline, tab and
/// carriage return stay.
std::string replace_unprintable(std::string_view text);

}  // namespace topspin
