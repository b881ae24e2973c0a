# One way to declare a library, a test program and a benchmark, so that flags and rules are in one place.

add_library(topspin_flags INTERFACE)
target_include_directories(topspin_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(topspin_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast -Wcast-align
  -Wformat=2 -fno-omit-frame-pointer)
# Clang counts changes of sign to -Wconversion, GCC does not.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(topspin_flags INTERFACE -Wno-sign-conversion)
endif()
# Debian 13's clang warns of { .name = value }, which leaves the other members as they are by default.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 18)
  target_compile_options(topspin_flags INTERFACE -Wno-missing-designated-field-initializers)
endif()
if(TOPSPIN_WERROR)
  target_compile_options(topspin_flags INTERFACE -Werror)
endif()
if(TOPSPIN_SANITIZE)
  target_link_options(topspin_flags INTERFACE -fsanitize=${TOPSPIN_SANITIZE})
  target_compile_definitions(topspin_flags INTERFACE _GLIBCXX_ASSERTIONS)
endif()
# Code takes twice as long under sanitizers. The preset dev has them only in the folders that decode foreign bytes; elsewhere it has
# the standard library's assertions and the heap's checks. The other presets have them everywhere.
option(TOPSPIN_SANITIZE_ALL "the sanitizers also check the folders that are TRUSTED, and the tests" ON)
add_library(topspin_sanitized INTERFACE)
if(TOPSPIN_SANITIZE)
  target_compile_options(topspin_sanitized INTERFACE -fsanitize=${TOPSPIN_SANITIZE} -fno-sanitize-recover=all)
endif()
# GCC 12 takes std::string's operator+ for overlapping copies (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(topspin_flags INTERFACE -Wno-restrict)
endif()
# Under sanitizers GCC takes values for uninitialised that are not: its manual says so of this warning.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND TOPSPIN_SANITIZE)
  target_compile_options(topspin_flags INTERFACE -Wno-maybe-uninitialized)
endif()
# GCC 12 with ThreadSanitizer takes the text inside a std::string for longer than its buffer.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND TOPSPIN_SANITIZE MATCHES "thread")
  target_compile_options(topspin_flags INTERFACE -Wno-array-bounds -Wno-stringop-overread -Wno-stringop-overflow)
endif()
# UBSan's checks of pointers take a third of the compiler's time. Tests, and folders that decode no foreign bytes, do without
# them: the address sanitizer stops at a null pointer all the same.
add_library(topspin_no_pointer_checks INTERFACE)
if(TOPSPIN_SANITIZE MATCHES "undefined")
  target_compile_options(topspin_no_pointer_checks INTERFACE -fno-sanitize=null,alignment)
endif()
add_library(topspin_trusted INTERFACE)
if(TOPSPIN_SANITIZE_ALL)
  target_link_libraries(topspin_trusted INTERFACE topspin_sanitized)
endif()
# Optimising takes more than half of the compiler's time. Tests, and the folders without a hot path, do without it.
add_library(topspin_cold INTERFACE)
if(TOPSPIN_SANITIZE AND CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_options(topspin_cold INTERFACE -O0)
endif()
# GCC spends a tenth of its time on collecting its garbage, often at a heap of 100 MB. With sanitizers it may grow to some 700 MB.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND TOPSPIN_SANITIZE)
  target_compile_options(topspin_flags INTERFACE --param=ggc-min-heapsize=400000 --param=ggc-min-expand=100)
endif()
# Files that are compiled as one share the compiler's work on the headers, which is most of it. Names without linkage must then
# differ within a folder. The presets tidy and tsan compile each file by itself.
option(TOPSPIN_JOIN_FILES "compile several files of a folder as one" ON)
function(topspin_join_files target)
  if(TOPSPIN_JOIN_FILES)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
  endif()
endfunction()
# Headers that most files include, compiled once for each target. Each file still includes what it uses: the presets tidy and
# tsan build without precompiled headers and show where it does not.
set(topspin_common_headers <algorithm> <chrono> <cstdint> <filesystem> <functional> <map> <memory> <optional> <span> <string>
    <string_view> <unordered_map> <variant> <vector> <fmt/format.h>)
if(TOPSPIN_FUZZ)
  target_compile_options(topspin_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(NOT TOPSPIN_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(topspin_flags INTERFACE _FORTIFY_SOURCE=2)
endif()

# topspin_library(NAME SOURCES... [LINKS topspin_x...] [FOREIGN targets...] [HEADERS <header>...] [NO_POINTER_CHECKS] [COLD]
#                 [TRUSTED] [APART])
# LINKS are the project's own libraries below this one: their headers may be included by its users.
# FOREIGN libraries stay private: no header of ours may need them. HEADERS are precompiled beside the common ones.
# COLD: it has no hot path, so the dev preset does not optimise it. TRUSTED: it decodes no foreign bytes, so that preset does not
# sanitize it.
# APART: its files are compiled one by one.
function(topspin_library name)
  cmake_parse_arguments(ARG "NO_POINTER_CHECKS;COLD;TRUSTED;APART" "" "SOURCES;LINKS;FOREIGN;HEADERS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_LINKS} PRIVATE topspin_flags
                        $<IF:$<BOOL:${ARG_TRUSTED}>,topspin_trusted,topspin_sanitized>
                        $<$<BOOL:${ARG_NO_POINTER_CHECKS}>:topspin_no_pointer_checks> $<$<BOOL:${ARG_COLD}>:topspin_cold>
                        ${TOPSPIN_FMT} ${ARG_FOREIGN})
  target_precompile_headers(${name} PRIVATE ${topspin_common_headers} ${ARG_HEADERS})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  if(NOT ARG_APART)
    topspin_join_files(${name})
  endif()
endfunction()

# topspin_test(NAME SOURCES... [LINKS...] [RUNS targets...] [READS folders...] [SHARED folder] [LABELS...] [LOCK name]
#              [LATE] [TIMEOUT seconds])
# A GoogleTest program. Every TEST becomes a ctest of its own; GTEST_SKIP becomes a counted skip.
# RUNS: programs of this build that it starts; they are built first, and it has TOPSPIN_BINARY_DIR.
# READS: folders and files of the sources that it reads while it runs; it has TOPSPIN_SOURCE_DIR.
# SHARED: the folder of ../shared that it reads; it has TOPSPIN_SHARED_DIR.
# ./test leaves out a test that passed until one of these changes (tests/unchanged).
# TIMEOUT (300) ends one that hangs: several times what it takes on a machine that is ten times overloaded.
# LATE: they skip what they see on a busy host, so they start when most other tests have ended.
# Tests with the same LOCK do not run beside each other; other tests may. They depend on time, so they get a CPU before the tests
# without a lock (support/first_in_line.cc). The locks:
#   cpu: they compare CPU times;  lo: they watch loopback;  plans: they start subjects and loads;
#   probes, watch, faults, workers, growth, http, scripts: one at a time is enough work for the host;
#   few: at most three run at once, with nothing else that does not fit beside them;
#   alone: they compare with the kernel's own accounts to a percent, or need a quiet machine; no other test runs beside them.
function(topspin_test name)
  cmake_parse_arguments(ARG "LATE" "TIMEOUT;LOCK;SHARED" "SOURCES;LINKS;LABELS;DEFINITIONS;RUNS;READS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  find_package(GTest REQUIRED)
  if(NOT TARGET topspin_test_headers) # compiled once for all test programs
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/test_headers.cc CONTENT "")
    add_library(topspin_test_headers OBJECT ${CMAKE_BINARY_DIR}/test_headers.cc)
    target_link_libraries(topspin_test_headers PRIVATE topspin_flags topspin_trusted topspin_no_pointer_checks topspin_cold fmt::fmt
                          GTest::gtest GTest::gmock)
    target_precompile_headers(topspin_test_headers PRIVATE ${topspin_common_headers} <gtest/gtest.h> <gmock/gmock.h>)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_LOCK)
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/first_in_line.cc)
  endif()
  target_precompile_headers(${name} REUSE_FROM topspin_test_headers)
  topspin_join_files(${name})
  target_link_libraries(${name} PRIVATE topspin_flags topspin_trusted topspin_no_pointer_checks topspin_cold ${ARG_LINKS} fmt::fmt
                        GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE ${ARG_DEFINITIONS})
  set(needs $<TARGET_FILE:${name}>)
  if(ARG_SHARED)
    target_compile_definitions(${name} PRIVATE TOPSPIN_SHARED_DIR="${CMAKE_SOURCE_DIR}/../shared")
    string(APPEND needs "|${CMAKE_SOURCE_DIR}/../shared/${ARG_SHARED}")
  endif()
  if(ARG_RUNS)
    add_dependencies(${name} ${ARG_RUNS})
    target_compile_definitions(${name} PRIVATE TOPSPIN_BINARY_DIR="${CMAKE_BINARY_DIR}")
    foreach(target ${ARG_RUNS})
      get_target_property(type ${target} TYPE)
      if(type STREQUAL EXECUTABLE)
        string(APPEND needs "|$<TARGET_FILE:${target}>")
      endif()
    endforeach()
  endif()
  if(ARG_READS)
    target_compile_definitions(${name} PRIVATE TOPSPIN_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    foreach(path ${ARG_READS})
      string(APPEND needs "|${CMAKE_SOURCE_DIR}/${path}")
    endforeach()
  endif()
  set_property(GLOBAL APPEND_STRING PROPERTY topspin_tests_need "${needs}\n")
  include(GoogleTest)
  # One label: a list of them is taken apart on its way to ctest, and its second is read as a property.
  list(GET ARG_LABELS -1 label)
  set(properties TIMEOUT ${ARG_TIMEOUT})
  set(cost 100)
  if(ARG_LATE)
    set(cost -1)
  endif()
  if(ARG_LOCK STREQUAL alone)
    list(APPEND properties RUN_SERIAL TRUE)
  elseif(ARG_LOCK STREQUAL few)
    list(APPEND properties PROCESSORS 2 COST ${cost})
  elseif(ARG_LOCK)
    # Most start first: one at a time takes long, and others fill the processors meanwhile.
    list(APPEND properties RESOURCE_LOCK ${ARG_LOCK} COST ${cost})
  endif()
  list(APPEND properties LABELS ${label})
  gtest_discover_tests(${name} PROPERTIES ${properties} DISCOVERY_TIMEOUT 60)
endfunction()

# topspin_bench(NAME SOURCES... LINKS...): a program under bench/, not run by ctest.
function(topspin_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE topspin_flags ${ARG_LINKS})
endfunction()
