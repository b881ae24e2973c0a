// The rows of an export as (name, value) pairs: the store's own column lists, so that an export
// names everything as the database does and gains a column when the database does. Private to
// report; pure.
//
// visit(name, value) gets integers, bools, optionals of integers and texts; an empty text is
// "not known", as in the store. visit(name, histogram) gets Histogram, SignedHistogram and
// optional<Histogram>.
#pragma once

#include <string>
#include <string_view>

#include "core/flow_owner.h"
#include "store/columns.h"
#include "store/run_store.h"

namespace topspin {

inline std::string joined(std::string_view prefix, std::string_view name) {
  std::string whole(prefix);
  whole += name;
  return whole;
}

template <typename Visit>
void for_each_tick_field(const Sample& sample, Visit visit) {
  static const SchedulerInterval kNoScheduler;
  static const ResourceReading kNoResources;
  static const SocketInterval kNoSockets;
  for_each_tick_column(sample, sample.losses, sample.scheduler ? *sample.scheduler : kNoScheduler,
                       sample.resources ? *sample.resources : kNoResources,
                       sample.sockets ? *sample.sockets : kNoSockets,
                       [&](std::string_view prefix, std::string_view name, const auto& value) {
                         visit(joined(prefix, name), value);
                       });
}

template <typename Visit>
void for_each_tick_histogram(const Sample& sample, Visit visit) {
  static const SchedulerInterval kNoScheduler;
  static const SocketInterval kNoSockets;
  for_each_flow_histogram(sample.flows, visit);
  for_each_scheduler_histogram(sample.scheduler ? *sample.scheduler : kNoScheduler, visit);
  for_each_socket_histogram(sample.sockets ? *sample.sockets : kNoSockets, visit);
}

template <typename Visit>
void for_each_flow_field(const FlowRow& flow, Visit visit) {
  const auto plain = [&](std::string_view prefix, std::string_view name, const auto& value) {
    visit(joined(prefix, name), value);
  };
  for_each_fixed_flow_column(flow, plain);
  visit("initiator_address", format_address(flow.initiator(), flow.key.ip_version));
  visit("initiator_port", flow.initiator().port);
  visit("responder_address", format_address(flow.responder(), flow.key.ip_version));
  visit("responder_port", flow.responder().port);
  for_each_changing_flow_column(flow, plain);
}

template <typename Visit>
void for_each_thread_field(const ThreadRow& thread, Visit visit) {
  for_each_thread_column(thread, [&](std::string_view prefix, std::string_view name,
                                     const auto& value) { visit(joined(prefix, name), value); });
}

template <typename Visit>
void for_each_owner_field(const FlowOwner& owner, Visit visit) {
  for_each_owner_column(owner, [&](std::string_view prefix, std::string_view name,
                                   const auto& value) { visit(joined(prefix, name), value); });
  visit("quality", std::string(owner_quality_name(owner.quality)));
}

template <typename Visit>
void for_each_event_field(const StoredEvent& event, Visit visit) {
  visit("elapsed_ns", event.elapsed_ns);
  visit("text", event.text);
}

template <typename Visit>
void for_each_run_field(const StoredRun& run, Visit visit) {
  for_each_run_column(run.info, [&](std::string_view prefix, std::string_view name,
                                    const auto& value) { visit(joined(prefix, name), value); });
  visit("status", std::string(run_status_name(run.end.status)));
  visit("duration_ns", run.end.duration_ns);
  visit("ticks", run.ticks);
  visit("exit_status", run.end.exit_status);
}

}  // namespace topspin
