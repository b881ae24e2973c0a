// Names for addresses: of the kernel by /proc/kallsyms, of programs by the symbol tables of their
// ELF files, of code made at run time by the perf-PID.map that many JITs write on request. Parsers
// are pure and take hostile input; the tables are plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace topspin {

/// Names of stretches of addresses, looked up by binary search.
class SymbolTable {
 public:
  /// `size` 0: up to the next one.
  void add(uint64_t address, uint64_t size, std::string_view name);
  /// Sorts. REQUIRES: called once, after the last add() and before the first find().
  void finish();
  /// The symbol that `address` lies in; empty: none.
  std::string_view find(uint64_t address) const;

  size_t size() const { return symbols_.size(); }
  bool empty() const { return symbols_.empty(); }

 private:
  struct Symbol {
    uint64_t address;
    uint64_t size;
    uint32_t name;  // where it begins in names_
    uint32_t length;
  };
  std::vector<Symbol> symbols_;
  std::string names_;
};

/// "ffffffff81000000 T _text" a line; only code. Empty if the kernel hides the addresses (zeros).
SymbolTable parse_kallsyms(std::string_view text);

/// "7f0012340000 1a0 LazyCompile:~handler server.js:12" a line, numbers in hexadecimal.
SymbolTable parse_perf_map(std::string_view text);

/// The functions of an ELF file, and where its loadable parts lie in it.
struct ElfSymbols {
  struct Segment {
    uint64_t file_offset, address, size;
  };
  std::vector<Segment> segments;
  SymbolTable functions;

  /// The address as linked of a place in the file.
  std::optional<uint64_t> address_of(uint64_t file_offset) const;
};
/// nullopt: not an ELF file of 64 bits in this machine's byte order. What is damaged is left out.
std::optional<ElfSymbols> parse_elf(std::span<const std::byte> file);

/// Of the file at `path`; nullopt: cannot be read, no regular file, or no ELF.
std::optional<ElfSymbols> read_elf(const std::string& path);

/// A name fit to be a frame: C++ names readable; no ';', newline or other control byte in it.
std::string frame_name(std::string_view symbol);

}  // namespace topspin
