// The probe "owners", for the list of probes. A recording opens FlowOwners itself.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/owners/flow_owner.h"
#include "probes/probe.h"

namespace topspin {
namespace {

/// Looks up the owner of one of topspin's own sockets.
RungReport examine_owners(Rung rung) {
  RungReport report{"owners", rung, false, "", ""};
  ProbeOptions options;
  options.forced["owners"] = rung;
  FlowOwnerLimits limits;
  limits.walk_ns_per_resolve = kNanosPerSecond;  // enough for a whole walk, even on a busy host
  const auto owners = FlowOwners::open({}, options, limits);
  if (owners->status().rung != rung) {
    const ErrorCode code = rung == Rung::kTpBtf ? ErrorCode::kPermission : ErrorCode::kUnsupported;
    std::string reason = owners->status().reason;
    if (const std::string prefix = fmt::format("{}: ", rung_name(rung)); reason.starts_with(prefix))
      reason.erase(0, prefix.size());
    return refused_rung("owners", rung, {code, 0, std::move(reason)});
  }
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (!socket || ::bind(socket.get(), raw, length) != 0 ||
      ::getsockname(socket.get(), raw, &length) != 0) {
    report.reason = "cannot try it: no UDP socket on 127.0.0.1";
    return report;
  }
  Sample sample;
  FlowRow& row = sample.changed_flows.emplace_back();
  row.key.protocol = kProtocolUdp;
  row.key.low = {{127, 0, 0, 1}, ntohs(address.sin_port)};
  row.key.high = row.key.low;
  owners->resolve(sample);
  if (sample.changed_owners.empty() || sample.changed_owners[0].pid != ::getpid())
    report.reason =
        "it opens, but does not find the owner of a socket of topspin's own in one tick";
  else
    report.works = true;
  return report;
}

}  // namespace

ProbeKind owners_probe() {
  ProbeKind kind;
  kind.names = {"owners"};
  kind.examine = [](ProbeContext&, std::vector<RungReport>& reports) {
    for (const Rung rung : kOwnersLadder) reports.push_back(examine_owners(rung));
  };
  return kind;
}

}  // namespace topspin
