# What the load generator costs, and its packet rate compared with a plain loop of send().
topspin_bench(load_bench SOURCES ${CMAKE_CURRENT_LIST_DIR}/load_bench.cc LINKS topspin_load fmt::fmt)
