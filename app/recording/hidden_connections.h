// HiddenConnections: connections from the subject to others that the capture does not show, because
// its filter hides them or its interface does not carry them. Each address has a row (CalledRow),
// in addition to the rows of captured ones. One thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "capture/source/connection_filter.h"
#include "core/tick/sample.h"
#include "probes/owners/flow_owner.h"

namespace topspin {

class HiddenConnections {
 public:
  HiddenConnections(std::string interface, std::string filter);

  /// Counts in the sample those of `opened` that are hidden. Returns a sentence for each address
  /// that was not hidden before.
  std::vector<std::string> add(std::span<const OpenedConnection> opened, Sample& sample);

 private:
  enum class Hiding { kNone, kFilter, kInterface };
  Hiding look(const OpenedConnection& connection) const;
  /// The row of an address, which may be new. If there are too many, further addresses share a row.
  CalledRow& row_of(const FlowEnd& end);
  std::string sentence(const CalledRow& row) const;

  std::string interface_;
  std::string filter_;
  std::optional<ConnectionFilter> shown_;  // nullopt: the filter works only on live packets
  std::vector<CalledRow> rows_;
};

}  // namespace topspin
