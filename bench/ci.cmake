topspin_bench(ci_detection SOURCES ci_detection.cc LINKS topspin_ci topspin_core)
target_compile_definitions(ci_detection PRIVATE TOPSPIN_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
