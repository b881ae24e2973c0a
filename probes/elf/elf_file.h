// ElfFile reads the parts of an ELF file that topspin needs: its segments, its functions and some
// of its sections. The file is hostile input; damaged parts are left out. Pure, except open_elf().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace topspin {

/// A loadable segment: its position in the file and its linked address.
struct ElfSegment {
  uint64_t file_offset, address, size;
};

/// The linked address of a position in the file.
std::optional<uint64_t> linked_address(std::span<const ElfSegment> segments, uint64_t file_offset);

/// A USDT probe (a note of systemtap's sys/sdt.h).
struct ElfUsdt {
  std::string_view provider, name;
  uint64_t address;            // linked
  uint64_t semaphore_address;  // 0: none
};

class ElfFile {
 public:
  /// Reads bytes of a file; returns fewer if the file ends before.
  using ReadBytes = std::function<std::vector<std::byte>(uint64_t offset, uint64_t size)>;

  /// Reads the headers. nullopt if this is not a 64-bit ELF file in this machine's byte order.
  static std::optional<ElfFile> read(ReadBytes read);
  /// The same for a file in memory. REQUIRES: `file` outlives the ElfFile.
  static std::optional<ElfFile> of(std::span<const std::byte> file);

  const std::vector<ElfSegment>& segments() const { return segments_; }
  /// The position in the file of a linked address.
  std::optional<uint64_t> offset_of(uint64_t address) const;

  bool has_section(std::string_view name) const;

  /// Visits each function that the file defines: first those in .symtab, then those in .dynsym.
  void for_each_function(const std::function<void(std::string_view name, uint64_t address,
                                                  uint64_t size)>& visit) const;
  void for_each_usdt(const std::function<void(const ElfUsdt&)>& visit) const;

 private:
  struct Section {
    std::string name;
    uint32_t type, link;
    uint64_t address, offset, size;
  };
  std::vector<std::byte> bytes_of(const Section& section) const;
  const Section* find_section(std::string_view name) const;

  ReadBytes read_;
  std::vector<ElfSegment> segments_;
  std::vector<Section> sections_;
};

/// Opens the file at `path`. nullopt if it cannot be read, or is not a regular ELF file.
std::optional<ElfFile> open_elf(const std::string& path);

}  // namespace topspin
