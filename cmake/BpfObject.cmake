# bpf_object(NAME x.bpf.c): compiles a BPF program with clang, strips its DWARF (BTF stays;
# without this the skeleton is twenty times as long) and generates the skeleton NAME.skel.h. The result is an
# INTERFACE library NAME whose include directory is SYSTEM, since generated code is not held to our warnings.

find_program(TOPSPIN_BPF_CLANG NAMES clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 REQUIRED)
find_program(TOPSPIN_LLVM_STRIP NAMES llvm-strip llvm-strip-19 llvm-strip-18 llvm-strip-17 llvm-strip-16
             llvm-strip-15 llvm-strip-14 REQUIRED)

# Ubuntu's /usr/sbin/bpftool is a wrapper that refuses to run on a kernel that it has no package for,
# although generating a skeleton has nothing to do with the running kernel. Take the first that works.
if(NOT TOPSPIN_BPFTOOL)
  file(GLOB candidates /usr/sbin/bpftool /usr/local/sbin/bpftool /usr/bin/bpftool /usr/lib/linux-tools/*/bpftool
       /usr/lib/linux-tools-*/bpftool)
  foreach(candidate IN LISTS candidates)
    execute_process(COMMAND ${candidate} version RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
    if(result EQUAL 0)
      set(TOPSPIN_BPFTOOL ${candidate} CACHE FILEPATH "bpftool that can generate skeletons")
      break()
    endif()
  endforeach()
  if(NOT TOPSPIN_BPFTOOL)
    message(FATAL_ERROR "no working bpftool found; install the package bpftool (Debian) or linux-tools-generic (Ubuntu)")
  endif()
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
  set(TOPSPIN_BPF_ARCH x86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(TOPSPIN_BPF_ARCH arm64)
else()
  set(TOPSPIN_BPF_ARCH ${CMAKE_SYSTEM_PROCESSOR})
endif()

function(bpf_object name source)
  set(directory ${CMAKE_CURRENT_BINARY_DIR}/bpf)
  file(MAKE_DIRECTORY ${directory})
  set(object ${directory}/${name}.bpf.o)
  set(skeleton ${directory}/${name}.skel.h)
  set(multiarch "")
  if(CMAKE_LIBRARY_ARCHITECTURE)
    set(multiarch -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
  endif()
  get_filename_component(source ${source} ABSOLUTE)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND ${TOPSPIN_BPF_CLANG} -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_${TOPSPIN_BPF_ARCH}
            -Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-function -I${CMAKE_SOURCE_DIR} ${multiarch}
            -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= # the same object in any folder: its BTF names its sources
            -MD -MF ${object}.d -MT ${skeleton} -c ${source} -o ${object}
    COMMAND ${TOPSPIN_LLVM_STRIP} -g ${object}
    COMMAND ${TOPSPIN_BPFTOOL} gen skeleton ${object} name ${name} > ${skeleton}
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "BPF ${name}" VERBATIM)
  add_custom_target(${name}_generate DEPENDS ${skeleton})
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_generate)
  target_include_directories(${name} SYSTEM INTERFACE ${directory})
endfunction()
