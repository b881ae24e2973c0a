// Finds the points of a runtime in an ELF file, as positions in the file, which uprobes need. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "probes/elf/elf_file.h"
#include "probes/runtime/runtime_file.h"

namespace topspin {

struct PlacedPoint {
  uint64_t file_offset = 0;
  uint64_t semaphore_offset = 0;  // in the file: the count of listeners; 0: none
  bool is_return = false;
  topspin_runtime_point what{};
};

struct RuntimeInObject {
  bool is_there = false;             // the object holds this runtime
  std::vector<size_t> kinds;         // the kinds that it can show, without duplicates
  std::vector<PlacedPoint> points;   // of these kinds
  std::vector<std::string> missing;  // one reason for each other kind: "gc: it has no
                                     // gc_collect_main (stripped?)"
};
RuntimeInObject find_runtime(const RuntimeFile& runtime, const ElfFile& elf);

}  // namespace topspin
