// Finds names for addresses. Names of the kernel come from /proc/kallsyms, names of programs from
// the symbol tables of their ELF files, and names of code generated at run time from the
// perf-PID.map that many JITs write on request. Parsers are pure and accept hostile input; the
// tables are plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "probes/elf/elf_file.h"

namespace topspin {

/// Names of address ranges, found by binary search.
class SymbolTable {
 public:
  /// With `size` 0, the range ends at the next one.
  void add(uint64_t address, uint64_t size, std::string_view name);
  /// Sorts. REQUIRES: called once, after the last add() and before the first find().
  void finish();
  /// The symbol that contains `address`; empty if there is none.
  std::string_view find(uint64_t address) const;

  size_t size() const { return symbols_.size(); }
  bool empty() const { return symbols_.empty(); }

 private:
  struct Symbol {
    uint64_t address;
    uint64_t size;
    uint32_t name;  // its position in names_
    uint32_t length;
  };
  std::vector<Symbol> symbols_;
  std::string names_;
};

/// Parses lines such as "ffffffff81000000 T _text", and keeps only code. Empty if the kernel hides
/// the addresses (zeros).
SymbolTable parse_kallsyms(std::string_view text);

/// Parses lines such as "7f0012340000 1a0 LazyCompile:~handler server.js:12", with hexadecimal
/// numbers.
SymbolTable parse_perf_map(std::string_view text);

/// The functions of an ELF file, and the positions of its loadable segments.
struct ElfSymbols {
  std::vector<ElfSegment> segments;
  SymbolTable functions;

  /// The linked address of a position in the file.
  std::optional<uint64_t> address_of(uint64_t file_offset) const;
};
/// nullopt if this is not a 64-bit ELF file in this machine's byte order. Damaged parts are left
/// out.
std::optional<ElfSymbols> parse_elf(std::span<const std::byte> file);

/// Reads the file at `path`. nullopt if it cannot be read, or is not a regular ELF file.
std::optional<ElfSymbols> read_elf(const std::string& path);

/// A name that can be a frame: C++ names are demangled, and it has no ';', newline or other control
/// byte.
std::string frame_name(std::string_view symbol);

}  // namespace topspin
