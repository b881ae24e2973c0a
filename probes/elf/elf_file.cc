#include "probes/elf/elf_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr size_t kLongestName = 1024;               // of a symbol; a longer one is cut
constexpr uint64_t kMostSectionBytes = 256u << 20;  // of a table that is read at once
constexpr int kMostTables = 4;                      // of each kind
constexpr uint64_t kMostNoteBytes = 16u << 20;
constexpr uint32_t kStapNote = 3;

/// Copies a T from `bytes` at `offset`; nullopt if it does not lie inside.
template <typename T>
std::optional<T> read_at(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

/// The text at `offset` of a string table, up to its NUL or the table's end.
std::string_view text_at(std::span<const std::byte> table, uint64_t offset) {
  if (offset >= table.size()) return {};
  const char* begin = reinterpret_cast<const char*>(table.data() + offset);
  return {begin, ::strnlen(begin, std::min<uint64_t>(table.size() - offset, kLongestName))};
}

uint64_t padded(uint64_t size) { return (size + 3) & ~uint64_t{3}; }

}  // namespace

std::optional<ElfFile> ElfFile::read(ReadBytes read) {
  const std::vector<std::byte> head = read(0, sizeof(Elf64_Ehdr));
  const auto header = read_at<Elf64_Ehdr>(head, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
    return std::nullopt;
  ElfFile elf;
  const std::vector<std::byte> segments =
      read(header->e_phoff, header->e_phnum * sizeof(Elf64_Phdr));
  for (uint64_t at = 0; segments.size() - at >= sizeof(Elf64_Phdr); at += sizeof(Elf64_Phdr)) {
    const auto segment = *read_at<Elf64_Phdr>(segments, at);
    if (segment.p_type == PT_LOAD)
      elf.segments_.push_back({segment.p_offset, segment.p_vaddr, segment.p_filesz});
  }
  const std::vector<std::byte> table = read(header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr));
  std::vector<uint32_t> names;
  for (uint64_t at = 0; table.size() - at >= sizeof(Elf64_Shdr); at += sizeof(Elf64_Shdr)) {
    const auto section = *read_at<Elf64_Shdr>(table, at);
    elf.sections_.push_back(
        {"", section.sh_type, section.sh_link, section.sh_addr, section.sh_offset,
         // It has no bytes in the file.
         section.sh_type == SHT_NOBITS ? 0 : static_cast<uint64_t>(section.sh_size)});
    names.push_back(section.sh_name);
  }
  elf.read_ = std::move(read);
  if (header->e_shstrndx < elf.sections_.size()) {
    const std::vector<std::byte> texts = elf.bytes_of(elf.sections_[header->e_shstrndx]);
    for (size_t i = 0; i < names.size(); ++i) elf.sections_[i].name = text_at(texts, names[i]);
  }
  return elf;
}

std::optional<ElfFile> ElfFile::of(std::span<const std::byte> file) {
  return read([file](uint64_t offset, uint64_t size) {
    if (offset > file.size()) return std::vector<std::byte>();
    const auto part = file.subspan(offset, std::min<uint64_t>(size, file.size() - offset));
    return std::vector<std::byte>(part.begin(), part.end());
  });
}

std::optional<uint64_t> linked_address(std::span<const ElfSegment> segments, uint64_t file_offset) {
  for (const ElfSegment& segment : segments) {
    if (file_offset >= segment.file_offset && file_offset - segment.file_offset < segment.size)
      return segment.address + (file_offset - segment.file_offset);
  }
  return std::nullopt;
}

std::optional<uint64_t> ElfFile::offset_of(uint64_t address) const {
  for (const ElfSegment& segment : segments_) {
    if (address >= segment.address && address - segment.address < segment.size)
      return segment.file_offset + (address - segment.address);
  }
  return std::nullopt;
}

/// All bytes of a section. Empty if the file has none or not all of them, or if there are too many.
std::vector<std::byte> ElfFile::bytes_of(const Section& section) const {
  if (section.size > kMostSectionBytes) return {};
  std::vector<std::byte> bytes = read_(section.offset, section.size);
  if (bytes.size() != section.size) bytes.clear();
  return bytes;
}

const ElfFile::Section* ElfFile::find_section(std::string_view name) const {
  const auto found = std::ranges::find(sections_, name, &Section::name);
  return found == sections_.end() ? nullptr : &*found;
}

bool ElfFile::has_section(std::string_view name) const { return find_section(name) != nullptr; }

void ElfFile::for_each_function(
    const std::function<void(std::string_view, uint64_t, uint64_t)>& visit) const {
  for (const uint32_t wanted : {uint32_t{SHT_SYMTAB}, uint32_t{SHT_DYNSYM}}) {
    int tables = 0;
    for (const Section& section : sections_) {
      if (section.type != wanted || section.link >= sections_.size()) continue;
      if (++tables > kMostTables) break;  // files usually have one of each kind
      const std::vector<std::byte> symbols = bytes_of(section);
      const std::vector<std::byte> names = bytes_of(sections_[section.link]);
      for (uint64_t at = 0; symbols.size() - at >= sizeof(Elf64_Sym); at += sizeof(Elf64_Sym)) {
        const auto symbol = *read_at<Elf64_Sym>(symbols, at);
        const int type = ELF64_ST_TYPE(symbol.st_info);
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF) continue;
        const std::string_view name = text_at(names, symbol.st_name);
        if (!name.empty()) visit(name, symbol.st_value, symbol.st_size);
      }
    }
  }
}

// A note has the sizes of its name and of its description, its type, then the name and the
// description, each padded to 4 bytes. The description has three addresses (the probe,
// .stapsdt.base as linked, the semaphore) and three texts (provider, name, arguments). If the
// section .stapsdt.base has moved since (prelink), so have the probe and the semaphore.
void ElfFile::for_each_usdt(const std::function<void(const ElfUsdt&)>& visit) const {
  const Section* const section = find_section(".note.stapsdt");
  if (!section || section->size > kMostNoteBytes) return;
  const std::vector<std::byte> notes = bytes_of(*section);
  const Section* const base = find_section(".stapsdt.base");
  uint64_t at = 0;
  while (const auto header = read_at<Elf64_Nhdr>(notes, at)) {
    const uint64_t name = at + sizeof(Elf64_Nhdr);
    const uint64_t text = name + padded(header->n_namesz);
    at = text + padded(header->n_descsz);
    const auto addresses = read_at<std::array<uint64_t, 3>>(notes, text);
    if (at > notes.size()) return;
    if (header->n_type != kStapNote || text_at(notes, name) != "stapsdt" || !addresses ||
        header->n_descsz < sizeof(*addresses))
      continue;
    const std::span<const std::byte> texts(notes.data() + text + sizeof(*addresses),
                                           header->n_descsz - sizeof(*addresses));
    const std::string_view provider = text_at(texts, 0);
    const uint64_t moved = base ? base->address - (*addresses)[1] : 0;
    visit({provider, text_at(texts, provider.size() + 1), (*addresses)[0] + moved,
           (*addresses)[2] != 0 ? (*addresses)[2] + moved : 0});
  }
}

std::optional<ElfFile> open_elf(const std::string& path) {
  // O_NONBLOCK, because the name may meanwhile be that of a FIFO.
  const auto fd = std::make_shared<UniqueFd>(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!*fd || ::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0)
    return std::nullopt;
  const auto file_size = static_cast<uint64_t>(info.st_size);
  // Read and not mapped, because a mapped file that is truncated meanwhile kills the reader.
  return ElfFile::read([fd, file_size](uint64_t offset, uint64_t size) {
    std::vector<std::byte> bytes;
    if (offset >= file_size) return bytes;
    bytes.resize(std::min(size, file_size - offset));
    size_t filled = 0;
    while (filled < bytes.size()) {
      const ssize_t got = ::pread(fd->get(), bytes.data() + filled, bytes.size() - filled,
                                  static_cast<off_t>(offset + filled));
      if (got <= 0) break;
      filled += static_cast<size_t>(got);
    }
    bytes.resize(filled);
    return bytes;
  });
}

}  // namespace topspin
