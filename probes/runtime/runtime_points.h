// Finds the points of a runtime in an ELF file: positions in the file, as uprobes want them. Pure.
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
  uint64_t semaphore_offset = 0;  // in the file: counts who listens; 0: there is none
  bool is_return = false;
  topspin_runtime_point what{};
};

struct RuntimeInObject {
  bool is_there = false;             // the object holds this runtime
  std::vector<size_t> kinds;         // that it can show, each once
  std::vector<PlacedPoint> points;   // of these
  std::vector<std::string> missing;  // "gc: it has no gc_collect_main (stripped?)", one for each
};
RuntimeInObject find_runtime(const RuntimeFile& runtime, const ElfFile& elf);

}  // namespace topspin
