#include "app/recording/hidden_connections.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace topspin {
namespace {

constexpr size_t kRowsMax = 32;  // the last row is for all further addresses

}  // namespace

HiddenConnections::HiddenConnections(std::string interface, std::string filter)
    : interface_(std::move(interface)),
      filter_(std::move(filter)),
      shown_(ConnectionFilter::compile(filter_)) {}

/// Connections within the host pass only through `lo`, and others never do.
HiddenConnections::Hiding HiddenConnections::look(const OpenedConnection& connection) const {
  if (interface_ != "any" && (interface_ == "lo") != connection.stays_on_host)
    return Hiding::kInterface;
  const FlowEnd& end = connection.end;
  if (!shown_ || shown_->shows(end.protocol, end.ip_version, end.local, end.remote))
    return Hiding::kNone;
  return Hiding::kFilter;
}

CalledRow& HiddenConnections::row_of(const FlowEnd& end) {
  for (CalledRow& row : rows_) {
    if (row.address == end.remote && row.protocol == end.protocol &&
        row.ip_version == end.ip_version)
      return row;
  }
  if (rows_.size() == kRowsMax) return rows_.back();
  CalledRow& row = rows_.emplace_back();
  row.number = kFirstHidden + static_cast<uint32_t>(rows_.size() - 1);
  row.ip_version = end.ip_version;
  if (rows_.size() < kRowsMax) {
    row.protocol = end.protocol;
    row.address = end.remote;
  }
  return row;
}

std::string HiddenConnections::sentence(const CalledRow& row) const {
  const std::string to =
      row.address.port == 0 ? "further addresses" : format_endpoint(row.address, row.ip_version);
  if (row.hidden_by_interface)
    return fmt::format("connections of the subject to {} are not captured: {} does not carry them",
                       to, interface_);
  const std::string remedy =
      row.address.port == 0 ? ""
                            : fmt::format(" (`or port {}` behind it shows them)", row.address.port);
  return fmt::format("connections of the subject to {} are not captured: the filter hides them{}",
                     to, remedy);
}

std::vector<std::string> HiddenConnections::add(std::span<const OpenedConnection> opened,
                                                Sample& sample) {
  std::vector<std::string> sentences;
  std::set<uint32_t> changed;
  for (const OpenedConnection& connection : opened) {
    const Hiding hiding = look(connection);
    if (hiding == Hiding::kNone) continue;
    CalledRow& row = row_of(connection.end);
    row.hidden_by_interface = hiding == Hiding::kInterface;
    if (row.hidden_connections++ == 0) sentences.push_back(sentence(row));
    changed.insert(row.number);
    auto& calls = sample.part<CallInterval>();
    if (!calls) calls.emplace();
    calls->hidden_connections = calls->hidden_connections.value_or(0) + 1;
  }
  for (const uint32_t number : changed)
    sample.changed_called.push_back(rows_[number - kFirstHidden]);
  if (auto& calls = sample.part<CallInterval>(); calls && !calls->hidden_connections)
    calls->hidden_connections = 0;
  return sentences;
}

}  // namespace topspin
