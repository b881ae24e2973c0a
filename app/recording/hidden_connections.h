// HiddenConnections: connections of the subject to others that the capture does not show, since its
// filter hides them or its interface does not carry them. Each address has a row of its own beside
// those that are captured (CalledRow). One thread.
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

  /// Counts those of `opened` that are hidden in the sample. Answers a sentence for each address
  /// that was not hidden before.
  std::vector<std::string> add(std::span<const OpenedConnection> opened, Sample& sample);

 private:
  enum class Hiding { kNone, kFilter, kInterface };
  Hiding look(const OpenedConnection& connection) const;
  /// Of a new address too, unless there are too many: then of all those together.
  CalledRow& row_of(const FlowEnd& end);
  std::string sentence(const CalledRow& row) const;

  std::string interface_;
  std::string filter_;
  std::optional<ConnectionFilter> shown_;  // nullopt: the filter cannot be asked
  std::vector<CalledRow> rows_;
};

}  // namespace topspin
