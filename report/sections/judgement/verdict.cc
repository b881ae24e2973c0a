// The top of a report: the verdict with its reasons, and a description of each run.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/run/source_text.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

constexpr size_t kLabelsShown = 24;

std::string counted(uint64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", page_count(count), count == 1 ? one : many);
}

/// The work that failed, as sentences; empty if none did.
std::string failed_work_sentences(const RunPage& run) {
  std::string text;
  const FlowInterval& flows = run.fold.merged.flows;
  if (const auto share = failed_share(run.measured); share && *share > 0)
    text += fmt::format(" {} of the work that was asked for was not done.", page_percent(*share));
  if (is_http_load(run) && run.measured.load->accounts.http_errors > 0) {
    text += fmt::format(" {} an HTTP error.", counted(run.measured.load->accounts.http_errors,
                                                      "answer was", "answers were"));
  }
  if (const uint64_t refused = flows.tcp_refused; refused > 0) {
    text +=
        fmt::format(" {} refused.", counted(refused, "TCP connection was", "TCP connections were"));
  }
  if (const uint64_t given_up = never_completed(run); given_up > 0) {
    text += fmt::format(" {} never completed.",
                        counted(given_up, "TCP connection was", "TCP connections were"));
  }
  return text;
}

void add_rules(const RunPage& run, TopVerdict& top) {
  size_t broken = 0, unknown = 0;
  for (const SloResult& slo : run.slos) {
    if (slo.verdict == SloVerdict::kKept) continue;
    ++(slo.verdict == SloVerdict::kBroken ? broken : unknown);
    top.reasons.push_back(
        fmt::format("{}: {} ({})", slo_verdict_name(slo.verdict), slo.rule, slo.explanation));
  }
  if (broken > 0) {
    top.tone = Tone::kBad;
    top.word = "Rules broken";
    top.sentence =
        fmt::format("{} of the {} rules that this run is held to.", broken, run.slos.size());
  } else if (unknown > 0) {
    top.tone = Tone::kOpen;
    top.sentence +=
        fmt::format(" {1} of its {0} rules could not be judged.", run.slos.size(), unknown);
  } else if (!run.slos.empty()) {
    top.sentence += fmt::format(" All {} rules were kept.", run.slos.size());
  }
}

TopVerdict unusable(const RunPage& run) {
  TopVerdict top{Tone::kBad, "Not usable", "This run is stored, but not judged."};
  top.reasons = invalid_reasons(run.run);
  for (const std::string& doubt : run.run.end.doubts)
    top.reasons.push_back("may not be judged: " + doubt);
  return top;
}

/// What a flight recorder kept, and why.
TopVerdict incident_verdict(const RunPage& run) {
  const auto label = [&](const char* key) {
    const auto found = run.run.info.labels.find(key);
    return found == run.run.info.labels.end() ? std::string() : found->second;
  };
  const std::string rule = label(kIncidentLabel), value = label(kIncidentValueLabel);
  TopVerdict top{Tone::kOpen, "Incident", ""};
  top.sentence = value.empty() ? fmt::format("Frozen {} at {}.", rule, label(kIncidentTimeLabel))
                               : fmt::format("The rule {} was met at {}: {}.", rule,
                                             label(kIncidentTimeLabel), value);
  if (const std::string packets = label(kIncidentPacketsLabel); !packets.empty())
    top.sentence += fmt::format(" Its packets are in {}, beside the database.", packets);
  top.sentence += " An incident is not judged.";
  top.reasons = invalid_reasons(run.run);
  for (const std::string& doubt : run.run.end.doubts) top.reasons.push_back("doubtful: " + doubt);
  return top;
}

TopVerdict run_verdict(const RunPage& run) {
  if (run.run.end.status == RunStatus::kIncident) return incident_verdict(run);
  if (!run.standing.usable || !run.standing.complete) return unusable(run);
  TopVerdict top{Tone::kGood, "Usable", ""};
  top.sentence = losses_in_words(run.fold.merged).empty()
                     ? "The recording ended normally, and nothing was lost."
                     : "The recording ended normally, and the losses are within their limits.";
  top.sentence += run.standing.may_be_judged ? " It may be judged." : " It may not be judged.";
  if (!run.standing.may_be_judged) top.tone = Tone::kOpen;
  top.reasons = run.standing.reasons;
  top.reasons.insert(top.reasons.end(), run.standing.notes.begin(), run.standing.notes.end());
  if (run.fold.greatest.flows.silent_flows > 0) {
    // The recording is good, but clients went silent, so the verdict must not be green.
    top.tone = Tone::kOpen;
    top.sentence += fmt::format(" Of {} with a period, {} fell silent.",
                                counted(run.fold.greatest.flows.periodic_flows, "flow", "flows"),
                                page_count(run.fold.greatest.flows.silent_flows));
  }
  if (const std::string failed = failed_work_sentences(run); !failed.empty()) {
    // The same holds for a good recording of a server that failed.
    top.tone = Tone::kOpen;
    top.sentence += failed;
  }
  add_rules(run, top);
  return top;
}

/// A plan ends its subjects with SIGTERM, and so does --duration with the command. That is not a
/// failure.
Line exit_sentence(const StoredRun& run) {
  constexpr int kEndedBySigterm = 128 + 15;
  const int status = *run.end.exit_status;
  if (status == 0) return say(" The command exited with 0.");
  if (run.info.plan && status == kEndedBySigterm)
    return say(" The plan ended the command, by SIGTERM.");
  const auto& limit_ns = run.info.settings.duration_ns;
  if (limit_ns && run.end.duration_ns >= *limit_ns && status == kEndedBySigterm)
    return say(" topspin ended the command after its duration, by SIGTERM.");
  return {words(" "), toned(Tone::kBad, words(fmt::format("The command exited with {}.", status)))};
}

/// The remark on one of the runs, independent of the verdict.
Line remark(const ReportPage& page, size_t r) {
  const RunPage& run = page.runs[r];
  Line line = side_mark(page, r);
  if (page.judgement) {
    const RunStanding& standing = run.standing;
    append(line, standing.may_be_judged
                     ? say("Usable, may be judged. ")
                     : say("{} {}. ",
                           toned(Tone::kBad, words(standing.usable ? "Usable, may not be judged:"
                                                                   : "Not usable:")),
                           words(fmt::format("{}", fmt::join(standing.reasons, "; ")), 600)));
    for (const std::string& note : standing.notes)
      append(line, say("{} {}. ", toned(Tone::kOpen, words("Not judged:")), words(note, 600)));
  }
  const Line losses = losses_in_words(run.fold.merged);
  if (!losses.empty()) append(line, say("Losses: {}.", losses));
  if (losses.empty() && page.judgement) append(line, "Nothing was lost.");
  if (run.run.end.exit_status) append(line, exit_sentence(run.run));
  return line;
}

}  // namespace

TopVerdict judgement_verdict(const Judgement& judgement) {
  TopVerdict top;
  const bool history = judgement.mode == "history";
  switch (judgement.verdict) {
    case Verdict::kPass:
      top = {Tone::kGood, "Pass",
             history ? "No gating metric is at a worse level than before."
                     : "No gating metric is worse by more than its margin."};
      break;
    case Verdict::kFail:
      top = {Tone::kBad, "Fail",
             history ? "A gating metric is at a worse level than before."
                     : "A gating metric is worse by more than its margin."};
      break;
    case Verdict::kInconclusive:
      top = {Tone::kOpen, "Inconclusive", "There is not enough evidence to decide."};
      break;
    case Verdict::kInvalid: top = {Tone::kOpen, "Invalid", "These runs must not be judged."}; break;
  }
  top.reasons = judgement.reasons;
  // Directly after the reason that failed.
  if (judgement.verdict == Verdict::kFail && !judgement.why.empty() && !top.reasons.empty())
    top.reasons.insert(top.reasons.begin() + 1, "why: " + judgement.why);
  for (const std::string& difference : judgement.not_comparable)
    top.reasons.push_back("not comparable: " + difference);
  return top;
}

TopVerdict top_verdict(const ReportPage& page) {
  TopVerdict top =
      page.judgement ? judgement_verdict(*page.judgement) : run_verdict(page.runs.front());
  for (size_t r = 0; r < page.runs.size(); ++r) {
    if (Line line = remark(page, r); !line.empty()) top.remarks.push_back(std::move(line));
  }
  return top;
}

namespace {

std::string run_title(const StoredRun& run) {
  if (!run.info.command.empty()) return fmt::format("{}", fmt::join(run.info.command, " "));
  const RunSettings& s = run.info.settings;
  const std::string where = s.interface.empty() ? "Traffic" : "Traffic on " + s.interface;
  return s.subject.empty() || s.subject == "none" ? where : where + " of " + s.subject;
}

}  // namespace

std::string report_title(const ReportPage& page) {
  if (page.runs.size() > 1) {
    // Two subjects of one plan have different names.
    const auto& a = page.runs[0].run.info.plan;
    const auto& b = page.runs[1].run.info.plan;
    if (a && b && a->session == b->session && a->subject != b->subject)
      return fmt::format("{}: {} against {}", b->name, a->subject, b->subject);
    return "A against B";
  }
  if (page.history_runs.size() > 1)
    return fmt::format("History of {} runs", page.history_runs.size());
  return run_title(page.runs.front().run);
}

std::vector<Facts> run_facts(const ReportPage& page) {
  std::vector<Facts> all;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const StoredRun& run = page.runs[r].run;
    const RunInfo& info = run.info;
    Facts facts;
    const auto fact = [&](const char* key, Line line) {
      facts.list.emplace_back(key, std::move(line));
    };
    if (page.runs.size() > 1) fact("side", side_mark(page, r));
    fact("run", say("{}, {}, {}", code(info.id, 60), time_of_day(info.started_wall_ns),
                    duration(run.end.duration_ns)));
    fact("status", say("{}", standing_text(page.runs[r].standing, run.end.status)));
    if (!info.command.empty()) fact("command", say("{}", code(run_title(run), 160)));
    Line where;
    if (!info.settings.interface.empty()) append(where, words(info.settings.interface, 80));
    if (!info.settings.filter.empty())
      append(where,
             say("{}filter {}", where.empty() ? "" : ", ", words(info.settings.filter, 120)));
    if (!where.empty()) fact("on", where);
    if (!info.source.commit.empty()) {
      fact("commit",
           say("{}{}{}", code(info.source.commit.substr(0, 12)), ours(commit_remark(info.source)),
               info.source.branch.empty() ? Line() : say(" on {}", words(info.source.branch, 80))));
    }
    std::vector<Line> labels;
    for (const auto& [key, value] : info.labels) {
      if (labels.size() == kLabelsShown) {
        labels.push_back(say("and {} more", count(info.labels.size() - kLabelsShown)));
        break;
      }
      labels.push_back(say("{}={}", words(key, 60), words(value, 120)));
    }
    if (!labels.empty()) fact("labels", listed(labels));
    if (!info.host.hostname.empty())
      fact("host", say("{}, {} × {}, kernel {}", words(info.host.hostname, 80),
                       info.host.cpus_online ? id(*info.host.cpus_online) : words("?"),
                       words(info.host.cpu_model, 120), words(info.host.kernel, 120)));
    all.push_back(std::move(facts));
  }
  return all;
}

}  // namespace topspin::sections
