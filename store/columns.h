// Which value stands in which column: the one list for the writer's INSERTs and the reader's
// SELECTs, so that the two cannot drift apart. schema.sql declares the same names, docs/schema.md
// explains them. Pure; private to store.
//
// Each function calls visit(prefix, name, value) for each column, whose name is prefix + name.
// `value` is a reference into what is visited, const or not as that is.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/run.h"
#include "core/sample.h"

namespace topspin {

template <typename Scheduler, typename Visit>
void for_each_scheduler_column(Scheduler& scheduler, Visit visit) {
  visit("", "run_queue_wait_ns", scheduler.run_queue_wait_ns);
  visit("", "cpu_ns", scheduler.cpu_ns);
  visit("", "voluntary_switches", scheduler.voluntary_switches);
  visit("", "involuntary_switches", scheduler.involuntary_switches);
  visit("", "migrations", scheduler.migrations);
}

template <typename Resources, typename Visit>
void for_each_resource_column(Resources& resources, Visit visit) {
  visit("", "rss_bytes", resources.rss_bytes);
  visit("", "pss_bytes", resources.pss_bytes);
  visit("", "anonymous_bytes", resources.anonymous_bytes);
  visit("", "vsz_bytes", resources.vsz_bytes);
  visit("", "swap_bytes", resources.swap_bytes);
  visit("", "mappings", resources.mappings);
  visit("", "processes", resources.processes);
  visit("", "threads", resources.threads);
  visit("", "fds", resources.fds);
  visit("", "minor_faults", resources.minor_faults);
  visit("", "major_faults", resources.major_faults);
}

/// All of table tick but the run. The optional parts and the losses are given beside the sample:
/// the writer has counted losses of its own, and gives empty parts for absent ones.
template <typename Sample, typename Losses, typename Scheduler, typename Resources, typename Visit>
void for_each_tick_column(Sample& sample, Losses& losses, Scheduler& scheduler,
                          Resources& resources, Visit visit) {
  const auto plain = [&](std::string_view name, auto& value) { visit("", name, value); };
  plain("tick", sample.tick);
  plain("monotonic_ns", sample.monotonic_ns);
  plain("elapsed_ns", sample.elapsed_ns);
  plain("interval_ns", sample.interval_ns);

  auto& flows = sample.flows;
  plain("flows_begin_ns", flows.begin_ns);
  plain("flows_end_ns", flows.end_ns);
  plain("active_flows", flows.active_flows);
  plain("active_flows_max", flows.active_flows_max);
  plain("active_is_lower_bound", flows.active_is_lower_bound);
  plain("live_flows", flows.live_flows);
  plain("tcp_half_open", flows.tcp_half_open);
  plain("packets", flows.packets);
  plain("bytes", flows.bytes);
  plain("tcp_flows", flows.tcp.flows);
  plain("tcp_packets", flows.tcp.packets);
  plain("tcp_bytes", flows.tcp.bytes);
  plain("udp_flows", flows.udp.flows);
  plain("udp_packets", flows.udp.packets);
  plain("udp_bytes", flows.udp.bytes);
  plain("ipv4_packets", flows.ipv4_packets);
  plain("ipv6_packets", flows.ipv6_packets);
  plain("fragments_first", flows.fragments_first);
  plain("fragments_later", flows.fragments_later);
  plain("initiator_packets", flows.initiator_packets);
  plain("initiator_bytes", flows.initiator_bytes);
  plain("responder_packets", flows.responder_packets);
  plain("responder_bytes", flows.responder_bytes);
  plain("new_flows", flows.new_flows);
  plain("ended_flows", flows.ended_flows);
  plain("evicted_flows", flows.evicted_flows);
  for (size_t i = 0; i < kSkipReasonCount; ++i) {
    visit("skipped_", skip_reason_name(static_cast<SkipReason>(i)), flows.skipped[i]);
  }
  plain("seen_flows_per_second_max", flows.seen_flows_per_second_max);
  plain("missed_ticks", flows.missed_ticks);
  plain("unanswered", flows.unanswered);
  plain("late_flows", flows.late_flows);
  plain("tcp_retransmissions", flows.tcp_retransmissions);
  plain("tcp_out_of_order", flows.tcp_out_of_order);
  plain("tcp_resets", flows.tcp_resets);
  plain("tcp_refused", flows.tcp_refused);
  plain("tcp_handshakes", flows.tcp_handshakes);
  plain("time_went_backwards", flows.time_went_backwards);

  LossInterval::for_each_field(
      [&](std::string_view name, auto field) { visit("loss_", name, losses.*field); });

  plain("self_cpu_ns", sample.self.cpu_ns);
  plain("self_rss_bytes", sample.self.rss_bytes);
  plain("self_bpf_ns", sample.self.bpf_ns);
  plain("host_steal_ns", sample.self.host_steal_ns);
  plain("host_busy_ns", sample.self.host_busy_ns);

  for_each_scheduler_column(scheduler, visit);
  for_each_resource_column(resources, visit);
}

/// Rows of table histogram, visit(name, histogram): of the flows (always measured) and of the
/// scheduler (each optional).
template <typename Flows, typename Visit>
void for_each_flow_histogram(Flows& flows, Visit visit) {
  visit("lateness_ns", flows.lateness);
  visit("reply_latency_ns", flows.reply_latency);
  visit("tcp_handshake_ns", flows.tcp_handshake);
}

template <typename Scheduler, typename Visit>
void for_each_scheduler_histogram(Scheduler& scheduler, Visit visit) {
  visit("run_queue_latency_ns", scheduler.run_queue_latency);
  visit("wake_delivery_ns", scheduler.wake_delivery);
  visit("queue_wait_ns", scheduler.queue_wait);
  visit("preemption_wait_ns", scheduler.preemption_wait);
}

/// Columns of table run that are known when it starts. An empty text is NULL: not known.
template <typename Run, typename Visit>
void for_each_run_column(Run& run, Visit visit) {
  const auto plain = [&](std::string_view name, auto& value) { visit("", name, value); };
  plain("id", run.id);
  plain("topspin_version", run.topspin_version);
  plain("started_wall_ns", run.started_wall_ns);
  plain("started_monotonic_ns", run.started_monotonic_ns);
  plain("hostname", run.host.hostname);
  plain("kernel", run.host.kernel);
  plain("architecture", run.host.architecture);
  plain("os", run.host.os);
  plain("cpu_model", run.host.cpu_model);
  plain("cpus_online", run.host.cpus_online);
  plain("memory_bytes", run.host.memory_bytes);
  plain("hypervisor", run.host.hypervisor);
  plain("fingerprint", run.host.fingerprint);
  plain("source_commit", run.source.commit);
  plain("source_branch", run.source.branch);
  plain("source_dirty", run.source.dirty);
  plain("interface", run.settings.interface);
  plain("filter", run.settings.filter);
  plain("link_type", run.settings.link_type);
  plain("period_ns", run.settings.period_ns);
  plain("window_ns", run.settings.window_ns);
  plain("interval_ns", run.settings.interval_ns);
  plain("reply_timeout_ns", run.settings.reply_timeout_ns);
  plain("duration_limit_ns", run.settings.duration_ns);
  plain("max_flows", run.settings.max_flows);
  plain("max_stored_flows", run.settings.max_stored_flows);
  plain("subject", run.settings.subject);
}

/// What of a flow's row stays as it was when first stored (as do its ends, which are text and
/// written apart), and what each tick may change.
template <typename Flow, typename Visit>
void for_each_fixed_flow_column(Flow& flow, Visit visit) {
  visit("", "flow", flow.id);
  visit("", "ip_version", flow.key.ip_version);
  visit("", "protocol", flow.key.protocol);
  visit("", "vlan_outer", flow.key.vlan[0]);
  visit("", "vlan_inner", flow.key.vlan[1]);
}

template <typename Flow, typename Visit>
void for_each_changing_flow_column(Flow& flow, Visit visit) {
  visit("", "first_ns", flow.first_ns);
  visit("", "last_ns", flow.last_ns);
  visit("", "ended", flow.ended);
  visit("", "initiator_packets", flow.packets[0]);
  visit("", "responder_packets", flow.packets[1]);
  visit("", "initiator_bytes", flow.bytes[0]);
  visit("", "responder_bytes", flow.bytes[1]);
  visit("", "period_ns", flow.period_ns);
  visit("", "lateness_last_ns", flow.lateness_last_ns);
  visit("", "lateness_max_ns", flow.lateness_max_ns);
  visit("", "missed_ticks", flow.missed_ticks);
  visit("", "replies", flow.replies);
  visit("", "reply_latency_sum_ns", flow.reply_latency_sum_ns);
  visit("", "reply_latency_max_ns", flow.reply_latency_max_ns);
  visit("", "reply_latency_last_ns", flow.reply_latency_last_ns);
  visit("", "unanswered", flow.unanswered);
  visit("", "retransmissions", flow.retransmissions);
  visit("", "initiator_owner", flow.owners[0]);
  visit("", "responder_owner", flow.owners[1]);
  visit("", "initiator_payload_bytes", flow.payload_bytes[0]);
  visit("", "responder_payload_bytes", flow.payload_bytes[1]);
}

template <typename Thread, typename Visit>
void for_each_thread_column(Thread& thread, Visit visit) {
  visit("", "pid", thread.pid);
  visit("", "tid", thread.tid);
  visit("", "start_time_ns", thread.start_time_ns);
  visit("", "name", thread.name);
  visit("", "exited", thread.exited);
  visit("", "cpu_ns", thread.cpu_ns);
  visit("", "run_queue_wait_ns", thread.run_queue_wait_ns);
  visit("", "run_queue_waits", thread.run_queue_waits);
  visit("", "run_queue_wait_max_ns", thread.run_queue_wait_max_ns);
  visit("", "voluntary_switches", thread.voluntary_switches);
  visit("", "involuntary_switches", thread.involuntary_switches);
  visit("", "migrations", thread.migrations);
}

/// All of table owner but its key and the quality, which is a word.
template <typename Owner, typename Visit>
void for_each_owner_column(Owner& owner, Visit visit) {
  visit("", "owner", owner.number);
  visit("", "pid", owner.pid);
  visit("", "start_time_ns", owner.start_time_ns);
  visit("", "name", owner.name);
}

}  // namespace topspin
