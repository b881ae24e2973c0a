// How well topspin works on this host: `topspin doctor`, and the gate judged against itself.
#include <fmt/format.h>

#include "report/sections/parts.h"
#include "report/sections/sections.h"

namespace topspin::sections {

using namespace document;

namespace {

constexpr size_t kRemedyBytes = 1000;  // commands must stay whole

/// "libpcap: 1.10" as key and value.
std::pair<std::string, Line> version_fact(std::string_view line) {
  const size_t colon = line.find(": ");
  if (colon == std::string_view::npos) return {"version", say("{}", line)};
  return {std::string(line.substr(0, colon)), say("{}", line.substr(colon + 2))};
}

Facts host_facts(const HostInfo& host, std::string_view versions) {
  Facts facts;
  while (!versions.empty()) {
    const std::string_view line = versions.substr(0, versions.find('\n'));
    facts.list.push_back(version_fact(line));
    versions.remove_prefix(std::min(line.size() + 1, versions.size()));
  }
  facts.list.emplace_back("host", say("{}, kernel {}, {}", host.os, host.kernel, host.cpu_model));
  return facts;
}

/// A number in the unit that its name ends with.
Span in_unit_of(std::string_view name, const std::optional<double>& value) {
  if (!value) return absent();
  if (name.ends_with("_ns")) return number(Unit::kNanoseconds, *value);
  if (name.ends_with("_bytes")) return number(Unit::kBytes, *value);
  return number(Unit::kCount, *value);
}

/// "ok", or the difference.
Cell proof_result(const FaultProof& proof) {
  if (!proof.skipped.empty()) return ours("skipped");
  if (proof.is_right()) return toned(Tone::kGood, ours("ok"));
  if (proof.finding_is_right()) return toned(Tone::kBad, ours("number"));
  return toned(Tone::kBad, ours(proof.number_is_right() ? "finding" : "both"));
}

/// The measured and the inflicted value, and the tolerance.
Line proof_numbers(const FaultProof& proof) {
  Line line =
      say("{}: inflicted {}, measured {}", words(proof.number),
          in_unit_of(proof.number, proof.expected), in_unit_of(proof.number, proof.measured));
  append(line,
         proof.tolerance > 0 ? say(" (within {})", share(proof.tolerance)) : say(" (exactly)"));
  return line;
}

}  // namespace

Document proof(const ProofReport& report) {
  Table table{"", {{"", false}, {"", false}, {"", false}}};
  for (const FaultProof& proof : report.proofs) {
    Row row{{proof_result(proof), words(proof.fault), words(proof.inflicted)}};
    Cell& last = row.cells.back();
    if (!proof.skipped.empty()) {
      last.under = say("{}", proof.skipped);
    } else {
      table.rows.push_back(std::move(row));
      row = Row{{ours(""), ours(""), proof_numbers(proof)}};
      row.cells.back().under = say("{}: {}", code(proof.finding), words(proof.sentence));
    }
    table.rows.push_back(std::move(row));
  }
  Document document;
  document.title = report.is_right() ? "The faults that were inflicted were found and measured"
                                     : "Not all faults were found and measured rightly";
  document.runs.push_back(host_facts(report.host, report.versions));
  document.sections.push_back({"proofs", "Faults", {std::move(table)}});
  return document;
}

Document doctor(const DoctorReport& report) {
  Table table{"", {{"", false}, {"", false}, {"", false}, {"", false}}};
  for (const DoctorFinding& finding : report.findings) {
    Row row{{finding.works ? ours("ok") : toned(Tone::kBad, ours("no")), words(finding.feature),
             words(finding.rung), words(finding.reason, kRemedyBytes)}};
    if (!finding.remedy.empty())
      row.cells.back().under = say("fix: {}", words(finding.remedy, kRemedyBytes));
    table.rows.push_back(std::move(row));
  }
  Document document;
  document.title = "What works on this host";
  document.runs.push_back(host_facts(report.host, report.versions));
  document.sections.push_back({"findings", "Probes and captures", {std::move(table)}});
  return document;
}

Document aa_check(const AaCheck& check) {
  Document document;
  document.title = "A/A: not done";
  if (check.trials > 0) {
    document.title = fmt::format(
        "A/A: {} false alarms in {} judgements of {} pairs: {:.2g}% (at most {:.2g}%, with 95% "
        "confidence)",
        check.alarms, check.trials, check.pairs, 100 * check.alarm_rate,
        100 * check.alarm_rate_high);
    document.verdict.remarks.push_back(say("{} passed, {} were inconclusive", count(check.passes),
                                           count(check.trials - check.alarms - check.passes)));
  }
  document.verdict.reasons = check.reasons;
  if (check.metrics.empty()) return document;
  Table table{"", columns({"", "margin", "detects", "alarms", "passes"})};
  for (const AaMetric& m : check.metrics) {
    table.rows.push_back({{words(m.metric.name), share(m.metric.margin),
                           m.minimum_detectable ? share(*m.minimum_detectable) : absent(),
                           count(m.alarms), count(m.passes)}});
  }
  document.sections.push_back(
      {"metrics",
       "Metrics",
       {std::move(table),
        Paragraph{say("seed {}; detects: a worsening that would fail in 8 of 10 such comparisons, "
                      "on this host",
                      fmt::format("{}", check.seed))}}});
  return document;
}

}  // namespace topspin::sections
