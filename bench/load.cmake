# What the load generator costs, and what it can do beside the plainest sender.
topspin_bench(load_bench SOURCES ${CMAKE_CURRENT_LIST_DIR}/load_bench.cc LINKS topspin_load fmt::fmt)
