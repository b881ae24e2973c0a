// `topspin doctor`: what works on this host, what does not, and the command that fixes it.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "app/commands/commands.h"
#include "app/host/host.h"
#include "app/host/outlet.h"
#include "app/options/option_group.h"
#include "app/prove/fault_subject.h"
#include "app/prove/prove.h"
#include "app/sandbox/sandbox.h"
#include "app/version.h"
#include "capture/flow_tracker.h"
#include "core/base/text.h"
#include "probes/probes.h"
#include "report/json/reports.h"
#include "report/text/text_report.h"
#include "store/run_store.h"

namespace topspin {
namespace {

/// Captures on `interface` for a moment, or finds out why that is not possible.
DoctorFinding try_capture(const InterfaceInfo& interface) {
  DoctorFinding finding;
  finding.feature = "capture";
  finding.rung = interface.name;
  LiveOptions live;
  live.interface = interface.name;
  live.ring_bytes = 1 << 20;
  live.promiscuous = false;
  const auto tracker = FlowTracker::open_live(live, FlowTableOptions{});
  finding.works = tracker.ok();
  if (!tracker.ok()) {
    finding.reason = tracker.error().message;
    if (tracker.error().code == ErrorCode::kPermission) {
      finding.remedy =
          "sudo setcap cap_net_raw,cap_bpf,cap_perfmon,cap_dac_read_search,cap_sys_ptrace+ep "
          "$(command -v topspin)";
    }
  }
  return finding;
}

/// What the kernel has for the sandbox of the commands that read files.
void examine_sandbox(std::vector<DoctorFinding>& findings) {
  const SandboxSupport support = sandbox_support();
  const bool landlock = support.landlock_version > 0;
  findings.push_back({"sandbox", "seccomp", support.seccomp,
                      support.seccomp ? "" : "this kernel is built without seccomp filters", ""});
  findings.push_back(
      {"sandbox",
       landlock ? fmt::format("Landlock (ABI {})", support.landlock_version) : "Landlock", landlock,
       landlock ? "" : "this kernel has no Landlock (it came with 5.13), or it is turned off",
       landlock ? "" : "add landlock to the list lsm= of the kernel's command line"});
}

int diagnose(const std::string& format) {
  DoctorReport report;
  report.host = read_host_info();
  report.versions = version_text();
  if (const auto interfaces = list_interfaces(); interfaces.ok()) {
    for (const InterfaceInfo& interface : *interfaces) {
      if (interface.up) report.findings.push_back(try_capture(interface));
    }
  } else {
    report.findings.push_back({"capture", "interfaces", false, interfaces.error().message, ""});
  }
  report.findings.push_back({"capture", "files", true, "", ""});
  examine_sandbox(report.findings);
  for (const RungReport& rung : examine_probes()) {
    report.findings.push_back(
        {rung.probe, std::string(rung_name(rung.rung)), rung.works, rung.reason, rung.remedy});
  }
  fmt::print("{}", format == "json" ? doctor_json(report) : doctor_text(report));
  return 0;
}

int prove_on_this_host(const std::vector<std::string>& faults, const std::string& format) {
  auto report = prove(faults, [](const std::string& line) { say(line); });
  if (!report.ok()) return fail(report.error());
  report->versions = version_text();
  fmt::print("{}", format == "json" ? proof_json(*report) : proof_text(*report));
  return report->is_right() ? 0 : 1;
}

}  // namespace

std::string version_text() {
  return fmt::format("topspin {}\nlibpcap: {}\nlibbpf: {}\nSQLite: {}\n", kVersion,
                     pcap_library_version(), bpf_library_version(), sqlite_library_version());
}

void add_doctor_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("doctor", "Check this host, and say how to fix what is missing");
  auto format = std::make_shared<std::string>("text");
  auto is_to_prove = std::make_shared<bool>(false);
  auto faults = std::make_shared<std::vector<std::string>>();
  const OptionGroup options(*command, "Options");
  options.flag("--prove", *is_to_prove,
               "Inflict known faults on a small server, record each, and compare what topspin "
               "measures and says with what was done (takes two minutes)");
  options.list("--fault", *faults, "NAME",
               "With --prove: inflict only this fault; may be repeated");
  OptionGroup(*command, kDisplayGroup)
      .choice("--format", *format, "FORMAT", {"text", "json"}, "text (default) or json");
  command->footer(
      "Examples:\n  topspin doctor\n  sudo topspin doctor --format json\n  sudo topspin doctor "
      "--prove\n\nExit codes: 0 success; 1 with --prove: a fault was not found, or measured "
      "wrongly; 4 permission or kernel; 5 input, output or internal error.");
  command->callback([format, is_to_prove, faults, &action] {
    action = [format, is_to_prove, faults] {
      if (*is_to_prove) return prove_on_this_host(*faults, *format);
      if (!faults->empty())
        return fail(wrong_usage("--fault NAME chooses a fault of --prove; add --prove"));
      return diagnose(*format);
    };
  });
}

void add_fault_subject_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand(std::string(kFaultSubjectCommand), "");
  command->group("");  // hidden from help, because only doctor --prove uses it
  auto subject = std::make_shared<FaultSubject>();
  command->add_option("FAULT", subject->fault)->required();
  command->add_option("PORT", subject->port)->required();
  command->add_option("ACCOUNT", subject->account)->required();
  command->add_option("DOWNSTREAM", subject->downstream)->required();
  command->add_option("CGROUP", subject->cgroup);
  command->callback([subject, &action] {
    action = [subject] {
      const Status done = serve_fault(*subject);
      return done.ok() ? 0 : fail(done.error());
    };
  });
}

}  // namespace topspin
