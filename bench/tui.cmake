topspin_bench(bench_tui SOURCES tui_bench.cc LINKS topspin_tui topspin_core)
