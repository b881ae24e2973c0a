// Which value stands in which column: the one list for the writer's INSERTs and the reader's
// SELECTs, so that the two cannot drift apart. schema.sql declares the same names, docs/schema.md
// explains them. Pure; report's exports (report/export_rows.h) name their fields by these lists
// too.
//
// Each function calls visit(prefix, name, value) for each column, whose name is prefix + name.
// `value` is a reference into what is visited, const or not as that is.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/load_result.h"
#include "core/run.h"
#include "core/sample.h"

namespace topspin {

template <typename Scheduler, typename Visit>
void for_each_scheduler_column(Scheduler& scheduler, Visit visit) {
  SchedulerInterval::for_each_count(
      scheduler, [&](std::string_view name, auto& value) { visit("", name, value); });
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
  visit("", "file_bytes", resources.file_bytes);
  visit("", "shared_bytes", resources.shared_bytes);
  visit("", "page_table_bytes", resources.page_table_bytes);
  visit("", "socket_fds", resources.socket_fds);
  visit("", "pipe_fds", resources.pipe_fds);
  visit("", "file_fds", resources.file_fds);
  visit("", "anonymous_fds", resources.anonymous_fds);
  visit("", "other_fds", resources.other_fds);
  visit("", "cgroup_bytes", resources.cgroup_bytes);
  visit("", "address_space_used_bytes", resources.address_space_bytes.used);
  visit("", "address_space_limit_bytes", resources.address_space_bytes.limit);
  visit("", "mappings_used", resources.process_mappings.used);
  visit("", "mappings_limit", resources.process_mappings.limit);
  visit("", "fds_used", resources.process_fds.used);
  visit("", "fds_limit", resources.process_fds.limit);
  visit("", "memory_used_bytes", resources.memory_bytes.used);
  visit("", "memory_limit_bytes", resources.memory_bytes.limit);
  visit("", "ephemeral_ports", resources.ephemeral_ports);
}

template <typename Stall, typename Visit>
void for_each_stall_column(std::string_view prefix, Stall& stall, Visit visit) {
  visit(prefix, "cpu_some_ns", stall.cpu_some_ns);
  visit(prefix, "memory_some_ns", stall.memory_some_ns);
  visit(prefix, "memory_full_ns", stall.memory_full_ns);
  visit(prefix, "io_some_ns", stall.io_some_ns);
  visit(prefix, "io_full_ns", stall.io_full_ns);
}

template <typename Pressure, typename Visit>
void for_each_pressure_column(Pressure& pressure, Visit visit) {
  for_each_stall_column("host_stall_", pressure.host, visit);
  for_each_stall_column("cgroup_stall_", pressure.cgroup, visit);
  visit("", "cpu_quota_periods", pressure.cpu_quota_periods);
  visit("", "throttled_periods", pressure.throttled_periods);
  visit("", "throttled_ns", pressure.throttled_ns);
}

template <typename Sockets, typename Visit>
void for_each_socket_interval_column(Sockets& sockets, Visit visit) {
  visit("", "replies_multiplexed", sockets.replies_multiplexed);
  visit("", "accept_queue_max", sockets.accept_queue_max);
  visit("", "accept_queue_limit", sockets.accept_queue_limit);
  visit("", "listen_overflows", sockets.listen_overflows);
  visit("", "syn_drops", sockets.syn_drops);
  visit("", "host_listen_overflows", sockets.host_listen_overflows);
  visit("", "host_listen_drops", sockets.host_listen_drops);
  visit("", "udp_drops", sockets.udp_drops);
}

/// All of table tick but the run. The optional parts and the losses are given beside the sample:
/// the writer has counted losses of its own, and gives empty parts for absent ones.
template <typename Sample, typename Losses, typename Scheduler, typename Resources,
          typename Sockets, typename Visit>
void for_each_tick_column(Sample& sample, Losses& losses, Scheduler& scheduler,
                          Resources& resources, Sockets& sockets, Visit visit) {
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
  plain("periodic_flows", flows.periodic_flows);
  plain("silent_flows", flows.silent_flows);
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
  plain("requests", flows.requests);
  plain("late_replies", flows.late_replies);
  plain("overlapping_requests", flows.overlapping_requests);
  plain("handshake_turns", flows.handshake_turns);
  plain("multiplexed_turns", flows.multiplexed_turns);
  plain("tcp_retransmissions", flows.tcp_retransmissions);
  plain("tcp_out_of_order", flows.tcp_out_of_order);
  plain("tcp_resets", flows.tcp_resets);
  plain("tcp_refused", flows.tcp_refused);
  plain("tcp_handshakes", flows.tcp_handshakes);
  plain("time_went_backwards", flows.time_went_backwards);
  plain("time_steps", flows.time_steps);
  plain("duplicate_packets", flows.duplicate_packets);
  plain("super_packets", flows.super_packets);
  plain("super_packet_segments", flows.super_packet_segments);

  LossInterval::for_each_field(
      [&](std::string_view name, auto field) { visit("loss_", name, losses.*field); });

  plain("self_cpu_ns", sample.self.cpu_ns);
  plain("self_rss_bytes", sample.self.rss_bytes);
  plain("self_bpf_ns", sample.self.bpf_ns);
  plain("host_steal_ns", sample.self.host_steal_ns);
  plain("host_busy_ns", sample.self.host_busy_ns);

  for_each_scheduler_column(scheduler, visit);
  for_each_resource_column(resources, visit);
  for_each_socket_interval_column(sockets, visit);
  for_each_pressure_column(sample.pressure, visit);
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
  SchedulerInterval::for_each_histogram(scheduler, visit);
}

template <typename Sockets, typename Visit>
void for_each_socket_histogram(Sockets& sockets, Visit visit) {
  SocketInterval::for_each_histogram(sockets, visit);
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
  plain("stack_samples_per_second", run.settings.stack_samples_per_second);
}

template <typename Plan, typename Visit>
void for_each_plan_column(Plan& plan, Visit visit) {
  visit("", "session", plan.session);
  visit("", "name", plan.name);
  visit("", "text", plan.text);
  visit("", "subject", plan.subject);
  visit("", "seed", plan.seed);
  visit("", "position", plan.position);
  visit("", "repeat", plan.repeat);
}

/// All of table load but its key, the workload, which is a word, and the blob. The parts that only
/// some loads have are given as optional values, each NULL where the load has none of it.
template <typename Load, typename Visit>
void for_each_load_column(Load& load, Visit visit) {
  const auto plain = [&](std::string_view name, auto& value) { visit("", name, value); };
  plain("target", load.target);
  plain("expects_replies", load.expects_replies);
  plain("started_wall_ns", load.started_wall_ns);
  plain("started_monotonic_ns", load.started_monotonic_ns);
  plain("stopped_early", load.stopped_early);
  plain("clients_max", load.clients_max);
  plain("clients_joined", load.clients_joined);
  plain("planned", load.planned);
  plain("has_plan", load.has_plan);
  plain("closed_loop", load.closed_loop);
  plain("gso", load.gso);
  plain("bytes_received", load.bytes_received);
  plain("port_unreachable", load.port_unreachable);

  const auto kernel = [&](std::string_view name, auto& value) { visit("kernel_", name, value); };
  kernel("udp_rcvbuf_errors", load.kernel.udp_rcvbuf_errors);
  kernel("udp_no_ports", load.kernel.udp_no_ports);
  kernel("tcp_passive_opens", load.kernel.tcp_passive_opens);
  kernel("tcp_listen_overflows", load.kernel.tcp_listen_overflows);
  kernel("tcp_listen_drops", load.kernel.tcp_listen_drops);

  const auto own = [&](std::string_view name, auto& value) { visit("own_", name, value); };
  own("wall_ns", load.own.wall_ns);
  own("cpu_ns", load.own.cpu_ns);
  own("host_busy_ns", load.own.host_busy_ns);
  own("host_steal_ns", load.own.host_steal_ns);
  own("cpus", load.own.cpus);
  own("receive_drops", load.own.receive_drops);
  own("rss_bytes", load.own.rss_bytes);
  own("descriptors_max", load.own.descriptors_max);
  own("shared_sockets", load.own.shared_sockets);
  own("sockets_opened", load.own.sockets_opened);
}

/// All of table load_part but its key and the blobs.
template <typename Part, typename Visit>
void for_each_load_part_column(Part& part, Visit visit) {
  visit("", "name", part.name);
  visit("", "begin_ns", part.begin_ns);
  visit("", "end_ns", part.end_ns);
  visit("", "clients_from", part.clients_from);
  visit("", "clients_to", part.clients_to);
  LoadAccounts::for_each_field(
      [&](std::string_view name, auto field) { visit("", name, part.accounts.*field); });
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
  visit("", "silent", flow.silent);
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
  for (size_t i = 0; i < kPreemptorCount; ++i)
    visit("preempted_by_", preemptor_name(static_cast<Preemptor>(i)), thread.preempted_by[i]);
}

/// The columns of a thread's histograms, visit(name, histogram): blobs, or NULL.
template <typename Thread, typename Visit>
void for_each_thread_histogram(Thread& thread, Visit visit) {
  visit("run_queue_wait_histogram", thread.run_queue_wait);
  visit("on_cpu_histogram", thread.on_cpu);
}

/// All of table cpu_tick but the run and the tick.
template <typename Cpu, typename Visit>
void for_each_cpu_column(Cpu& cpu, Visit visit) {
  visit("", "cpu", cpu.cpu);
  visit("", "switches", cpu.switches);
  visit("", "waits", cpu.waits);
  visit("", "wait_ns", cpu.wait_ns);
  visit("", "queue_samples", cpu.queue_samples);
  visit("", "queue_length_sum", cpu.queue_length_sum);
  visit("", "queue_length_max", cpu.queue_length_max);
}

/// All of table owner but its key and the quality, which is a word.
template <typename Owner, typename Visit>
void for_each_owner_column(Owner& owner, Visit visit) {
  visit("", "owner", owner.number);
  visit("", "pid", owner.pid);
  visit("", "start_time_ns", owner.start_time_ns);
  visit("", "name", owner.name);
}

/// All of table socket but its key, and its address and cookie, which are written apart: text, and
/// 64 bits without a sign.
template <typename Socket, typename Visit>
void for_each_socket_column(Socket& socket, Visit visit) {
  visit("", "protocol", socket.protocol);
  visit("", "ip_version", socket.ip_version);
  visit("", "local_port", socket.local.port);
  visit("", "pid", socket.pid);
  visit("", "closed", socket.closed);
  visit("", "accept_queue", socket.accept_queue);
  visit("", "accept_queue_max", socket.accept_queue_max);
  visit("", "accept_queue_limit", socket.accept_queue_limit);
  visit("", "receive_queue_bytes", socket.receive_queue_bytes);
  visit("", "receive_queue_bytes_max", socket.receive_queue_bytes_max);
  visit("", "receive_queue_bytes_limit", socket.receive_queue_bytes_limit);
  visit("", "drops", socket.drops);
}

/// All of table syscall but the run and the histogram.
template <typename Syscall, typename Visit>
void for_each_syscall_column(Syscall& syscall, Visit visit) {
  visit("", "number", syscall.number);
  visit("", "name", syscall.name);
  visit("", "count", syscall.count);
  visit("", "errors", syscall.errors);
  visit("", "blocked_ns", syscall.blocked_ns);
}

/// All of table stack but its key.
template <typename Stack, typename Visit>
void for_each_stack_column(Stack& stack, Visit visit) {
  visit("", "stack", stack.number);
  visit("", "thread", stack.thread);
  visit("", "frames", stack.frames);
  visit("", "samples", stack.samples);
}

}  // namespace topspin
