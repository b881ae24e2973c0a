#include "store/flows/flow_writer.h"

#include <algorithm>
#include <limits>
#include <string>
#include <tuple>

#include <fmt/format.h>

#include "core/number/foremost.h"
#include "store/run_store.h"
#include "store/sqlite/columns.h"
#include "store/sqlite/row_values.h"

namespace topspin {

Result<FlowWriter> FlowWriter::prepare(Connection& connection, int64_t run, uint64_t max_rows) {
  const ColumnNames columns = flow_table_columns();
  TOPSPIN_ASSIGN(Statement whole,
                 connection.prepare(fmt::format("INSERT OR REPLACE INTO flow ({}) VALUES ({})",
                                                columns.names(), columns.parameters())));
  TOPSPIN_ASSIGN(Statement changed, connection.prepare(changed_flow_sql("flow")));
  TOPSPIN_ASSIGN(Statement late,
                 connection.prepare("INSERT INTO late_message VALUES (?1, ?2, ?3, ?4, ?5)"));
  TOPSPIN_ASSIGN(Statement change, connection.prepare("INSERT INTO flow_change VALUES (?1, ?2)"));
  return FlowWriter(connection, run, max_rows, std::move(whole), std::move(changed),
                    std::move(late), std::move(change));
}

void FlowWriter::begin() {
  slots_before_.clear();
  waiting_before_ = waiting_;
}

/// The transaction was rolled back, so the rows that it had stored are gone.
void FlowWriter::undo() {
  for (auto at = slots_before_.rbegin(); at != slots_before_.rend(); ++at) *at->first = at->second;
  slots_before_.clear();
  waiting_ = waiting_before_;
}

Status FlowWriter::store(const Sample& sample, uint64_t& unstored) {
  order(sample, unstored);
  late_messages_.clear();
  changes_.clear();
  for (const OrderedFlow& ordered : ordered_) {
    const FlowRow& flow = *ordered.flow;
    Slot& slot = *ordered.slot;
    if (flow.packets[0] > slot.initiator_packets && is_late(flow))
      note_late({slot.number, flow.last_ns, *flow.lateness_last_ns});
    slot.initiator_packets = flow.packets[0];
    const bool is_new = !slot.stored;
    if (is_new || slot.initiator_is_low != flow.initiator_is_low)
      TOPSPIN_TRY(store_whole(slot, flow));
    if (is_new) continue;
    // A tick that came late may have several rows of a flow, one after the other here.
    if (!changes_.empty() && changes_.back().number == slot.number) changes_.pop_back();
    changes_.push_back({slot.number, &flow});
  }
  TOPSPIN_TRY(store_changes());
  TOPSPIN_TRY(fold_on());
  return store_late_messages(sample.tick);
}

/// Fills `ordered_`: first by id, so that new flows get numbers in that order, and then by number,
/// so that each page is found and changed only once.
void FlowWriter::order(const Sample& sample, uint64_t& unstored) {
  ordered_.clear();
  for (const FlowRow& flow : sample.changed_flows) ordered_.push_back({flow.id, &flow, nullptr});
  const auto by_order = [](const OrderedFlow& a, const OrderedFlow& b) {
    return a.order < b.order;
  };
  const auto sort_if_needed = [&] {
    if (!std::is_sorted(ordered_.begin(), ordered_.end(), by_order))
      std::stable_sort(ordered_.begin(), ordered_.end(), by_order);
  };
  sort_if_needed();
  for (OrderedFlow& ordered : ordered_) {
    auto found = slots_.find(ordered.flow->id);
    if (found == slots_.end()) {
      if (slots_.size() >= max_rows_) {
        ++unstored;
        continue;
      }
      const Slot slot{static_cast<uint32_t>(slots_.size()), false, false, 0};
      found = slots_.emplace(ordered.flow->id, slot).first;
    }
    ordered.slot = &found->second;
    slots_before_.emplace_back(ordered.slot, found->second);
    ordered.order = found->second.number;
  }
  std::erase_if(ordered_, [](const OrderedFlow& f) { return f.slot == nullptr; });
  sort_if_needed();
}

Status FlowWriter::store_whole(Slot& slot, const FlowRow& flow) {
  ParameterBinder bind(whole_);
  const auto visit = [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); };
  const std::string initiator = format_address(flow.initiator(), flow.key.ip_version);
  const std::string responder = format_address(flow.responder(), flow.key.ip_version);
  for_each_changing_flow_column(flow, visit);
  for_each_fixed_flow_column(flow, visit);
  bind.bind(initiator);
  bind.bind(flow.initiator().port);
  bind.bind(responder);
  bind.bind(flow.responder().port);
  bind.bind(row_key(slot.number));
  slot.initiator_is_low = flow.initiator_is_low;
  slot.stored = true;
  return whole_.run();
}

Status FlowWriter::store_changed(const NumberedFlow& changed) {
  ParameterBinder bind(changed_);
  for_each_changing_flow_column(
      *changed.flow, [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
  bind.bind(row_key(changed.number));
  return changed_.run();
}

/// A change must not go into its row while an older one waits, which would be folded over it.
Status FlowWriter::store_changes() {
  if (waiting_.first == waiting_.end && changes_.size() <= kFewChanges) {
    for (const NumberedFlow& changed : changes_) TOPSPIN_TRY(store_changed(changed));
    return {};
  }
  if (changes_.empty()) return {};
  const std::string blob = encode_flow_changes(changes_);
  waiting_.newer_bytes += blob.size();
  waiting_.most_bytes =
      std::max(waiting_.most_bytes, waiting_.newer_bytes + waiting_.folding_bytes);
  ParameterBinder bind(change_);
  bind.bind(row_key(waiting_.end++));
  bind.bind_blob(blob);
  return change_.run();
}

Status FlowWriter::fold_on() {
  if (waiting_.first == waiting_.end) return {};
  if (!waiting_.folding) {
    const bool is_quiet = changes_.empty();
    const bool is_due = is_quiet || waiting_.newer_bytes >= kFoldBytes ||
                        waiting_.end - waiting_.newer >= kFoldTicks;
    return is_due ? begin_fold() : Status();
  }
  const size_t all = waiting_.folding->size();
  const size_t some = std::max(kFoldRows, (all + kFoldSteps - 1) / kFoldSteps);
  for (const size_t end = std::min(all, waiting_.folded + some); waiting_.folded < end;
       ++waiting_.folded)
    TOPSPIN_TRY(waiting_.folding->store(*connection_, waiting_.folded, run_, changed_));
  return waiting_.folded == all ? end_fold() : Status();
}

Status FlowWriter::begin_fold() {
  TOPSPIN_ASSIGN(auto changes,
                 FlowChanges::load(*connection_, run_, waiting_.first, waiting_.end - 1));
  waiting_.folding = std::make_shared<const FlowChanges>(std::move(changes));
  waiting_.folded = 0;
  waiting_.newer = waiting_.end;
  waiting_.folding_bytes += std::exchange(waiting_.newer_bytes, 0);
  return {};
}

Status FlowWriter::end_fold() {
  TOPSPIN_TRY(
      connection_->execute(fmt::format("DELETE FROM flow_change WHERE row BETWEEN {} AND {}",
                                       row_key(waiting_.first), row_key(waiting_.newer - 1))));
  waiting_.first = waiting_.newer;
  waiting_.folding.reset();
  waiting_.folding_bytes = 0;
  return {};
}

Status FlowWriter::fold_all() {
  if (waiting_.first == waiting_.end) return {};
  TOPSPIN_TRY(begin_fold());
  for (size_t i = 0; i < waiting_.folding->size(); ++i)
    TOPSPIN_TRY(waiting_.folding->store(*connection_, i, run_, changed_));
  return end_fold();
}

/// Other free pages of the file are left alone: to move its last pages there takes time.
Status FlowWriter::shrink() {
  if (waiting_.most_bytes == 0) return {};
  TOPSPIN_ASSIGN(const int64_t page_bytes, connection_->query_int("PRAGMA page_size"));
  return connection_->execute(fmt::format("PRAGMA incremental_vacuum({})",
                                          waiting_.most_bytes / static_cast<size_t>(page_bytes)));
}

void FlowWriter::note_late(const LateMoment& late) {
  if (late_messages_.empty() || late_messages_.back().number != late.number)
    late_messages_.push_back(late);
  else if (late_messages_.back().lateness_ns < late.lateness_ns)
    late_messages_.back() = late;
}

Status FlowWriter::store_late_messages(uint64_t tick) {
  keep_foremost(late_messages_, kLateMessagesKept, [](const LateMoment& a, const LateMoment& b) {
    return std::tie(b.lateness_ns, a.number) < std::tie(a.lateness_ns, b.number);
  });
  for (const LateMoment& late : late_messages_) {
    TOPSPIN_TRY(run_with(late_message_, run_, tick, late.number, late.time_ns, late.lateness_ns));
  }
  return {};
}

}  // namespace topspin
