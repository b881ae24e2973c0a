// Maps values to columns. The writer's INSERTs and the reader's SELECTs use the same lists, so they
// cannot differ. schema.sql declares the same names, and docs/schema.md explains them. The fields
// of exports (report/export/rows.h) and names in rules (ci/slo/slo_names.cc) come from these lists
// too. The columns of table tick are the plain numbers of core/tick/numbers.h, by their names; a
// column that a database lacks is added (tick_columns.h). Pure.
//
// Each function calls visit(prefix, name, value) for each column, whose name is prefix + name.
// `value` is a reference into the visited object, and const if that is.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "core/run/load_result.h"
#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

/// The columns of table tick that are not numbers of the registry: the tick's number and its times.
template <typename Sample, typename Visit>
void for_each_tick_time_column(Sample& sample, Visit visit) {
  visit("", "tick", sample.tick);
  visit("", "monotonic_ns", sample.monotonic_ns);
  visit("", "elapsed_ns", sample.elapsed_ns);
  visit("", "interval_ns", sample.interval_ns);
  visit("", "flows_begin_ns", sample.flows.begin_ns);
  visit("", "flows_end_ns", sample.flows.end_ns);
}

/// Columns of table run that are known when it starts. An empty text becomes NULL (not known).
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

/// All of table load except its key, the workload (a word) and the blob. Parts that only some loads
/// have are optional values, and NULL in the other loads.
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

/// All of table load_part except its key and the blobs.
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

/// The columns of a flow that never change after it is first stored, and those that each tick may
/// change. The flow's ends do not change either; they are text and written separately.
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
  constexpr std::array<std::string_view, kBlockedByCount> kTimes = {
      "futex_ns", "poll_ns", "socket_ns",     "pipe_ns",    "disk_ns",
      "sleep_ns", "wait_ns", "page_fault_ns", "stopped_ns", "other_ns"};
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    visit("blocked_by_", blocked_by_name(static_cast<BlockedBy>(i)), thread.blocked_by[i].count);
    visit("blocked_by_", kTimes[i], thread.blocked_by[i].ns);
  }
  visit("", "busy_stretch_max_ns", thread.busy_stretch_max_ns);
}

/// The columns of a thread's histograms, visit(name, histogram): blobs, or NULL.
template <typename Thread, typename Visit>
void for_each_thread_histogram(Thread& thread, Visit visit) {
  visit("run_queue_wait_histogram", thread.run_queue_wait);
  visit("on_cpu_histogram", thread.on_cpu);
}

/// All of table cpu_tick except the run and the tick.
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

/// All of table owner except its key and the quality, which is a word.
template <typename Owner, typename Visit>
void for_each_owner_column(Owner& owner, Visit visit) {
  visit("", "owner", owner.number);
  visit("", "pid", owner.pid);
  visit("", "start_time_ns", owner.start_time_ns);
  visit("", "name", owner.name);
}

/// All of table socket except its key, address and cookie. The last two are written separately,
/// because they are a text and an unsigned number of 64 bits.
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

/// All of table syscall except the run and the histogram.
template <typename Syscall, typename Visit>
void for_each_syscall_column(Syscall& syscall, Visit visit) {
  visit("", "number", syscall.number);
  visit("", "name", syscall.name);
  visit("", "count", syscall.count);
  visit("", "errors", syscall.errors);
  visit("", "blocked_ns", syscall.blocked_ns);
}

/// All of table called except the run, the histogram, and the address, which is text.
template <typename Called, typename Visit>
void for_each_called_column(Called& called, Visit visit) {
  visit("", "number", called.number);
  visit("", "protocol", called.protocol);
  visit("", "ip_version", called.ip_version);
  visit("", "port", called.address.port);
  visit("", "requests", called.requests);
  visit("", "unanswered", called.unanswered);
  visit("", "resets", called.resets);
  visit("", "refused", called.refused);
  visit("", "never_completed", called.never_completed);
  visit("", "http_errors", called.http_errors);
  visit("", "hidden_connections", called.hidden_connections);
  visit("", "hidden_by_interface", called.hidden_by_interface);
}

/// All of table cpu_holder except the run and the kind, which is a word.
template <typename Holder, typename Visit>
void for_each_cpu_holder_column(Holder& holder, Visit visit) {
  visit("", "holder", holder.number);
  visit("", "name", holder.name);
  visit("", "cgroup", holder.cgroup);
  visit("", "pid", holder.pid);
  visit("", "processes", holder.processes);
  visit("", "held_ns", holder.held_ns);
}

/// All of table stack except its key.
template <typename Stack, typename Visit>
void for_each_stack_column(Stack& stack, Visit visit) {
  visit("", "stack", stack.number);
  visit("", "thread", stack.thread);
  visit("", "frames", stack.frames);
  visit("", "samples", stack.samples);
}

/// All of table sleep_stack except the run and the reason, which is a word.
template <typename Stack, typename Visit>
void for_each_sleep_stack_column(Stack& stack, Visit visit) {
  visit("", "sleep_stack", stack.number);
  visit("", "thread", stack.thread);
  visit("", "frames", stack.frames);
  visit("", "woken_by", stack.woken_by);
  visit("", "sleeps", stack.sleeps);
  visit("", "slept_ns", stack.slept_ns);
}

/// All of table busy_stretch except its key. Its stacks are in table busy_stretch_stack.
template <typename Stretch, typename Visit>
void for_each_busy_stretch_column(Stretch& stretch, Visit visit) {
  visit("", "tick", stretch.tick);
  visit("", "pid", stretch.pid);
  visit("", "tid", stretch.tid);
  visit("", "thread", stretch.thread);
  visit("", "began_monotonic_ns", stretch.began_ns);
  visit("", "length_ns", stretch.length_ns);
  visit("", "cpu_ns", stretch.cpu_ns);
  visit("", "samples", stretch.samples);
  visit("", "samples_cut", stretch.samples_cut);
}

/// All of table slow_reply except its key and the two addresses, which are text.
template <typename Reply, typename Visit>
void for_each_slow_reply_column(Reply& reply, Visit visit) {
  visit("", "tick", reply.tick);
  visit("", "protocol", reply.protocol);
  visit("", "ip_version", reply.ip_version);
  visit("", "local_port", reply.local.port);
  visit("", "remote_port", reply.remote.port);
  visit("", "reader_tid", reply.reader_tid);
  visit("", "sender_tid", reply.sender_tid);
  visit("", "sender", reply.sender);
  visit("", "ready_monotonic_ns", reply.ready_ns);
  visit("", "total_ns", reply.total_ns);
  for (size_t i = 0; i < kReplyPartCount; ++i)
    visit("", reply_part_names()[i].field, reply.parts[i]);
}

}  // namespace topspin
