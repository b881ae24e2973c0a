// The subject of `topspin doctor --prove`: a small server that inflicts one fault on itself, and
// keeps an account of it by its own clocks. topspin executes itself as this server, so the probes
// see an ordinary process.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

/// The command that runs topspin as such a server. It is hidden from help.
inline constexpr std::string_view kFaultSubjectCommand = "fault-subject";

struct FaultSubject {
  std::string fault;  // one of fault_subject_names()
  uint16_t port = 0;  // on 127.0.0.1
  // The file that gets the account when SIGTERM ends the server; empty: none.
  std::string account = {};
  uint16_t downstream = 0;  // the port of a downstream service; 0: none
  std::string cgroup = {};  // a folder of cgroups to enter first; empty: none
};

/// The size of a fault by the subject's own account: "longest_stretch_ns" -> 80,112,000.
using FaultAccount = std::map<std::string, double, std::less<>>;

std::vector<std::string_view> fault_subject_names();

/// Serves until SIGTERM, then writes the account. kUsage if there is no such fault. kInternal if
/// the port is taken, or the cgroup or the account cannot be written.
Status serve_fault(const FaultSubject& subject);

/// Reads the account that serve_fault() wrote. Fails with kInput or kInternal.
Result<FaultAccount> read_fault_account(const std::string& path);

}  // namespace topspin
