bpf_object(probes_empty probes_empty.bpf.c)
topspin_bench(probes_switch_cost
  SOURCES probes_switch_cost.cc
  LINKS topspin_probes probes_empty PkgConfig::BPF fmt::fmt)
add_dependencies(probes_switch_cost probes_empty_generate)

topspin_bench(probes_flow_owner
  SOURCES probes_flow_owner.cc
  LINKS topspin_probes fmt::fmt)

topspin_bench(probes_socket_cost
  SOURCES probes_socket_cost.cc
  LINKS topspin_probes fmt::fmt)

topspin_bench(probes_runtime_cost
  SOURCES probes_runtime_cost.cc
  LINKS topspin_probes fmt::fmt)
