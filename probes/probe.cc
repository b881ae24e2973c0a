#include "probes/probe.h"

#include <ctime>

#include <fmt/format.h>
#include <linux/capability.h>

#include "core/base/clock.h"
#include "probes/bpf/capabilities.h"

namespace topspin {
namespace {

/// "tp_btf, raw_tp and proc"
std::string rung_list(std::span<const Rung> ladder) {
  std::string text;
  for (size_t index = 0; index < ladder.size(); ++index) {
    if (index > 0) text += index + 1 == ladder.size() ? " and " : ", ";
    text += rung_name(ladder[index]);
  }
  return text;
}

/// The command or setting that makes a refused rung work; empty if there is none.
std::string remedy_of(Rung rung, const Error& error) {
  const bool bpf = rung == Rung::kTpBtf || rung == Rung::kFentry || rung == Rung::kRawTracepoint ||
                   rung == Rung::kTracepoint;
  if (rung == Rung::kTracepoint && error.message.find("no tracefs") != std::string::npos)
    return "sudo mount -t tracefs nodev /sys/kernel/tracing";
  if (error.message.find(kRefusedAnyway) != std::string::npos) return kAllowAnyway;
  if (error.code == ErrorCode::kPermission && bpf) {
    const auto needs = [&](const char* name) {
      return error.message.find(name) != std::string::npos;
    };
    if (needs("cap_sys_admin")) return "run with sudo";
    return fmt::format(
        "sudo setcap {}cap_bpf,cap_perfmon,cap_net_raw+ep \"$(command -v topspin)\", or sudo",
        needs("cap_dac_read_search") ? "cap_dac_read_search," : "");
  }
  if (error.code == ErrorCode::kPermission && rung == Rung::kPerf)
    return "sudo sysctl kernel.perf_event_paranoid=2";
  if (error.code == ErrorCode::kPermission && rung == Rung::kProc)
    return "sudo mount -o remount,hidepid=0 /proc";
  return "";
}

}  // namespace

bool is_asked_for(const ProbeOptions& options, const std::string& probe) {
  return options.asked.contains(probe) || options.forced.contains(probe);
}

bool may_use(const ProbeOptions& options, std::string_view probe, Rung rung) {
  const auto forced = options.forced.find(std::string(probe));
  return forced == options.forced.end() || forced->second == rung;
}

ProbeStatus climb(const std::string& probe, std::span<const Rung> ladder,
                  const ProbeOptions& options, const std::function<Status(Rung)>& open) {
  ProbeStatus status{probe, Rung::kNone, ""};
  for (const Rung rung : ladder) {
    if (!may_use(options, probe, rung)) continue;
    const Status opened = open(rung);
    if (opened.ok()) {
      status.rung = rung;
      break;
    }
    if (!status.reason.empty()) status.reason += "; ";
    status.reason += fmt::format("{}: {}", rung_name(rung), opened.error().message);
  }
  const auto forced = options.forced.find(probe);
  if (forced == options.forced.end() || !status.reason.empty()) return status;
  if (status.rung == Rung::kNone)
    status.reason = fmt::format("the {} probe has no rung {}; it has {}", probe,
                                rung_name(forced->second), rung_list(ladder));
  else if (status.rung != ladder.front())
    status.reason = "forced";
  return status;
}

std::vector<int> bpf_capabilities_needed() {
  return kernel_restricts_open_bpf() ? std::vector<int>{CAP_BPF} : std::vector<int>{};
}

RungReport refused_rung(const std::string& probe, Rung rung, const Error& error) {
  return {probe, rung, false, error.message, remedy_of(rung, error)};
}

void sleep_and_work() {
  // Long enough for even an emulated CPU to fall asleep before it is over.
  constexpr int64_t kSleepNs = 3 * kNanosPerMilli;
  for (int count = 0; count < kExamineSleeps; ++count) {
    const timespec pause{0, kSleepNs};
    ::nanosleep(&pause, nullptr);
  }
  const int64_t end_ns = process_cpu_now_ns() + kNanosPerMilli;
  while (process_cpu_now_ns() < end_ns) {
  }
}

}  // namespace topspin
